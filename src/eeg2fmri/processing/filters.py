"""What is done to BOLD signals before they are standardised: brain mask, smoothing inside it, drift removal.

All arrays here have the model's axes, `[volume, z, y, x]`.
"""

from __future__ import annotations

import os

import numpy as np
import scipy.ndimage

from ..errors import InputError, RecordingError

FEWEST_BRAIN_VOXELS = 8
SIGMAS_PER_FWHM = 2 * np.sqrt(2 * np.log(2))


def brain_mask(mean: np.ndarray, source: str | os.PathLike) -> np.ndarray:
    """Find the brain (with scalp, if it is as bright) in a mean volume `[z, y, x]`.

    The threshold is AFNI's clip level: half the median of the voxels above the threshold itself, iterated; then the
    largest connected part, holes filled.

    Raises:
        RecordingError: the volume has no bright region, such as demeaned data.
    """
    positive = mean[mean > 0]
    mask = np.zeros(mean.shape, bool)
    if positive.size >= FEWEST_BRAIN_VOXELS and positive.size > mean.size // 50:
        level = positive.mean() / 2
        for _ in range(100):
            previous, level = level, np.median(positive[positive >= level]) / 2
            if level == previous:
                break
        # Ringing of an interpolation goes a little below 0; a map or a demeaned series as far as above it.
        if mean.min() > -level:
            parts, num_parts = scipy.ndimage.label(mean >= level)
            sizes = np.bincount(parts.ravel(), minlength=num_parts + 1)[1:]
            mask = scipy.ndimage.binary_fill_holes(parts == 1 + sizes.argmax())
    if np.count_nonzero(mask) < FEWEST_BRAIN_VOXELS or np.median(mean[mask]) <= 0:
        raise RecordingError(
            source,
            found="no brain in the mean volume",
            expected="BOLD volumes in scanner units, where the brain is bright on a dark background",
            remedy="Give the run before its mean is subtracted, not a statistical map or a demeaned series.",
        )
    return mask


def smooth_inside(volumes: np.ndarray, mask: np.ndarray, fwhm: float, voxel_sizes: np.ndarray) -> np.ndarray:
    """Smooth by a Gaussian inside the mask; division by the smoothed mask keeps the edge from darkening.

    Args:
        volumes (`np.ndarray` of shape `[volume, z, y, x]`): float32.
        mask (`np.ndarray` of shape `[z, y, x]`): bool.
        fwhm (`float`): full width at half maximum, in mm.
        voxel_sizes (`np.ndarray` of shape `[3]`): of z, y, x, in mm.

    Returns:
        `np.ndarray` of shape `[volume, z, y, x]`: 0 outside the mask.
    """
    sigma = fwhm / SIGMAS_PER_FWHM / voxel_sizes
    weight = scipy.ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="constant")
    smoothed = np.zeros(volumes.shape, np.float32)
    for volume, output in zip(volumes, smoothed, strict=True):
        blurred = scipy.ndimage.gaussian_filter(np.where(mask, volume, 0), sigma, mode="constant")
        np.divide(blurred, weight, out=output, where=mask)
    return smoothed


def remove_drift(volumes: np.ndarray, repetition_time: float, high_pass: float) -> np.ndarray:
    """Regress out the cosines (DCT-II) that are slower than `high_pass`; the mean over time stays.

    Args:
        volumes (`np.ndarray` of shape `[volume, z, y, x]`): a run.
        repetition_time (`float`): in seconds.
        high_pass (`float`): in Hz.

    Raises:
        InputError: nothing would be left.
    """
    num_volumes = len(volumes)
    num_cosines = int(2 * num_volumes * repetition_time * high_pass)
    if num_cosines >= num_volumes:
        raise InputError(
            "high_pass",
            found=f"{high_pass:g} Hz, for volumes every {repetition_time:g} s",
            expected=f"less than {0.5 / repetition_time:g} Hz, half the volume rate",
            remedy="Choose a slower limit, such as 0.008 Hz.",
        )
    times = np.arange(num_volumes) + 0.5
    cosines = np.cos(np.pi / num_volumes * np.outer(times, np.arange(1, num_cosines + 1)))
    cosines = (cosines * np.sqrt(2 / num_volumes)).astype(np.float32)
    signals = volumes.reshape(num_volumes, -1)
    return (signals - cosines @ (cosines.T @ signals)).reshape(volumes.shape)
