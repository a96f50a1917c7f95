"""EEG recordings: files, MNE objects and arrays to electrodes by name, in volts, with every check."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mne
import numpy as np

from ..errors import InputError, RecordingError
from ..shapes import EEGSignals
from .channels import canonical_name, pick_electrodes
from .eeg_file import EEGFile, Marker, open_eeg

__all__ = ["EEGRecording", "Marker", "canonical_name", "eeg_from_array", "open_eeg", "read_eeg"]

logger = logging.getLogger(__name__)

MAX_SAMPLING_RATE = 1e6  # Hz
# What an electrode varies by within a second. The lower bound lies below any EEG, the upper one above the gradient
# artefact that EEG recorded inside a scanner carries (amplifiers saturate at 16 mV). The bounds are less than a factor
# of 1e6 apart, so no recording stays plausible when volts and microvolts are taken for each other.
PLAUSIBLE_VOLTS = (1e-7, 2e-2)
MAX_FLAT_SHARE = 0.25
# No amplifier gives as much, with any offset: such a sample comes from a damaged file, and its square may overflow.
MAX_VOLTS = 100.0


@dataclass(frozen=True)
class EEGRecording:
    """EEG by electrode name. Its samples are finite and its electrodes unique, whoever makes it.

    Args:
        signals (`np.ndarray` of shape `[electrode, time]`): volts, float64.
        electrodes (`tuple[str, ...]`): canonical names of the 10-05 system.
        sampling_rate (`float`): Hz.
        markers (`tuple[Marker, ...]`): events in time order.
        source (`str`): path of the file, or `"array"`.

    Raises:
        InputError: when shape, names and rate don't fit each other, or a name isn't canonical.
        RecordingError: when samples are NaN or infinite.
    """

    signals: EEGSignals
    electrodes: tuple[str, ...]
    sampling_rate: float
    markers: tuple[Marker, ...] = ()
    source: str = "array"

    def __post_init__(self):
        object.__setattr__(self, "signals", _as_signals(self.signals, self.source))
        object.__setattr__(self, "electrodes", _as_electrodes(self.electrodes, self.source))
        object.__setattr__(self, "sampling_rate", _as_rate(self.sampling_rate, self.source))
        if len(self.electrodes) != len(self.signals) or len(set(self.electrodes)) != len(self.electrodes):
            raise InputError(
                self.source,
                found=f"{len(self.signals)} signals and {len(set(self.electrodes))} different names",
                expected="one electrode name for each row of [electrode, time]",
                remedy="Give the names in the order of the rows; transpose the array if it is [time, electrode].",
            )
        _check_finite(self.signals, self.electrodes, self.source)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.signals.shape[1] / self.sampling_rate


def read_eeg(source: str | os.PathLike | mne.io.BaseRaw | EEGFile | EEGRecording) -> EEGRecording:
    """Read a recording and check it: electrodes by canonical name, volts, plausible and finite samples.

    Channels that are no EEG electrode, flat electrodes and those that MNE marks as bad are left out with a log line.

    Args:
        source (`str`, `os.PathLike`, `mne.io.BaseRaw`, [`EEGFile`] or `EEGRecording`):
            a file (BrainVision, EDF, BDF, GDF, EEGLAB, FIF, CNT, ...), an object of MNE, a file that is open, or a
            recording as it is.

    Raises:
        FileError: when the file is missing, a pointer to its content, damaged, or in no known format.
        RecordingError: when the content can't be used.
        InputError: when `source` is of another type.
    """
    if isinstance(source, EEGRecording):
        return source
    file = source if isinstance(source, EEGFile) else open_eeg(source)
    signals = file.read(list(file.electrodes.values()))
    return checked_recording(signals, tuple(file.electrodes), file.sampling_rate, file.markers, file.source)


def eeg_from_array(
    signals: EEGSignals, electrodes: Sequence[str], sampling_rate: float, source: str = "array"
) -> EEGRecording:
    """Make a recording from an array, with the checks of [`read_eeg`].

    Args:
        signals (`np.ndarray` of shape `[electrode, time]`): volts.
        electrodes (`Sequence[str]`): one name for each row.
        sampling_rate (`float`): Hz.
        source (`str`): what messages call it.

    Raises:
        InputError: when shape, names and rate don't fit each other.
        RecordingError: when the content can't be used.
    """
    signals = _as_signals(signals, source)
    names = [] if isinstance(electrodes, str) else list(electrodes)
    if len(names) != len(signals):
        raise InputError(
            "electrodes",
            found=f"{len(names)} names for {len(signals)} rows",
            expected="one name for each row of [electrode, time]",
            remedy="Give the names in the order of the rows; transpose the array if it is [time, electrode].",
        )
    rows = pick_electrodes(names, source)
    return checked_recording(signals[list(rows.values())], tuple(rows), sampling_rate, (), source)


def checked_recording(
    signals: np.ndarray, electrodes: tuple[str, ...], rate: float, markers: tuple[Marker, ...], source: str
) -> EEGRecording:
    """The recording of these electrodes `[electrode, time]`, after all checks of its content."""
    recording = EEGRecording(signals, electrodes, rate, markers, source)
    flat = np.ptp(recording.signals, axis=1) == 0
    names = [name for name, is_flat in zip(recording.electrodes, flat, strict=True) if is_flat]
    if len(names) > MAX_FLAT_SHARE * len(flat) or len(flat) - len(names) < 2:
        raise RecordingError(
            source,
            found=f"{len(names)} of {len(flat)} electrodes without any signal: {', '.join(names)}",
            expected=f"at most {MAX_FLAT_SHARE:.0%} constant electrodes",
            remedy="Check the recording, or leave these electrodes out.",
        )
    if names:
        logger.warning("%s: electrodes without any signal are left out: %s", source, ", ".join(names))
        kept = tuple(name for name in recording.electrodes if name not in names)
        recording = EEGRecording(recording.signals[~flat], kept, rate, markers, source)
    _check_plausible(recording)
    return recording


def _check_plausible(recording: EEGRecording) -> None:
    """Compare the median over electrodes of the standard deviation within a second with what EEG can be."""
    num_points = recording.signals.shape[1]
    length = min(num_points, max(2, round(recording.sampling_rate)))
    # At most a minute's worth of seconds, spread evenly: enough for a median, and quick at 5 kHz.
    starts = np.unique(np.linspace(0, num_points - length, min(60, num_points // length)).astype(int))
    seconds = np.stack([recording.signals[:, start : start + length] for start in starts])
    deviation = float(np.median(seconds.std(axis=2)))
    low, high = PLAUSIBLE_VOLTS
    if low <= deviation <= high:
        _check_range(recording)
        return
    if deviation > high:
        remedy = "These look like microvolts given as volts: divide by 1e6, or correct the unit in the header."
    else:
        remedy = (
            "The unit looks wrong: multiply by 1e6 if volts were divided twice, or correct the unit in the header."
        )
    raise RecordingError(
        recording.source,
        found=f"a standard deviation of {deviation:.3g} V within a second (median over electrodes)",
        expected=f"{low:g} to {high:g} V",
        remedy=remedy,
    )


def _check_range(recording: EEGRecording) -> None:
    beyond = np.maximum(recording.signals.max(axis=1), -recording.signals.min(axis=1)) > MAX_VOLTS
    if beyond.any():
        row = int(np.argmax(beyond))
        samples = np.abs(recording.signals[row]) > MAX_VOLTS
        raise RecordingError(
            recording.source,
            found=f"samples beyond {MAX_VOLTS:g} V in {int(beyond.sum())} electrodes, the first in "
            f"{recording.electrodes[row]} at sample {int(np.argmax(samples))}",
            expected="voltages that an amplifier can give",
            remedy="The file is damaged: download or export it again.",
        )


def _check_finite(signals: np.ndarray, electrodes: Sequence[str], source: str) -> None:
    if np.isfinite(signals).all():
        return
    bad = ~np.isfinite(signals)
    row = int(np.argmax(bad.any(axis=1)))
    raise RecordingError(
        source,
        found=f"{int(bad.sum())} NaN or Inf samples in {int(bad.any(axis=1).sum())} electrodes, the first in "
        f"{electrodes[row]} at sample {int(np.argmax(bad[row]))}",
        expected="finite samples",
        remedy="Cut the damaged part, or leave the electrode out.",
    )


def _as_signals(signals: object, source: str) -> np.ndarray:
    try:
        array = np.asarray(signals)
        if array.ndim == 2 and array.shape[1] >= 2 and array.dtype.kind in "fiu":
            return np.ascontiguousarray(array, dtype=np.float64)
        found = f"{array.dtype} of shape {list(array.shape)}"
    except (TypeError, ValueError, RuntimeError) as error:
        found = f"{type(signals).__name__} ({error})"
    raise InputError(
        source,
        found=found,
        expected="real numbers of shape [electrode, time] with at least two samples, in volts",
        remedy="Give a two-dimensional array.",
    )


def _as_electrodes(electrodes: object, source: str) -> tuple[str, ...]:
    names = tuple(electrodes) if isinstance(electrodes, Iterable) else (electrodes,)
    wrong = [name for name in names if not isinstance(name, str) or canonical_name(name) != name]
    if wrong:
        raise InputError(
            source,
            found=f"electrodes named {', '.join(map(repr, wrong[:5]))}",
            expected="canonical names of the 10-05 system (Fp1, FCz, T7, PO8)",
            remedy="Make the recording with eeg_from_array, which translates names (T3, EEG Fp1-REF).",
        )
    return names


def _as_rate(rate: object, source: str) -> float:
    try:
        value = float(rate)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = float("nan")
    if 0 < value <= MAX_SAMPLING_RATE:
        return value
    raise InputError(
        source,
        found=f"sampling rate {rate!r}",
        expected=f"a number above 0 and up to {MAX_SAMPLING_RATE:g} Hz",
        remedy="Give the sampling rate in hertz.",
    )
