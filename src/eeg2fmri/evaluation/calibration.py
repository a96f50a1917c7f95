"""Samples that vary over time as measurements do, by one factor found on subjects that are not tested."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..metrics.probabilistic import variance_ratio
from ..pipeline import EEG2fMRIPipeline
from .model_rows import DiffusionModel
from .runs import DatasetRun
from .scores import primary_kind


def calibrated_gain(
    pipe: EEG2fMRIPipeline,
    runs: Sequence[DatasetRun],
    *,
    num_inference_steps: int,
    batch_size: int = 16,
    seed: int = 42,
) -> float:
    r"""The `change_gain` with which single samples have the measured variance over time in the scored regions.

    Smoothing the target takes variance from regions, and few denoising steps make samples too alike. With the variance
    ratio v of a pair of samples, averaged over regions and runs, at the pipeline's gain g, it is \( g / \sqrt v \).

    Args:
        pipe ([`EEG2fMRIPipeline`]): of the mode `change`.
        runs: of the validation subjects; never of those that are tested.
        num_inference_steps (`int`): for which it is to hold.
        batch_size (`int`): volumes denoised at once.
        seed (`int`): of the noise.

    Returns:
        `float`: for `VolumeProcessor(change_gain=...)`.

    Raises:
        InputError: for another mode, no runs, or samples that do not change over time.
    """
    volumes = pipe.volume_processor.config
    if volumes.mode != "change" or not runs:
        raise InputError(
            "calibration",
            found=f"mode {volumes.mode!r} and {len(runs)} runs",
            expected="mode 'change' and at least one run",
            remedy="Calibrate a model of changes, on validation subjects.",
        )
    model = DiffusionModel(
        pipe, runs, num_samples=2, num_inference_steps=num_inference_steps, batch_size=batch_size, seed=seed
    )
    ratios = []
    for run in runs:
        chosen = run.regions.of(primary_kind(run.regions)) & run.regions.present
        samples = [run.regions.series(sample, run.repetition_time)[:, chosen] for sample in model.predict(run).samples]
        ratios.append(variance_ratio(np.stack(samples), run.series[:, chosen]).mean())
    ratio = float(np.mean(ratios))
    if ratio == 0:
        raise InputError(
            "model", found="samples that are constant over time", expected="volumes that change", remedy="Train it."
        )
    return volumes.change_gain / math.sqrt(ratio)
