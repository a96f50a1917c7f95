"""Checked arrays: what every metric does with its input before it computes anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError

ROUNDING = 1e-12  # of the largest value: a deviation below it is no variation, but rounding


def as_series(values: Any, name: str, axes: str = "[N, region]") -> np.ndarray:
    """An array or tensor as float64 on the CPU.

    Raises:
        InputError: for another number of axes than `axes` names, an empty array, NaN and infinity.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(name, found=str(error), expected=f"numbers {axes}", remedy="Give one array.") from error
    if array.ndim != axes.count(",") + 1 or array.size == 0:
        raise InputError(
            name,
            found=f"shape {list(array.shape)}",
            expected=axes,
            remedy="Give one column per voxel, parcel or network, also where there is only one.",
        )
    if not np.isfinite(array).all():
        raise InputError(
            name,
            found=f"{int((~np.isfinite(array)).sum())} values that are NaN or infinite",
            expected="finite numbers",
            remedy="Find out where they come from; a score of them would mean nothing.",
        )
    return array


def as_pair(predicted: Any, measured: Any, minimum_volumes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Two series `[N, region]` of the same shape, with enough volumes for a correlation."""
    x, y = as_series(predicted, "predicted"), as_series(measured, "measured")
    if x.shape != y.shape:
        raise InputError(
            "predicted",
            found=f"shape {list(x.shape)}",
            expected=f"{list(y.shape)}, that of measured",
            remedy="Compare the same volumes of the same regions.",
        )
    if len(x) < minimum_volumes:
        raise InputError(
            "predicted",
            found=f"{len(x)} volumes",
            expected=f"at least {minimum_volumes}",
            remedy="Score a whole run, generated in order.",
        )
    return x, y


def centred(series: np.ndarray) -> np.ndarray:
    """Series less their mean over time; exactly zero where a series only differs from it by rounding."""
    return without_rounding(series - series.mean(0), series)


def without_rounding(remainder: np.ndarray, series: np.ndarray) -> np.ndarray:
    """What is left of series, exactly zero where that is no more than the rounding of the series itself."""
    return np.where(np.abs(remainder).max(0) <= ROUNDING * np.abs(series).max(0), 0.0, remainder)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, 0 where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)
