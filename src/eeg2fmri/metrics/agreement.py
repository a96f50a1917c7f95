"""Does a prediction vary as measured BOLD does, whether or not at the right times?"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import welch

from ..errors import InputError
from .arrays import as_pair, centred, ratio
from .temporal import temporal_correlation

SEGMENT = 100.0  # seconds of a spectrum's segment: two periods of 0.02 Hz
MINIMUM_SEGMENT = 8  # volumes


def functional_connectivity_agreement(predicted: Any, measured: Any) -> float:
    """Pearson correlation of the upper triangles (without diagonal) of the two region-by-region correlation matrices.

    Args:
        predicted (array of shape `[N, region]`).
        measured (array of shape `[N, region]`).

    Returns:
        `float` in [-1, 1]; 0 where one matrix has no variation. A constant region correlates with none.

    Raises:
        InputError: for fewer than three regions, other shapes, fewer than three volumes, NaN.
    """
    x, y = as_pair(predicted, measured)
    if x.shape[1] < 3:
        raise InputError(
            "predicted",
            found=f"{x.shape[1]} regions",
            expected="at least three",
            remedy="One or two regions have no pattern of connections to compare.",
        )
    above = np.triu_indices(x.shape[1], k=1)
    edges = [_correlations(series)[above][:, None] for series in (x, y)]
    return float(temporal_correlation(*edges)[0])


def spectrum_agreement(predicted: Any, measured: Any, repetition_time: float) -> np.ndarray:
    r"""Overlap of the two power spectra, each divided by its sum: \( \sum_f \min(p_f, q_f) \).

    Welch's method with Hann segments of 100 s (of the whole run where it is shorter) that overlap by half, without
    the zero frequency. 1 for the same spectrum at any amplitude and phase, 0 for no frequency in common. Two
    independent runs of the same process stay below 1, since spectra of finite runs are noisy: compare with what
    another run of the same subject attains.

    Args:
        predicted (array of shape `[N, region]`).
        measured (array of shape `[N, region]`).
        repetition_time (`float`): seconds between volumes.

    Returns:
        `np.ndarray` of shape `[region]`; 0 where either series is constant.

    Raises:
        InputError: for fewer than eight volumes, a repetition time that is not positive, other shapes, NaN.
    """
    x, y = (centred(series) for series in as_pair(predicted, measured, MINIMUM_SEGMENT))
    if not 0 < repetition_time < SEGMENT:
        raise InputError(
            "repetition_time",
            found=str(repetition_time),
            expected="seconds between volumes",
            remedy="Take it from the recording's header.",
        )
    length = min(len(x), max(MINIMUM_SEGMENT, round(SEGMENT / repetition_time)))
    shares = []
    for series in (x, y):
        power = welch(series, nperseg=length, detrend="constant", axis=0)[1][1:]
        shares.append(ratio(power, power.sum(0)))
    return np.minimum(*shares).sum(0)


def _correlations(series: np.ndarray) -> np.ndarray:
    deviation = centred(series)
    scale = np.sqrt((deviation**2).sum(0))
    return ratio(deviation.T @ deviation, np.outer(scale, scale))
