"""Predictors that never see an EEG: what image scores are worth nothing below."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .run import NotAvailable, Prediction, Run


class Zeros:
    """Zero everywhere."""

    def fit(self, runs: Iterable[Run]) -> Zeros:
        return self

    def predict(self, run: Run) -> Prediction:
        return Prediction([np.zeros((len(run.onsets), *run.mean.shape), np.float32)])


class TrainingMean:
    """The mean volume of the training subjects, at all times."""

    mean: np.ndarray

    def fit(self, runs: Iterable[Run]) -> TrainingMean:
        self.mean = mean_volume(runs)
        return self

    def predict(self, run: Run) -> Prediction:
        return Prediction([np.broadcast_to(self.mean, (len(run.onsets), *self.mean.shape))])


class OwnMean:
    """The mean of the run's own first 30 volumes, at all times."""

    def fit(self, runs: Iterable[Run]) -> OwnMean:
        return self

    def predict(self, run: Run) -> Prediction:
        return Prediction([np.broadcast_to(run.own_mean, (len(run.onsets), *run.own_mean.shape))])


class PreviousVolume:
    """The volume measured before; for the first one, the mean of the run's first 30."""

    def fit(self, runs: Iterable[Run]) -> PreviousVolume:
        return self

    def predict(self, run: Run) -> Prediction:
        return Prediction([np.concatenate([run.own_mean[None], run.volumes()[:-1]])])


def mean_volume(runs: Iterable[Run]) -> np.ndarray:
    """The mean over runs of their mean volumes, `[z, y, x]`.

    Raises:
        NotAvailable: without a run.
    """
    means = [run.mean for run in runs]
    if not means:
        raise NotAvailable(
            "training runs", found="none", expected="at least one", remedy="Prepare the dataset with some."
        )
    return np.asarray(np.mean(means, axis=0, dtype=np.float64), np.float32)
