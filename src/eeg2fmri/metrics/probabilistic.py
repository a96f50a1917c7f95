"""Do several samples for the same EEG spread as they should? Every function takes samples `[S, N, region]`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import InputError
from .arrays import as_series, centred, ratio


def crps(samples: Any, measured: Any) -> np.ndarray:
    r"""Continuous ranked probability score, in the fair form, which is unbiased for any number of samples.

    \( \frac1S \sum_s |x_s - y| - \frac{1}{2 S (S - 1)} \sum_{s, t} |x_s - x_t| \)
    (Ferro 2014; the expectation is the energy form of Gneiting and Raftery 2007, equation 21). Lower is better; in
    the units of the series. A single prediction's score is its mean absolute error, which is no CRPS of samples.

    Args:
        samples (array of shape `[S, N, region]`).
        measured (array of shape `[N, region]`).

    Returns:
        `np.ndarray` of shape `[region]`, mean over volumes.

    Raises:
        InputError: for fewer than two samples, other shapes, NaN.
    """
    samples, measured = _checked(samples, measured)
    count = len(samples)
    error = np.abs(samples - measured).mean((0, 1))
    # Sorted, the sum over all pairs is a weighted sum over samples.
    weights = 2 * np.arange(count) - (count - 1)
    spread = np.tensordot(weights, np.sort(samples, axis=0), 1).mean(0)
    return error - spread / (count * (count - 1))


def coverage(samples: Any, measured: Any, level: float = 0.9) -> np.ndarray:
    """How often the measured value lies in the central interval of the samples.

    The interval from the k-th smallest to the k-th largest of S samples holds an exchangeable further value with
    probability `(S + 1 - 2 k) / (S + 1)`. For a level between two of these the two shares are interpolated, so that
    the expectation for samples from the true distribution is exactly `level`, whatever S. The least number of samples
    for a level is `2 / (1 - level) - 1`: 19 for 90 %, 3 for 50 %. With S samples the widest level is
    [`widest_level`]. A value that equals an end of the interval counts as inside.

    Args:
        samples (array of shape `[S, N, region]`).
        measured (array of shape `[N, region]`).
        level (`float`): of the interval, in (0, 1).

    Returns:
        `np.ndarray` of shape `[region]`, share of the volumes.

    Raises:
        InputError: for too few samples for the level, a level outside (0, 1), other shapes, NaN.
    """
    samples, measured = _checked(samples, measured)
    count = len(samples)
    position = (1 - level) * (count + 1) / 2  # k of the interval, not yet whole
    if not 0 < level < 1 or position < 1 - 1e-9:
        raise InputError(
            "level",
            found=f"{level} from {count} samples",
            expected=f"in (0, {widest_level(count):.3f}]",
            remedy="Draw more samples, or ask for a narrower interval.",
        )
    ordered = np.sort(samples, axis=0)
    k = max(1, math.floor(position + 1e-9))
    wide, narrow = (max(0.0, 1 - 2 * rank / (count + 1)) for rank in (k, k + 1))
    weight = (wide - level) / (wide - narrow)
    return (1 - weight) * _inside(ordered, measured, k) + weight * _inside(ordered, measured, k + 1)


def widest_level(num_samples: int) -> float:
    """Level of the interval from the smallest to the largest of so many samples, `(S - 1) / (S + 1)`."""
    return (num_samples - 1) / (num_samples + 1)


def variance_ratio(samples: Any, measured: Any) -> np.ndarray:
    """Variance over time of single samples, averaged over them, through that of the measurement.

    1 for samples that vary as measured BOLD does; near 0 for the conditional mean of what the EEG hardly determines.

    Returns:
        `np.ndarray` of shape `[region]`; 0 where the measured series is constant.

    Raises:
        InputError: for fewer than two samples, other shapes, NaN.
    """
    samples, measured = _checked(samples, measured)
    return ratio(np.mean([centred(sample).var(0) for sample in samples], axis=0), centred(measured).var(0))


def _inside(ordered: np.ndarray, measured: np.ndarray, k: int) -> np.ndarray:
    """Share of volumes between the k-th smallest and the k-th largest; none once these have crossed."""
    if 2 * k > len(ordered) + 1:
        return np.zeros(measured.shape[1])
    return ((ordered[k - 1] <= measured) & (measured <= ordered[-k])).mean(0)


def _checked(samples: Any, measured: Any) -> tuple[np.ndarray, np.ndarray]:
    samples, measured = as_series(samples, "samples", "[S, N, region]"), as_series(measured, "measured")
    if samples.shape[1:] != measured.shape or len(samples) < 2:
        raise InputError(
            "samples",
            found=f"shape {list(samples.shape)}",
            expected=f"at least two samples of {list(measured.shape)}, the shape of measured",
            remedy="Draw several samples for the same volumes.",
        )
    return samples, measured
