"""Does a prediction follow the measurement in time? Every function takes whole runs, generated in order.

A region is a voxel, a parcel or a network: the functions do not know the difference.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from .arrays import as_pair, as_series, centred, ratio, without_rounding


def temporal_correlation(predicted: Any, measured: Any) -> np.ndarray:
    r"""Pearson correlation over time, \( r = \frac{\sum_n x_n y_n}{\sqrt{\sum_n x_n^2 \sum_n y_n^2}} \) of series
    less their mean.

    Args:
        predicted (array of shape `[N, region]`).
        measured (array of shape `[N, region]`).

    Returns:
        `np.ndarray` of shape `[region]`; 0 where either series is constant.

    Raises:
        InputError: for other shapes, fewer than three volumes, NaN.
    """
    x, y = (centred(series) for series in as_pair(predicted, measured))
    return ratio((x * y).sum(0), np.sqrt((x**2).sum(0) * (y**2).sum(0)))


def without_global(series: Any) -> np.ndarray:
    """Residuals `[N, region]` after regressing the mean over regions out of every region.

    With one region, or regions that are all alike, nothing is left but zeros.
    """
    series = as_series(series, "series")
    shared = centred(series).mean(1, keepdims=True)
    return without_regressors(series, without_rounding(shared, np.abs(series).max(1, keepdims=True)))


def without_regressors(series: Any, regressors: Any) -> np.ndarray:
    """Residuals after regressing out a mean and given time courses, such as a task convolved with a response.

    Args:
        series (array of shape `[N, region]`).
        regressors (array of shape `[N, K]`): dependent and constant ones do no harm.

    Returns:
        `np.ndarray` of shape `[N, region]`, orthogonal to the regressors, with mean zero.

    Raises:
        InputError: for another number of volumes, no volume left for the residuals, NaN.
    """
    series, regressors = as_series(series, "series"), as_series(regressors, "regressors", "[N, regressor]")
    num_volumes, num_regressors = regressors.shape
    if num_volumes != len(series) or num_volumes <= num_regressors + 1:
        raise InputError(
            "regressors",
            found=f"{num_regressors} of {num_volumes} volumes",
            expected=f"fewer than {len(series) - 1} of {len(series)} volumes",
            remedy="Give regressors sampled at the volumes of the series.",
        )
    residual, courses = centred(series), centred(regressors)
    courses = ratio(courses, np.sqrt((courses**2).sum(0)))
    basis, values, _ = np.linalg.svd(courses, full_matrices=False)
    basis = basis[:, values > num_volumes * np.finfo(float).eps * max(values.max(), 1.0)]
    return without_rounding(residual - basis @ (basis.T @ residual), series)


def r_squared(predicted: Any, measured: Any) -> np.ndarray:
    r"""Share of variance explained, \( 1 - \frac{\sum_n (y_n - x_n)^2}{\sum_n (y_n - \bar y)^2} \), against the run's
    own mean: negative where the mean would have been the better prediction.

    Returns:
        `np.ndarray` of shape `[region]`; 0 where the measured series is constant, for there is nothing to explain.
    """
    x, y = as_pair(predicted, measured)
    total = (centred(y) ** 2).sum(0)
    return ratio(total - ((y - x) ** 2).sum(0), total)


def identification(predicted: Any, measured: Any, num_candidates: int = 20) -> float:
    """How often the predicted window finds its own measured one among `num_candidates`.

    1. Every region is standardised over the run (a constant one becomes zero).
    2. The run is cut into `num_candidates` consecutive windows of `N // num_candidates` volumes; volumes left at the
       end are dropped.
    3. Every predicted window is correlated (Pearson, over all its volumes and regions) with all measured windows. It
       is identified where its own has the highest correlation; k that share the highest count 1 / k.

    Chance is exactly `1 / num_candidates`: it is the mean over all circular shifts of the predicted windows, and what
    a constant prediction gets.

    Returns:
        `float`: share of the windows that are identified.

    Raises:
        InputError: for fewer than two candidates, a run too short for windows of at least three values.
    """
    x, y = (_standardised(series) for series in as_pair(predicted, measured))
    length = len(x) // num_candidates if num_candidates >= 2 else 0
    if length * x.shape[1] < 3:
        raise InputError(
            "num_candidates",
            found=f"{num_candidates} for {len(x)} volumes of {x.shape[1]} regions",
            expected="two or more windows of at least three values",
            remedy="Ask for fewer candidates, or score a longer run.",
        )
    x, y = (series[: length * num_candidates].reshape(num_candidates, -1).T for series in (x, y))
    x, y = (_standardised(windows) for windows in (x, y))
    similarity = (x.T @ y / len(x)).round(12)  # rounded, so that equal windows tie
    best = similarity == similarity.max(1, keepdims=True)
    return float((np.diag(best) / best.sum(1)).mean())


def _standardised(series: np.ndarray) -> np.ndarray:
    deviation = centred(series)
    return ratio(deviation, deviation.std(0))
