"""Settings of processors that fit the simulated datasets, and a study of tiny runs to pair."""

from pathlib import Path

import numpy as np

from eeg2fmri import EEGProcessor, VolumeProcessor
from eeg2fmri.recordings.layouts import RunFiles
from tiny_files import ELECTRODES, write_eeg, write_run

EEG = {
    "electrodes": ["Fp1", "Fp2", "C3", "C4", "P3", "P4", "O1", "Oz"],
    "mode": "log_power",
    "sampling_rate": 128.0,
    "num_frequencies": 10,
    "bins_per_frequency": 4,
    "num_windows": 5,
    "window_start": -10.0,
    "normalization": "training",
}
GRID = {"sample_size": (16, 32, 32), "grid_shape": (32, 32, 16), "repetition_time": 2.0}

TINY_EEG = {
    "electrodes": list(ELECTRODES),
    "mode": "log_power",
    "sampling_rate": 100.0,
    "num_frequencies": 10,
    "bins_per_frequency": 2,
    "num_windows": 4,
    "window_start": -4.0,
    "normalization": "training",
    "baseline": "recording",
}
TINY_VOLUME = {"mode": "change", "sample_size": (8, 8, 8), "grid_shape": (8, 8, 6), "repetition_time": 1.0}


def tiny_processors(**volume) -> tuple[EEGProcessor, VolumeProcessor]:
    return EEGProcessor(**TINY_EEG), VolumeProcessor(**{**TINY_VOLUME, **volume})


def tiny_run(folder: Path, subject: str, num_volumes: int = 30, seed: int | None = None) -> RunFiles:
    """A run with volumes every second, the first at half a second."""
    seed = sum(map(ord, subject)) if seed is None else seed
    markers = [(0.5 + k, "Response/R128") for k in range(num_volumes)]
    eeg = write_eeg(folder / f"{subject}.vhdr", markers, seconds=num_volumes + 1.0, seed=seed)
    return RunFiles(
        subject, f"sub-{subject}_task-rest", eeg, write_run(folder / f"{subject}.nii.gz", num_volumes, seed=seed)
    )


def tiny_study(folder: Path, subjects: str = "ABC", num_volumes: int = 30) -> list[RunFiles]:
    return [tiny_run(folder, subject, num_volumes) for subject in subjects]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by their path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def train_on(*subjects: str) -> dict[str, list[str]]:
    return {"train": list(subjects), "validation": [], "test": []}


def same_arrays(one, other) -> bool:
    """Whether two processors have the same statistics."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.array_names)
