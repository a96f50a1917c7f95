"""What a predictor is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from ..errors import InputError
from ..processing.eeg import EEGProcessor
from ..processing.filters import remove_drift

HIGH_PASS = 0.008  # Hz
SMALLEST_CHANGE = 1e-3  # percent, sd: less is the rounding of constant volumes


class NotAvailable(InputError):
    """A predictor can't be had for this dataset; the table says why."""


@dataclass(frozen=True)
class Regions:
    """Regions of one run's brain.

    Args:
        names: of the regions.
        kinds: `"network"`, `"dark"` (a network that the EEG has nothing to do with) or `"parcel"`, for each.
        weights (sparse, `[region, voxel]`): each row sums to 1, or is empty where the run doesn't hold the region.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    weights: scipy.sparse.csr_array

    def of(self, kind: str) -> np.ndarray:
        """Which regions are of this kind, `[region]`."""
        return np.array([own == kind for own in self.kinds], bool)

    @property
    def present(self) -> np.ndarray:
        """Which regions the run holds, `[region]`."""
        return np.diff(self.weights.indptr) > 0

    def series(self, volumes: np.ndarray, repetition_time: float) -> np.ndarray:
        """Volumes `[N, z, y, x]` in BOLD units to percent change `[N, region]`; see [`percent_change`]."""
        means = (self.weights @ volumes.reshape(len(volumes), -1).T).T
        return percent_change(np.asarray(means, np.float64), repetition_time)


def percent_change(signals: np.ndarray, repetition_time: float) -> np.ndarray:
    """The one preprocessing of all temporal scores: percent of the own mean over time, freed of drift.

    Args:
        signals (`np.ndarray` of shape `[N, ...]`): BOLD units. One that is constant, or whose mean isn't above 0,
            becomes 0.
        repetition_time (`float`): in seconds; drifts slower than 0.008 Hz are taken out.
    """
    mean = signals.mean(axis=0)
    change = np.divide(100 * (signals - mean), mean, out=np.zeros_like(signals), where=mean > 0)
    change = remove_drift(change, repetition_time, HIGH_PASS)
    return np.where(change.std(axis=0) > SMALLEST_CHANGE, change, 0)


@dataclass(frozen=True)
class Truth:
    """What is known of a simulated run.

    Args:
        latents (`np.ndarray` of shape `[time, latent]`): log amplitudes of every network and band.
        latent_times (`np.ndarray` of shape `[time]`): seconds from the first EEG sample.
        change (`np.ndarray` of shape `[N, network]`): what the EEG drives, in percent of the signal.
        maps (`np.ndarray` of shape `[network, z, y, x]`): where.
    """

    latents: np.ndarray
    latent_times: np.ndarray
    change: np.ndarray
    maps: np.ndarray


class Run(Protocol):
    """A run of a paired dataset; N volumes with a whole EEG window, in order.

    `spectra` and `volumes` are read from disk at every call, the rest is small and kept.
    """

    name: str
    subject: str
    repetition_time: float
    onsets: np.ndarray  # [N], seconds from the first EEG sample
    columns: np.ndarray  # [N, window], rows of `spectra()`
    eeg_processor: EEGProcessor
    regions: Regions
    series: np.ndarray  # [N, region], percent change
    mean: np.ndarray  # [z, y, x], over time
    own_mean: np.ndarray  # [z, y, x], over the run's first 30 volumes
    truth: Truth | None

    def spectra(self) -> np.ndarray:
        """`[column, C, electrode, frequency]`, not normalised."""
        ...

    def volumes(self) -> np.ndarray:
        """`[N, z, y, x]`, BOLD units."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What a predictor says about a run.

    Args:
        samples: each `[N, z, y, x]` in BOLD units; may be a generator, so that one sample is in memory at a time.
        series (`np.ndarray` of shape `[N, region]`, *optional*): percent change, from predictors that know regions
            better than voxels; by default it is taken from the samples.
    """

    samples: Iterable[np.ndarray]
    series: np.ndarray | None = None


class Predictor(Protocol):
    """Anything that can be a row of the table. Baselines take a [`Run`], models more of what a dataset knows."""

    def fit(self, runs: Iterable[Any]) -> Predictor:
        """Learn from training runs.

        Raises:
            NotAvailable: when the dataset lacks what it needs.
        """
        ...

    def predict(self, run: Any) -> Prediction:
        """Predict the run's volumes, of which only those that a row is meant to see may be used."""
        ...
