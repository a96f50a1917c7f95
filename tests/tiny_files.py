"""Tiny recordings on disk, to put in the place of a dataset's signals."""

from pathlib import Path

import numpy as np

from eeg2fmri.data.simulation.brainvision import BrainVisionMarker, write_brainvision
from eeg2fmri.recordings.bold import bold_image, write_bold

ELECTRODES = ("Fp1", "Fp2", "C3", "Cz", "C4", "O1", "Oz", "O2")


def write_eeg(path: Path, markers=(), *, seconds: float = 4.0, rate: float = 100.0, seed: int = 0) -> Path:
    """Noise as BrainVision; `markers` are (seconds, "Type/Description")."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signals = 2e-5 * np.random.default_rng(seed).standard_normal((len(ELECTRODES), round(seconds * rate)))
    marks = [BrainVisionMarker(*name.split("/"), round(onset * rate)) for onset, name in markers]
    write_brainvision(path, signals, ELECTRODES, rate, marks, "FCz")
    return path


def write_run(path: Path, num_volumes: int = 3, repetition_time: float = 1.0, seed: int = 0) -> Path:
    """A ball that flickers, 8 x 8 x 6 voxels, as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in (8, 8, 6)), indexing="ij")
    ball = 1000.0 * (x**2 + y**2 + z**2 < 0.9) + 20.0
    noise = 1 + 0.01 * np.random.default_rng(seed).standard_normal((8, 8, 6, num_volumes))
    image = bold_image((ball[..., None] * noise).astype(np.float32), np.diag([6.0, 6.0, 8.0, 1.0]), repetition_time)
    write_bold(image, path)
    return path
