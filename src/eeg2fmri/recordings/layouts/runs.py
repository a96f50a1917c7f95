"""A simultaneous run on disk, and what a search for runs found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import FileError


@dataclass(frozen=True)
class RunFiles:
    """The EEG and the BOLD file of one simultaneous run, and what its dataset knows about its timing.

    Args:
        subject (`str`): the subject's label, without `sub-`.
        name (`str`): what the files share, e.g. `"sub-001_task-rest_run-01"`; unique within a dataset.
        eeg (`Path`): the EEG recording.
        bold (`Path`): the BOLD image.
        marker (`str`, *optional*): the volume marker's description or a pattern of it.
        lead_in (`int`, *optional*): volume markers before the first stored volume; negative: stored volumes before
            the first marker.
        first_volume (`float`, *optional*): seconds from the first EEG sample to the first stored volume, for EEG
            without volume markers.
        repetition_time (`float`, *optional*): seconds, instead of the image's own.
        markers_from (`Path`, *optional*): header of the recording that the EEG was cut from, for its markers; those
            of the EEG's own file are not used then. Its signals need not be there.
        markers_shift (`float`): seconds that make times in `markers_from` times in the EEG.
        raw_eeg (`bool`): whether the EEG is as recorded in the scanner: its gradient and pulse artefacts are to be
            removed.
    """

    subject: str
    name: str
    eeg: Path
    bold: Path
    marker: str | None = None
    lead_in: int | None = None
    first_volume: float | None = None
    repetition_time: float | None = None
    markers_from: Path | None = None
    markers_shift: float = 0.0
    raw_eeg: bool = False


@dataclass(frozen=True)
class RunProblem:
    """What is missing or odd in a dataset.

    Args:
        run (`str`): the run's name, or the file or subject where no single run is concerned.
        reason (`str`): what was found, as a sentence or an error's message.
        kind (`str`): `"invalid"` when the files are there and can't be used, `"incomplete"` when a part of the run
            isn't in the dataset at all, `"remark"` when the run is used none the less.
    """

    run: str
    reason: str
    kind: Literal["invalid", "incomplete", "remark"]


@dataclass(frozen=True)
class RunSearch:
    """The runs of a dataset, in the order of their names, and what is missing or odd."""

    runs: tuple[RunFiles, ...]
    problems: tuple[RunProblem, ...] = ()


def nothing_of_layout(root: Path, expected: str) -> FileError:
    """The error for a folder that holds nothing of the layout that was asked for."""
    return FileError(
        root, found="nothing of this layout", expected=expected, remedy="Check the folder's path and the layout."
    )
