"""Predictions of any model, as NIfTI files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..baselines.run import Prediction
from ..errors import FileError, RecordingError
from ..processing.reference import same_affine
from ..recordings.bold import BOLDRun, read_bold
from .runs import DatasetRun
from .scores import TIME_TOLERANCE

CLEAR_OF_ZERO = 2.0  # standard deviations over time that a BOLD signal is above zero at the least
BRAIN_SHARE = 0.9  # of the brain's voxels
SUFFIXES = ("_bold.nii.gz", "_bold.nii", ".nii.gz", ".nii")


class NIfTIPredictions:
    """One NIfTI for each run, named as the run (`sub-001_task-rest.nii.gz`; a suffix `_bold` may follow).

    It holds either all volumes of the measured run, or those with a whole EEG window.

    Args:
        folder: with the files.
        runs: all test runs; every file is looked for and checked at once, before anything is computed.

    Raises:
        FileError: naming the runs without a file, or a file that can't be read.
        RecordingError: another shape, affine, repetition time or number of volumes than measured; NaN; not in
            BOLD units.
    """

    def __init__(self, folder: str | os.PathLike, runs: Sequence[DatasetRun]):
        self.folder = Path(folder)
        found = {run.name: self._path(run.name) for run in runs}
        self.files = {name: path for name, path in found.items() if path is not None}
        missing = [name for name, path in found.items() if path is None]
        if missing:
            raise FileError(
                self.folder,
                found=f"no prediction of {', '.join(missing)}",
                expected="a file such as sub-001_task-rest.nii.gz for every test run",
                remedy="Name the files as the runs.",
            )
        for run in runs:
            self._check(read_bold(self.files[run.name]), run)

    def fit(self, runs: Iterable[DatasetRun]) -> NIfTIPredictions:
        return self

    def predict(self, run: DatasetRun) -> Prediction:
        """Read the run's file."""
        volumes = read_bold(self.files[run.name]).volumes.T
        return Prediction([volumes[run.indices] if len(volumes) == run.num_volumes else volumes])

    def _path(self, name: str) -> Path | None:
        return next((path for suffix in SUFFIXES if (path := self.folder / f"{name}{suffix}").is_file()), None)

    def _check(self, bold: BOLDRun, run: DatasetRun) -> None:
        shape, time = run.mean.shape[::-1], bold.repetition_time
        wrong = {
            "shape": (bold.volumes.shape[:3], shape, bold.volumes.shape[:3] == shape),
            "affine": (
                bold.affine.round(3).tolist(),
                run.affine.round(3).tolist(),
                same_affine(bold.affine, run.affine),
            ),
            "repetition time": (
                time,
                run.repetition_time,
                time is not None and abs(time - run.repetition_time) <= TIME_TOLERANCE * run.repetition_time,
            ),
            "number of volumes": (
                bold.num_volumes,
                f"{run.num_volumes}, or {len(run.indices)} (those with a whole EEG window)",
                bold.num_volumes in (run.num_volumes, len(run.indices)),
            ),
        }
        for name, (found, expected, fits) in wrong.items():
            if not fits:
                raise RecordingError(
                    bold.source,
                    found=f"the {name} {found}",
                    expected=f"that of the measured run, {expected}",
                    remedy="Write the predictions on the grid and at the times of the measurement.",
                )
        _check_units(bold, run)


def _check_units(bold: BOLDRun, run: DatasetRun) -> None:
    """Percent change is taken of the signal's mean: z-scores have none."""
    inside = bold.volumes.T[:, run.mask]
    share = float(np.mean(inside.mean(axis=0) >= CLEAR_OF_ZERO * inside.std(axis=0)))
    if share < BRAIN_SHARE:
        raise RecordingError(
            bold.source,
            found=f"a mean over time well above 0 in {share:.0%} of the brain's voxels",
            expected="BOLD units, with such a mean nearly everywhere",
            remedy="Multiply z-scores or percent change by the measured scale, and add the mean volume back.",
        )
