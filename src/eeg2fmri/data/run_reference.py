"""What a run's stored values are relative to, and how they change to be relative to a part of the run alone.

A run is stored relative to itself as a whole. Where a run is divided into training, validation and test, its mean,
standard deviation, minimum, maximum and EEG baseline must be those of its training part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ..processing.eeg import EEGProcessor
from ..processing.moments import SpectralMoments
from ..processing.reference import VolumeReference
from ..processing.volume import VolumeProcessor
from ..recordings.bold import BOLDRun
from .stored_run import StoredRun, damaged


@dataclass(frozen=True)
class RunReference:
    """What the pairs of a run are relative to.

    Args:
        baseline (`np.ndarray` of shape `[C, electrode, frequency]`): still to be subtracted from the stored spectra.
        volume (`VolumeReference`): of the volumes.
    """

    baseline: np.ndarray
    volume: VolumeReference

    def save(self, path: Path) -> None:
        """As a safetensors file."""
        volume = self.volume
        limits = np.array([volume.low, volume.high])
        arrays = {"mean": volume.mean, "scale": volume.scale, "mask": volume.mask, "affine": volume.affine}
        arrays = {"baseline": self.baseline, "limits": limits, **arrays}
        # safetensors writes other orders of memory as they lie, silently.
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)

    @classmethod
    def load(cls, path: Path) -> RunReference:
        """From a safetensors file.

        Raises:
            FileError: when it can't be read.
        """
        try:
            arrays = load_file(path)
            low, high = map(float, arrays["limits"])
            own = (arrays["mean"], arrays["scale"], arrays["mask"], low, high, arrays["affine"], path.stem)
            return cls(arrays["baseline"], VolumeReference(*own))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise damaged(path, f"no readable reference ({error})", "the reference of a run") from error


def measure_part(
    stored: StoredRun,
    pairs: slice,
    repetition_time: float,
    eeg_processor: EEGProcessor,
    volume_processor: VolumeProcessor,
) -> tuple[SpectralMoments, RunReference]:
    """The statistics of some pairs of a run, as if the run were nothing but these.

    Smoothing and the removal of drifts are not repeated: they were done on the whole run.

    Raises:
        RecordingError: fewer than 20 volumes, or no brain in them.
    """
    spectra = stored.spectra[np.unique(stored.index[pairs])].astype(np.float32)
    baseline = np.zeros(spectra.shape[1:], np.float32)
    if eeg_processor.config.baseline == "recording":
        baseline = np.median(spectra, axis=0).astype(np.float32)
    values = volume_processor.unpad(_bold_units(stored, pairs, volume_processor.config.mode)[:, 0])
    volumes = np.ascontiguousarray(values.transpose(3, 2, 1, 0))
    bold = BOLDRun(volumes, stored.reference.affine, repetition_time, stored.reference.source)
    as_they_are = {"smoothing_fwhm": None, "high_pass": None}
    measured = VolumeProcessor.from_config({**volume_processor.config, **as_they_are}).measure(bold)
    return SpectralMoments.of(spectra - baseline), RunReference(baseline, measured)


def rescaling(
    stored: VolumeReference, wanted: VolumeReference, volume_processor: VolumeProcessor
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Gain and offset `[D, H, W]`, float32, from stored volumes to those relative to another reference of the run.

    Either is None where it would change nothing.
    """
    mode = volume_processor.config.mode
    if mode == "change":
        gain = stored.scale / wanted.scale * wanted.mask
        offset = (stored.mean - wanted.mean) / wanted.scale * wanted.mask
        return gain.astype(np.float32), offset.astype(np.float32) if offset.any() else None
    if mode == "minmax_volume" or (stored.low, stored.high) == (wanted.low, wanted.high):
        return None, None
    spread = wanted.high - wanted.low
    ratio = (stored.high - stored.low) / spread
    shift = ratio - 1 + 2 * (stored.low - wanted.low) / spread
    grid = np.ones(volume_processor.grid_shape[::-1], np.float32)
    return volume_processor.pad(ratio * grid), volume_processor.pad(shift * grid, -1.0)


def within_template(reference: RunReference, volume_processor: VolumeProcessor) -> RunReference:
    """The same with the brain that counts for a fitted processor."""
    return replace(reference, volume=volume_processor.within_template(reference.volume))


def _bold_units(stored: StoredRun, pairs: slice, mode: str) -> np.ndarray:
    values = stored.volumes[pairs].numpy().astype(np.float32)
    own = stored.reference
    if mode == "change":
        return own.mean + own.scale * values
    low, high = own.low, own.high
    if mode == "minmax_volume":
        low, high = (limit.reshape(-1, 1, 1, 1, 1) for limit in stored.volume_limits[pairs].T)
    return low + (values + 1) / 2 * (high - low)
