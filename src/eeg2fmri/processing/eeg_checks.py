"""What an EEGProcessor may be configured to and be given, and its default electrodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..recordings.channels import canonical_name
from ..recordings.repetition_time import is_number

# A 64-channel MR cap as in both of the paper's datasets: 63 electrodes in the amplifier's order, and the reference FCz
# in the place of ECG.
# fmt: off
ELECTRODES = (
    "Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T7", "T8",
    "P7", "P8", "Fz", "Cz", "Pz", "Oz", "FC1", "FC2", "CP1", "CP2", "FC5", "FC6", "CP5", "CP6",
    "TP9", "TP10", "POz", "FCz", "F1", "F2", "C1", "C2", "P1", "P2", "AF3", "AF4", "FC3", "FC4",
    "CP3", "CP4", "PO3", "PO4", "F5", "F6", "C5", "C6", "P5", "P6", "AF7", "AF8", "FT7", "FT8",
    "TP7", "TP8", "PO7", "PO8", "FT9", "FT10", "Fpz", "CPz",
)
# fmt: on
CHOICES = {
    "mode": ("magnitude", "log_power", "complex"),
    "baseline": ("none", "recording", "whitening"),
    "normalization": ("channels", "training"),
}
# Bounds far outside of any use, so that a damaged configuration can't ask for all memory.
NUMBERS = {
    "sampling_rate": (1.0, 1e5),
    "window_start": (-3600.0, 3600.0),
    "window_stop": (-3600.0, 3600.0),
    "clip": (1e-6, 1e6),
    "max_interpolated_share": (0.0, 0.9),
}
COUNTS = {"num_frequencies": 10**6, "bins_per_frequency": 10**6, "num_windows": 10**4}


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse impossible values of [`EEGProcessor`]'s configuration.

    Raises:
        InputError: with the value that was found and those that are possible.
    """
    for name, choices in CHOICES.items():
        if config[name] not in choices:
            raise _impossible(name, repr(config[name]), " or ".join(map(repr, choices)))
    for name, (low, high) in NUMBERS.items():
        value = config[name]
        if not (name == "clip" and value is None) and not (_is_plain_number(value) and low <= value <= high):
            raise _impossible(name, repr(value), f"a number from {low:g} to {high:g}")
    for name, high in COUNTS.items():
        value = config[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
            raise _impossible(name, repr(value), f"a whole number from 1 to {high}")
    _check_electrodes(config["electrodes"])
    _check_together(config)


def _check_electrodes(electrodes: Any) -> None:
    if not isinstance(electrodes, list | tuple) or len(electrodes) < 2:
        raise _impossible("electrodes", repr(electrodes)[:80], "a list of at least two electrode names")
    wrong = [name for name in electrodes if not isinstance(name, str) or canonical_name(name) != name]
    if wrong:
        raise _impossible("electrodes", f"{wrong[:5]}", "canonical names of the 10-05 system (Fp1, FCz, T7, PO8)")
    if len(set(electrodes)) != len(electrodes):
        twice = sorted({name for name in electrodes if electrodes.count(name) > 1})
        raise _impossible("electrodes", f"{', '.join(twice)} more than once", "each electrode once")


def _check_together(config: Mapping[str, Any]) -> None:
    start, stop = config["window_start"], config["window_stop"]
    if not start < stop:
        raise _impossible("window_start, window_stop", f"{start:g}, {stop:g}", "a window that ends after it starts")
    num_samples = round((stop - start) / config["num_windows"] * config["sampling_rate"])
    num_bins = config["num_frequencies"] * config["bins_per_frequency"]
    if num_bins > num_samples // 2:
        raise _impossible(
            "num_frequencies * bins_per_frequency",
            f"{config['num_frequencies']} * {config['bins_per_frequency']} = {num_bins}",
            f"at most {num_samples // 2}, the bins of a column of {num_samples} samples up to the Nyquist frequency",
        )
    if config["mode"] == "complex" and config["bins_per_frequency"] != 1:
        raise _impossible("bins_per_frequency", f"{config['bins_per_frequency']} with mode 'complex'", "1")
    for baseline, mode in (("recording", "log_power"), ("whitening", "complex")):
        if config["baseline"] == baseline and config["mode"] != mode:
            raise _impossible(
                "baseline", f"{baseline!r} with mode {config['mode']!r}", f"{baseline!r} with {mode!r} only"
            )


def _is_plain_number(value: Any) -> bool:
    return isinstance(value, int | float) and is_number(value)  # NumPy's own can't be saved as JSON


def _impossible(name: str, found: str, expected: str) -> InputError:
    return InputError(f"EEGProcessor.{name}", found=found, expected=expected, remedy="Correct the configuration.")


def as_numpy(tensor: Any) -> np.ndarray:
    """A tensor of any library as an array, or an InputError."""
    try:
        for step in ("detach", "cpu"):
            tensor = getattr(tensor, step)() if hasattr(tensor, step) else tensor
        return np.asarray(tensor.numpy())
    except (TypeError, RuntimeError) as error:
        raise InputError(
            "eeg",
            found=f"{type(tensor).__name__} that can't become an array ({error})",
            expected="a dense tensor of shape [electrode, time]",
            remedy="Convert it to float32 or float64 first.",
        ) from error


def as_onsets(onsets: Any) -> np.ndarray:
    """Onsets as finite float64 seconds of shape `[volume]`, or an InputError."""
    try:
        given = np.asarray(onsets)
        if given.dtype.kind == "c":
            raise TypeError(f"dtype {given.dtype}")
        array = given.astype(np.float64)
        if array.ndim == 1 and len(array) and np.isfinite(array).all() and np.abs(array).max() < 1e7:
            return array
        found = f"shape {list(array.shape)} with {int((~np.isfinite(array)).sum())} NaN or Inf"
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # RuntimeError: tensors with gradients
        found = f"{type(onsets).__name__} ({error})"
    raise InputError(
        "onsets",
        found=found,
        expected="at least one finite time in seconds, of shape [volume]",
        remedy="Give the volumes' onsets in seconds from the recording's first sample.",
    )
