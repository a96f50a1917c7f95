"""Runs made of noise with a planted coupling, as baselines take them."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from eeg2fmri import EEGProcessor
from eeg2fmri.baselines.run import Regions, Truth

GRID = (2, 3, 4)  # z, y, x
NUM_VOLUMES, NUM_WINDOWS = 80, 4
ELECTRODES = ["Fp1", "Fp2", "C3", "Cz", "C4", "O1", "Oz", "O2"]


@dataclass
class FakeRun:
    name: str
    subject: str
    repetition_time: float
    onsets: np.ndarray
    columns: np.ndarray
    eeg_processor: EEGProcessor
    regions: Regions
    series: np.ndarray
    mean: np.ndarray
    own_mean: np.ndarray
    stored: np.ndarray
    measured: np.ndarray
    truth: Truth | None = None

    def spectra(self):
        return self.stored

    def volumes(self):
        return self.measured


def regions():
    """Two networks, a dark one, and two parcels that are the two slices."""
    rows = np.zeros((5, 24))
    rows[0, :4], rows[1, 4:8], rows[2, 20:], rows[3, :12], rows[4, 12:] = 1, 1, 1, 1, 1
    names = ("one", "two", "dark", "parcel 1", "parcel 2")
    weights = scipy.sparse.csr_array(rows / rows.sum(1, keepdims=True))
    return Regions(names, ("network", "network", "dark", "parcel", "parcel"), weights)


def fake_run(seed, coupling=1.0, mode="log_power"):
    """Regions follow a fixed mixture of log power, one window back, in percent."""
    rng = np.random.default_rng(seed)
    processor = EEGProcessor(
        electrodes=ELECTRODES,
        mode=mode,
        sampling_rate=64.0,
        num_frequencies=24,
        bins_per_frequency=1,
        num_windows=NUM_WINDOWS,
        window_start=-8.0,
        window_stop=0.0,
        normalization="channels",
    )
    columns = np.arange(NUM_VOLUMES)[:, None] + np.arange(NUM_WINDOWS)
    levels = rng.standard_normal((NUM_VOLUMES + NUM_WINDOWS - 1, len(ELECTRODES)))
    mixture = np.random.default_rng(99).standard_normal((len(ELECTRODES), 5))
    series = coupling * levels[columns[:, 2]] @ mixture + rng.standard_normal((NUM_VOLUMES, 5))
    spectra = np.repeat(levels[:, None, :, None], 24, axis=3)
    mean = 100 + 10 * rng.random(GRID)
    volumes = mean * (1 + 0.01 * rng.standard_normal((NUM_VOLUMES, *GRID)))
    onsets = 8.0 + 2.0 * np.arange(NUM_VOLUMES)
    return FakeRun(
        f"run-{seed}", f"{seed:03d}", 2.0, onsets, columns, processor, regions(),
        series - series.mean(0), mean, volumes[:30].mean(0), spectra, volumes,
    )  # fmt: skip
