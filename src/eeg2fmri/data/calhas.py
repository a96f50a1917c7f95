"""The data recipe of the paper's reference [24], with its faults: for comparisons, never for science.

EEG and BOLD are both counted from their first sample, whatever the markers say. In NODDI that is wrong for every
subject but 32 (subject 35's scan starts 129.568 s into the EEG); in XP-2 the EEG starts after the first volumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..recordings.layouts import RunFiles

NUM_WINDOWS = 10  # windows of one repetition time for every volume
NUM_VOLUMES = 300  # volumes of a run that are used


@dataclass(frozen=True)
class CalhasRecipe:
    """What the recipe takes of a dataset: the shift of windows and volumes alike, and how many subjects."""

    bold_shift: int
    num_subjects: int


CALHAS = {"noddi": CalhasRecipe(bold_shift=3, num_subjects=10), "xp2": CalhasRecipe(bold_shift=6, num_subjects=17)}


def calhas_pairs(
    num_volumes: int, repetition_time: float, bold_shift: int, num_windows: int = NUM_WINDOWS
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of one run: windows of one repetition time from sample 0, windows i..i+9 with volume i+10.

    Windows and volumes are shifted alike by `bold_shift`, so that it is no lag: it only drops the first ones. The EEG
    of a pair is that of the ten repetition times before the volume, on the assumption that both start together.

    Args:
        num_volumes (`int`): stored volumes; of more than 300 the first 300 are used.
        repetition_time (`float`): seconds.
        bold_shift (`int`): 3 for NODDI, 6 for XP-2.
        num_windows (`int`): windows for every volume.

    Returns:
        `np.ndarray` of shape `[pair]`: the assumed onset of the pair's volume in EEG seconds, where its EEG ends;
        `np.ndarray` of shape `[pair]`: the volume's index.
    """
    volumes = np.arange(bold_shift + num_windows, min(num_volumes, NUM_VOLUMES))
    return volumes * repetition_time, volumes


def calhas_runs(runs: Sequence[RunFiles], layout: str) -> list[RunFiles]:
    """The runs that the recipe takes of a dataset: those of its first subjects in sorted order.

    Raises:
        InputError: when the recipe doesn't know the dataset, or a subject is missing.
    """
    if layout not in CALHAS:
        raise InputError(
            "preset",
            found=f"'calhas' with the layout {layout!r}",
            expected=f"one of its datasets, {' or '.join(CALHAS)}",
            remedy="Use the preset 'aligned', which fits any dataset.",
        )
    subjects = sorted({run.subject for run in runs})
    wanted = CALHAS[layout].num_subjects
    if len(subjects) < wanted:
        raise InputError(
            "preset",
            found=f"{len(subjects)} subjects with usable runs",
            expected=f"{wanted}, as many as the recipe takes of {layout}",
            remedy="Complete the dataset, or use the preset 'aligned'.",
        )
    return [run for run in runs if run.subject in subjects[:wanted]]
