"""From a dataset's folder to a paired dataset: what `eeg2fmri prepare` does."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..processing.eeg import EEGProcessor
from ..processing.volume import VolumeProcessor
from ..recipes import read_recipe
from ..recordings.layouts import RunProblem, find_runs
from .alignment import Timing
from .calhas import calhas_runs
from .default_recipes import default_recipe
from .pairs import build_pairs
from .report import read_problems
from .splits import split_subjects


def prepare_dataset(
    root: str | os.PathLike,
    output: str | os.PathLike,
    *,
    recipe: str | os.PathLike | None = None,
    processors: tuple[EEGProcessor, VolumeProcessor] | None = None,
    layout: str = "bids",
    layout_options: Mapping[str, Any] | None = None,
    preset: str = "aligned",
    marker: str | None = None,
    lead_in: int | None = None,
    first_volume: float | None = None,
    remove_scanner_artifacts: bool | None = None,
    num_validation: int = 1,
    num_test: int = 1,
    seed: int = 42,
    skip_invalid: bool = False,
    num_jobs: int = 1,
) -> tuple[Path, list[RunProblem]]:
    """Find a dataset's runs, align them, and write pairs and the alignment report.

    Args:
        root: the dataset's folder, or the CSV file of the layout `"table"`.
        output: a folder that does not exist yet; it appears whole or not at all.
        recipe: YAML with the sections `eeg_processor` and `volume_processor`; the layouts `"noddi"` and `"xp2"` have
            one of their own, see `default_recipes.py`.
        processors: those of a published pipeline, used as they are, statistics and all, instead of a recipe: for
            fine-tuning and for testing the pipeline on other data.
        layout, layout_options: see [`find_runs`]; the preset `"calhas"` takes the task MIpost of XP-2 by default.
        preset, marker, lead_in, first_volume: see [`Timing`].
        remove_scanner_artifacts (`bool`, *optional*): remove gradient and pulse artefacts of raw in-scanner EEG; by
            default where the layout knows that the EEG is raw (`"xp2"` with `eeg="raw"`).
        num_validation, num_test, seed: of the split by subject, the scheme `default`; see [`make_schemes`] for others.
        skip_invalid: leave unusable runs out, instead of refusing all.
        num_jobs: processes.

    Returns:
        `Path`: the output;
        `list[RunProblem]`: what was left out, and remarks, as in the report.

    Raises:
        RecordingError: that names every run which can't be used.
        FileError: when the dataset or the recipe can't be read.
        InputError: when an argument is wrong.
    """
    timing = Timing(preset, layout, marker, lead_in, first_volume)
    if processors is None:
        settings = default_recipe(layout, preset) if recipe is None else read_recipe(recipe)
        used = EEGProcessor(**settings["eeg_processor"]), VolumeProcessor(**settings["volume_processor"])
    elif recipe is not None:
        raise InputError(
            "recipe",
            found=f"{recipe}, beside a pipeline's processors",
            expected="one of the two",
            remedy="Leave --recipe out: --model says everything about the processors.",
        )
    else:
        settings, used = None, processors
    options = dict(layout_options or {})
    if preset == "calhas" and layout == "xp2":
        options.setdefault("tasks", "MIpost")
    search = find_runs(root, layout, **options)
    runs = calhas_runs(search.runs, layout) if preset == "calhas" else list(search.runs)
    if remove_scanner_artifacts is not None:
        runs = [dataclasses.replace(run, raw_eeg=remove_scanner_artifacts) for run in runs]
    path = build_pairs(
        runs,
        output,
        eeg_processor=used[0],
        volume_processor=used[1],
        keep_statistics=processors is not None,
        split=functools.partial(split_subjects, num_validation=num_validation, num_test=num_test, seed=seed),
        timing=timing,
        source={"root": os.path.abspath(root), "layout": layout, "layout_options": options, "recipe": settings},
        problems=search.problems,
        skip_invalid=skip_invalid,
        num_jobs=num_jobs,
    )
    return path, read_problems(path)
