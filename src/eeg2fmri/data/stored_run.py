"""One run of the paired dataset: a safetensors file whose arrays are mapped and not read.

| array | shape | |
|---|---|---|
| `spectra` | `[column, C, electrode, frequency]` | float16, not normalised: uV, or ln uV^2 |
| `index` | `[pair, window]` | int32, the columns of every pair |
| `volumes` | `[pair, 1, D, H, W]` | float16, model units; in mode `change` also outside the brain |
| `volume_limits` | `[pair, 2]` | float32, each volume's minimum and maximum in BOLD units |
| `spectra_total`, `spectra_squares` | `[C, electrode, frequency]` | float64, sums over the columns |
| `mean`, `scale`, `mask` | `[D, H, W]` | float32 and bool: the run's own reference |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from ..errors import FileError, RecordingError
from ..processing.eeg import EEGProcessor
from ..processing.moments import SpectralMoments
from ..processing.reference import VolumeReference
from ..processing.volume import VolumeProcessor
from .alignment import AlignedRun

LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class StoredRun:
    """The arrays of a run, mapped from its file; see this file's table. Volumes are a tensor: it copies faster."""

    spectra: np.ndarray
    index: np.ndarray
    volumes: torch.Tensor
    volume_limits: np.ndarray
    moments: SpectralMoments
    reference: VolumeReference


def run_arrays(
    aligned: AlignedRun, eeg_processor: EEGProcessor, volume_processor: VolumeProcessor
) -> tuple[dict[str, np.ndarray], VolumeReference]:
    """What is stored of a run, and its reference. Nothing of it depends on other runs.

    Raises:
        RecordingError: when the run can't be processed, or exceeds what float16 holds.
    """
    starts, index = eeg_processor.columns(aligned.onsets)
    spectra = eeg_processor.spectra(aligned.recording, starts)
    moments = SpectralMoments.of(spectra)
    reference = volume_processor.measure(aligned.bold)
    # A template decides which of the voxels count: a reader applies its mask.
    everywhere = replace(reference, mask=np.ones_like(reference.mask))
    volumes = volume_processor.preprocess(aligned.bold, everywhere)[aligned.volumes]
    arrays = {
        "spectra": _as_float16(spectra, aligned.recording.source, "spectra, in uV or ln uV^2,"),
        "index": index.astype(np.int32),
        "volumes": _as_float16(volumes, aligned.bold.source, "volumes, in model units,"),
        "volume_limits": volume_processor.limits(aligned.bold)[aligned.volumes],
        "spectra_total": moments.total,
        "spectra_squares": moments.squares,
        "mean": reference.mean,
        "scale": reference.scale,
        "mask": reference.mask,
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, reference


def open_run(folder: Path, entry: dict) -> StoredRun:
    """Map the file of a run.

    Args:
        folder: of the paired dataset.
        entry: the run in its index.

    Raises:
        FileError: when the file is missing, of another size than the index says, or no such file.
    """
    path = folder / entry["file"]
    check_size(path, entry)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is no mapping
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        moments = SpectralMoments(len(arrays["spectra"]), arrays["spectra_total"], arrays["spectra_squares"])
        return StoredRun(
            arrays["spectra"],
            arrays["index"],
            tensors["volumes"],
            arrays["volume_limits"],
            moments,
            stored_reference(arrays, entry),
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise damaged(path, f"no readable run ({error})") from error


def stored_reference(arrays: dict[str, np.ndarray], entry: dict) -> VolumeReference:
    """A run's reference from its stored arrays and the `low`, `high` and `affine` beside them."""
    reference = entry["reference"]
    return VolumeReference(
        arrays["mean"],
        arrays["scale"],
        arrays["mask"],
        reference["low"],
        reference["high"],
        np.array(reference["affine"]),
        entry["name"],
    )


def check_size(path: Path, entry: dict) -> None:
    """Refuse a file that is missing, or not as long as the index says.

    Raises:
        FileError: with both sizes.
    """
    found = path.stat().st_size if path.is_file() else None
    if found != entry["bytes"]:
        raise damaged(path, "nothing" if found is None else f"{found} bytes", f"{entry['bytes']} bytes")


def damaged(path: Path, found: str, expected: str = "a run of the dataset") -> FileError:
    """The error for a dataset's file that is not as it was written."""
    return FileError(path, found=found, expected=expected, remedy="Prepare the dataset again.")


def _as_float16(values: np.ndarray, source: str, what: str) -> np.ndarray:
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= LARGEST:
        raise RecordingError(
            source,
            found=f"{what} of up to {largest:g}",
            expected=f"at most {LARGEST:g}, the largest number of float16",
            remedy="Check the units, and remove scanner artefacts or leave the run out.",
        )
    return values.astype(np.float16)
