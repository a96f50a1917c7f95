"""The task of a run, from the events table that BIDS gives it."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from nilearn.glm.first_level import compute_regressor

from ..errors import FileError

SUFFIX = "_events.tsv"
NO_CONDITION = ("rest", "n/a", "")


def find_events(bold: Path, root: Path) -> Path | None:
    """The table of a run by BIDS's inheritance: the nearest one up to the root that names no other run.

    Args:
        bold (`Path`): the run's BOLD file.
        root (`Path`): the dataset's folder; outside of it only the BOLD file's own folder is searched.
    """
    bold, root = bold.absolute(), root.absolute()
    stem = bold.name.removesuffix(".gz").removesuffix(".nii").removesuffix("_bold")
    levels = bold.parents[: len(bold.relative_to(root).parts)] if bold.is_relative_to(root) else bold.parents[:1]
    for folder in levels:
        tables = {path: _entities(path.name.removesuffix(SUFFIX)) for path in sorted(folder.glob(f"*{SUFFIX}"))}
        own = [path for path, entities in tables.items() if entities <= _entities(stem)]
        if own:
            return max(own, key=lambda path: len(tables[path]))
    return None


def task_regressors(table: Path, times: np.ndarray) -> np.ndarray | None:
    """Every condition through the canonical response and its derivative, which allows for onsets about a second off.

    Rest is no condition. A table without `trial_type` has one condition, as nilearn takes it.

    Args:
        table (`Path`): onsets and durations in seconds from the first volume.
        times (`np.ndarray` of shape `[N]`): likewise, of the volumes.

    Returns:
        `np.ndarray` of shape `[N, regressor]`; None without a condition.

    Raises:
        FileError: when the table can't be read, lacks a column, or an event has no onset or duration.
    """
    timings: dict[str, list[tuple[float, float, float]]] = {}
    for number, event in enumerate(_rows(table), start=2):
        condition = event.get("trial_type", "events")
        if condition is None or condition.strip().casefold() in NO_CONDITION:
            continue
        onset, duration = (_seconds(table, number, event, column) for column in ("onset", "duration"))
        timings.setdefault(condition, []).append((onset, duration, 1.0))
    regressors = [
        compute_regressor(np.array(timings[condition]).T, "spm + derivative", times)[0]
        for condition in sorted(timings)
    ]
    return np.concatenate(regressors, axis=1) if regressors else None


def _entities(stem: str) -> set[str]:
    return set(stem.split("_"))


def _rows(table: Path) -> list[dict[str, str | None]]:
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except (OSError, ValueError, csv.Error) as error:
        raise FileError(
            table, found=f"no readable table ({error})", expected="events as BIDS has them", remedy="Write it again."
        ) from error


def _seconds(table: Path, number: int, event: dict[str, str | None], column: str) -> float:
    text = event.get(column)
    try:
        value = math.nan if text is None else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FileError(
            table,
            found=f"{text!r} for {column} in line {number}",
            expected="seconds",
            remedy="Complete the table, or call the event rest: its effect is to be taken out of the scores.",
        )
    return value
