"""Intervals, tests and nulls. The unit is always the subject: volumes are not independent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .arrays import as_pair, as_series

MINIMUM_SHIFT = 40.0  # seconds: beyond the memory of the haemodynamic response
NUM_SHIFTS = 60
NUM_BOOTSTRAPS = 10_000
NUM_SIGN_FLIPS = 10_000
EXACT_SUBJECTS = 13  # up to so many, all sign flips are counted
SIGNIFICANT = 0.05

Score = Callable[[np.ndarray, np.ndarray], float]


def _mean_over_runs(scores: np.ndarray) -> np.ndarray:
    return scores.mean(axis=0)


@dataclass(frozen=True)
class Interval:
    """A mean over subjects with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ShiftNull:
    """A score, and what it becomes when time is shifted in a circle."""

    observed: float
    scores: np.ndarray  # [shift]

    @property
    def p(self) -> float:
        """One-sided: the share of shifts, counting the unshifted, that score as high; at least `1 / (shifts + 1)`."""
        return float((1 + (self.scores >= self.observed).sum()) / (1 + len(self.scores)))

    @property
    def percentile_95(self) -> float:
        return float(np.percentile(self.scores, 95))


@dataclass(frozen=True)
class Comparison:
    """Mean difference of two rows over the same subjects, its interval, and the two-sided sign-flip p."""

    difference: Interval
    p: float


def mean_interval(values: Any, generator: np.random.Generator) -> Interval:
    """Mean of one value per subject, with the 95 % percentile bootstrap interval over subjects.

    Raises:
        InputError: for fewer than two subjects, NaN.
    """
    return _bootstrap(_subjects(values, 2), generator)


def fisher_mean_interval(values: Any, generator: np.random.Generator) -> Interval:
    """[`mean_interval`] of correlations through Fisher's z: atanh, mean, tanh.

    Raises:
        InputError: for fewer than two subjects, values outside [-1, 1], NaN.
    """
    values = _subjects(values, 2)
    if np.abs(values).max() > 1 + 1e-9:
        raise InputError(
            "values",
            found=f"{values[np.abs(values).argmax()]:g}",
            expected="correlations in [-1, 1]",
            remedy="Use mean_interval for other scores.",
        )
    z = _bootstrap(_fisher_z(values), generator)
    return Interval(*(float(np.tanh(value)) for value in (z.mean, z.low, z.high)))


def fisher_mean(correlations: np.ndarray) -> np.ndarray:
    """Mean over the first axis, `[subject, ...]`, through Fisher's z: that of [`fisher_mean_interval`]."""
    return np.tanh(_fisher_z(correlations).mean(axis=0))


def sign_flip_p(values: Any, generator: np.random.Generator, two_sided: bool = False) -> float:
    """Sign-flip test of a mean over subjects of zero, against a mean above zero (or other than zero).

    Under the null a subject's value is as likely as its negative. Exact over all 2^n flips for up to 13 subjects;
    beyond, 10,000 random flips and the observed one.

    Args:
        values (array of shape `[subject]`).
        generator (`np.random.Generator`): of the random flips; not used for the exact test.
        two_sided (`bool`): against any other mean.

    Raises:
        InputError: for so few subjects that no result could be below 0.05 (five; six if two-sided), NaN.
    """
    smallest = math.ceil(math.log2(1 / SIGNIFICANT)) + two_sided
    values = _subjects(values, smallest)
    if len(values) <= EXACT_SUBJECTS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    else:
        signs = generator.choice((1.0, -1.0), size=(NUM_SIGN_FLIPS + 1, len(values)))
        signs[0] = 1.0
    sums = signs @ values
    if two_sided:
        sums = np.abs(sums)
    return float((sums >= sums[0] - 1e-12 * np.abs(values).sum()).mean())


def paired_comparison(first: Any, second: Any, generator: np.random.Generator) -> Comparison:
    """Is one row better than another on the same subjects? Bootstrap interval and sign-flip p of `first - second`.

    Raises:
        InputError: for unequal numbers of subjects, fewer than six, NaN.
    """
    x, y = (as_series(values, name, "[subject]") for values, name in ((first, "first"), (second, "second")))
    if len(x) != len(y):
        raise InputError(
            "first",
            found=f"{len(x)} subjects",
            expected=f"{len(y)}, those of second",
            remedy="Compare rows that were scored on the same subjects, in the same order.",
        )
    p = sign_flip_p(x - y, generator, two_sided=True)
    return Comparison(mean_interval(x - y, generator), p)


def circular_shift_null(
    score: Score,
    predicted: Sequence[Any],
    measured: Sequence[Any],
    repetition_time: float,
    minimum_shift: float = MINIMUM_SHIFT,
    average: Callable[[np.ndarray], np.ndarray] = _mean_over_runs,
) -> ShiftNull:
    """Score predictions, and the same predictions with time shifted in a circle by at least `minimum_shift`.

    A shift keeps everything but the timing: what remains of a score is not owed to the EEG of the moment. Shifts are
    spread evenly over each run, the same number for all (60, or as many as the shortest run has).

    Args:
        score: of a run's `predicted` and `measured`, such as the mean of [`~metrics.temporal.temporal_correlation`].
        predicted (sequence of arrays `[N, region]`): one per run, each with its own N.
        measured (sequence of arrays `[N, region]`): likewise.
        repetition_time (`float`): seconds between volumes.
        minimum_shift (`float`): seconds, in either direction of the circle.
        average: of scores `[run, ...]` over runs, such as within subjects first; the plain mean by default.

    Raises:
        InputError: for a run shorter than twice the minimum shift, other shapes, NaN, or no run.
    """
    runs = _runs(predicted, measured)
    shortest = min(len(x) for x, _ in runs)
    first = math.ceil(minimum_shift / repetition_time) if repetition_time > 0 and minimum_shift > 0 else shortest
    num_shifts = min(NUM_SHIFTS, shortest - 2 * first + 1)
    if num_shifts < 1:
        raise InputError(
            "predicted",
            found=f"a run of {shortest} volumes of {repetition_time} s",
            expected=f"runs of at least {2 * minimum_shift:g} s, for shifts of {minimum_shift:g} s or more",
            remedy="Score longer runs.",
        )
    shifted = np.empty((len(runs), num_shifts))
    for row, (x, y) in zip(shifted, runs, strict=True):
        shifts = np.linspace(first, len(x) - first, num_shifts).round().astype(int)
        row[:] = [score(np.roll(x, shift, axis=0), y) for shift in shifts]
    observed = np.array([score(x, y) for x, y in runs])
    return ShiftNull(float(average(observed)), average(shifted))


def _runs(predicted: Sequence[Any], measured: Sequence[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(predicted) != len(measured) or not len(predicted):
        raise InputError(
            "predicted",
            found=f"{len(predicted)} runs",
            expected=f"{len(measured)}, those of measured, and at least one",
            remedy="Give one prediction per measured run.",
        )
    return [as_pair(x, y) for x, y in zip(predicted, measured, strict=True)]


def _bootstrap(values: np.ndarray, generator: np.random.Generator) -> Interval:
    draws = values[generator.integers(len(values), size=(NUM_BOOTSTRAPS, len(values)))].mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def _fisher_z(correlations: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(correlations, -0.999999, 0.999999))


def _subjects(values: Any, minimum: int) -> np.ndarray:
    values = as_series(values, "values", "[subject]")
    if len(values) < minimum:
        raise InputError(
            "values",
            found=f"{len(values)} subjects",
            expected=f"at least {minimum}",
            remedy="Score more subjects; runs and volumes of one subject don't count as several.",
        )
    return values
