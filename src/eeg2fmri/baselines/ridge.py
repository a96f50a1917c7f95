"""Ridge regression from lagged band power: what every model must beat to have learned anything worth its cost."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import InputError
from ..metrics.temporal import temporal_correlation

PENALTIES = 10.0 ** np.arange(1, 7)
DECIDING = 5  # every fifth run decides on the penalty


class SensorRidge:
    """Linear map from a spectrogram window to region time courses.

    Every electrode, frequency and window of the processor's output is a predictor, so that the haemodynamic response
    is learned with the coupling. The penalty is the one of `PENALTIES` that does best on every fifth run, which the
    fit for this choice leaves out.
    """

    weights: np.ndarray
    penalty: float

    def fit(self, runs: Iterable[tuple[np.ndarray, np.ndarray]]) -> SensorRidge:
        """Fit on training runs.

        Args:
            runs: for each run the windows `[N, C, electrode, frequency, window]` and the series `[N, region]`.

        Raises:
            InputError: with fewer than five runs.
        """
        fitting, all_runs = _Moments(), _Moments()
        deciding, count = [], 0
        for count, (windows, series) in enumerate(runs, start=1):
            x, y = _centred(windows.reshape(len(windows), -1)), _centred(series)
            all_runs.add(x, y)
            if count % DECIDING == 0:
                deciding.append((x, y))
            else:
                fitting.add(x, y)
        if count < DECIDING:
            raise InputError(
                "runs", found=str(count), expected=f"at least {DECIDING}", remedy="Give more training runs."
            )
        scores = [_score(fitting.solve(penalty), deciding) for penalty in PENALTIES]
        self.penalty = float(PENALTIES[int(np.argmax(scores))])
        self.weights = all_runs.solve(self.penalty)
        return self

    def predict(self, windows: np.ndarray) -> np.ndarray:
        """Region series `[N, region]`, each with mean zero over the run, from windows `[N, C, E, F, T]`."""
        return _centred(windows.reshape(len(windows), -1)) @ self.weights


class _Moments:
    """Sums over runs that a ridge solution needs, so that no run stays in memory."""

    def __init__(self) -> None:
        self.covariance: np.ndarray | float = 0.0
        self.products: np.ndarray | float = 0.0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        self.covariance = self.covariance + x.T @ x
        self.products = self.products + x.T @ y

    def solve(self, penalty: float) -> np.ndarray:
        covariance = np.asarray(self.covariance)
        return np.linalg.solve(covariance + penalty * np.eye(len(covariance)), np.asarray(self.products))


def _score(weights: np.ndarray, runs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    return float(np.mean([temporal_correlation(x @ weights, y).mean() for x, y in runs]))


def _centred(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values - values.mean(0)
