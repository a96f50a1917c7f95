"""Ridge regression from features of the EEG: what a model must beat to have learned anything worth its cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from .means import mean_volume
from .run import NotAvailable, Prediction, Run

PENALTIES = 10.0 ** np.arange(1, 7)
NUM_FOLDS = 5


class Ridge:
    """Linear map from features of the EEG to the regions' percent change.

    The penalty is chosen by cross-validation over subjects, within the training subjects: the one of `PENALTIES`
    with the highest mean correlation in left-out folds. The features contain the lags, so that the haemodynamic
    response is learned with the coupling. Its volumes are the training mean, each parcel's voxels changed alike.

    Args:
        features: of a run, `[N, feature]`.
    """

    weights: np.ndarray
    penalty: float
    mean: np.ndarray

    def __init__(self, features: Callable[[Run], np.ndarray]):
        self.features = features

    def fit(self, runs: Iterable[Run]) -> Ridge:
        """Fit on training runs, one in memory at a time.

        Raises:
            NotAvailable: with fewer than two subjects, or what `features` raises.
        """
        folds = [_Moments() for _ in range(NUM_FOLDS)]
        subjects: dict[str, int] = {}
        kinds = np.ones(0, bool)
        for run in runs:
            fold = subjects.setdefault(run.subject, len(subjects)) % NUM_FOLDS
            folds[fold].add(standardised(self.features(run)), run.series)
            kinds = ~run.regions.of("dark")
        if len(subjects) < 2:
            raise NotAvailable(
                "training subjects",
                found=str(len(subjects)),
                expected="at least two",
                remedy="Prepare the dataset with more training subjects.",
            )
        folds = folds[: len(subjects)]
        total = sum(folds[1:], folds[0])
        scores = [_scores(total - fold, fold, kinds) for fold in folds]
        self.penalty = float(PENALTIES[int(np.argmax(np.mean(scores, axis=0)))])
        self.weights = total.solve([self.penalty])[0]
        self.mean = mean_volume(runs)
        return self

    def predict(self, run: Run) -> Prediction:
        series = standardised(self.features(run)) @ self.weights
        return Prediction(self._painted(run, series), series)

    def _painted(self, run: Run, series: np.ndarray) -> Iterator[np.ndarray]:
        parcels = run.regions.of("parcel")
        change = series[:, parcels] @ (run.regions.weights[parcels] > 0)
        yield (self.mean * (1 + change.reshape(-1, *self.mean.shape) / 100)).astype(np.float32)


class _Moments:
    """Sums over runs that a ridge solution needs, so that no run stays in memory."""

    def __init__(self, xx: np.ndarray | float = 0.0, xy: np.ndarray | float = 0.0, yy: np.ndarray | float = 0.0):
        self.xx, self.xy, self.yy = np.asarray(xx), np.asarray(xy), np.asarray(yy)

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        y = y - y.mean(axis=0)
        self.xx, self.xy, self.yy = self.xx + x.T @ x, self.xy + x.T @ y, self.yy + (y**2).sum(axis=0)

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(self.xx + other.xx, self.xy + other.xy, self.yy + other.yy)

    def __sub__(self, other: _Moments) -> _Moments:
        return _Moments(self.xx - other.xx, self.xy - other.xy, self.yy - other.yy)

    def solve(self, penalties: Iterable[float]) -> list[np.ndarray]:
        """The weights `[feature, region]` for each penalty."""
        values, vectors = np.linalg.eigh(self.xx)
        rotated = vectors.T @ self.xy
        return [vectors @ (rotated / (np.maximum(values, 0) + penalty)[:, None]) for penalty in penalties]


def _scores(rest: _Moments, left_out: _Moments, counted: np.ndarray) -> np.ndarray:
    """Mean correlation over the counted regions of a left-out fold, `[penalty]`."""
    scores = []
    for weights in rest.solve(PENALTIES):
        shared = (weights * left_out.xy).sum(axis=0)
        scale = np.sqrt(np.maximum(((left_out.xx @ weights) * weights).sum(axis=0) * left_out.yy, 0))
        r = np.divide(shared, scale, out=np.zeros_like(shared), where=scale > 0)
        scores.append(r[counted].mean())
    return np.array(scores)


def standardised(features: np.ndarray) -> np.ndarray:
    """Features with mean 0 and standard deviation 1 over the run; a constant one is 0."""
    centred = np.asarray(features, np.float64) - features.mean(axis=0)
    deviation = centred.std(axis=0)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-9)
