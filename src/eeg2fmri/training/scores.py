"""Scores of generated volumes during training."""

from __future__ import annotations

import numpy as np

from ..metrics.image import ssim
from ..metrics.ssim_definitions import SSIM_DEFINITIONS
from ..metrics.temporal import temporal_correlation


def sample_scores(generated: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """Compare volumes of one run, in order.

    Both series are scaled to [0, 1] by the measured one's extremes. SSIM is `ssim_3d`, or `ssim_whole` of volumes
    that are smaller than its window. It hardly notices the EEG, so the correlation over time stands beside it.

    Args:
        generated, measured (`np.ndarray` of shape `[N, x, y, z]`): BOLD units.

    Returns:
        `dict`: `validation_ssim`, the mean over volumes, and `validation_temporal_r`, the mean over the voxels that
        vary in the measured series.
    """
    low, high = float(measured.min()), float(measured.max())
    unit_generated, unit_measured = ((series - low) / (high - low) for series in (generated, measured))
    fits = SSIM_DEFINITIONS["ssim_3d"].fits(measured.shape)
    similarities = ssim(unit_generated, unit_measured, "ssim_3d" if fits else "ssim_whole")
    flat_generated, flat_measured = (series.reshape(len(series), -1) for series in (generated, measured))
    varies = flat_measured.std(0) > 1e-6 * (high - low)  # outside of the brain the volumes of `change` are constant
    r = temporal_correlation(flat_generated[:, varies], flat_measured[:, varies])
    return {
        "validation_ssim": float(np.mean(similarities)),
        "validation_temporal_r": float(r.mean()) if varies.any() else 0.0,
    }
