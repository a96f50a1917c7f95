"""The task of a run, from the events table that BIDS gives it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from nilearn.glm.first_level import compute_regressor

from ..errors import FileError
from ..recordings.sidecars import read_table

NO_CONDITION = ("rest", "n/a", "")


def task_regressors(table: Path, times: np.ndarray) -> np.ndarray | None:
    """Every condition through the canonical response and its derivative, which allows for onsets about a second off.

    Rest is no condition. A table without `trial_type` has one condition, as nilearn takes it.

    Args:
        table (`Path`): onsets and durations in seconds from the first volume.
        times (`np.ndarray` of shape `[N]`): likewise, of the volumes.

    Returns:
        `np.ndarray` of shape `[N, regressor]`; None without a condition.

    Raises:
        FileError: when the table can't be read, or an event has no onset or duration.
    """
    timings: dict[str, list[tuple[float, float, float]]] = {}
    for number, event in enumerate(read_table(table, "onset"), start=2):
        condition = event.get("trial_type", "events")
        if condition.casefold() in NO_CONDITION:
            continue
        onset, duration = (_seconds(table, number, event, column) for column in ("onset", "duration"))
        timings.setdefault(condition, []).append((onset, duration, 1.0))
    regressors = [
        compute_regressor(np.array(timings[condition]).T, "spm + derivative", times)[0]
        for condition in sorted(timings)
    ]
    return np.concatenate(regressors, axis=1) if regressors else None


def _seconds(table: Path, number: int, event: dict[str, str], column: str) -> float:
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
