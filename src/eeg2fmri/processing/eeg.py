"""EEGProcessor: from a recording to the spectrogram windows that the EEG encoder takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.configuration_utils import register_to_config

from ..errors import CheckpointError, InputError, RecordingError
from ..recordings.channels import interpolation_weights
from ..recordings.eeg import EEGRecording, eeg_from_array, read_eeg
from ..recordings.repetition_time import check_repetition_time
from ..shapes import EEGSpectra
from ..shapes import EEGWindows as EEGWindowArray
from .base import ProcessorMixin
from .eeg_checks import ELECTRODES, as_numpy, as_onsets, check_config
from .moments import SpectralMoments, mean_and_scale
from .spectra import amplitudes, as_channels, resample, whiten

ROUNDING = 1e-6  # seconds, of onsets that are sums or were written as text
VOLTS_TO_MICROVOLTS = 1e6


@dataclass(frozen=True)
class EEGWindows:
    """What [`EEGProcessor`] returns.

    Args:
        windows (`np.ndarray` of shape `[volume, channel, electrode, frequency, window]`): float32, normalised.
        onsets (`np.ndarray` of shape `[volume]`): the volumes' onsets in seconds from the recording's first sample.
    """

    windows: EEGWindowArray
    onsets: np.ndarray


class EEGProcessor(ProcessorMixin):
    """Turn EEG into spectrogram windows `[volume, channel, electrode, frequency, window]`.

    The steps:

    1. Electrodes by name, in the configuration's order. Missing ones are interpolated with spherical splines.
    2. Resampling to `sampling_rate` with a linear-phase filter.
    3. Columns: a volume at `onset` has `num_windows` columns of `(window_stop - window_start) / num_windows` seconds,
       column k from `onset + window_start + k * duration`. Each is one Fourier transform of a rectangular window;
       the constant is dropped and `num_frequencies * bins_per_frequency` bins are kept. Amplitudes are in microvolts.
       Columns that volumes share are computed once.
    4. Mode: `magnitude` |X|, `log_power` ln(mean |X|^2 / 2), or `complex` (real and imaginary part as two channels).
    5. Baseline: with `"recording"` the recording's own median over its columns is subtracted; with `"whitening"` its
       complex spectra are aligned by its own loudness and electrode covariance (`spectra.whiten`).
    6. Normalisation: `"channels"` is the z-score across electrodes for every frequency and column (the paper, after
       its reference 24); `"training"` is (x - mean) / scale with statistics of training recordings from [`fit`].
    7. Clipping to +-`clip`.
    8. Gathering the columns of every volume.

    Differs from the paper in: onsets are times in the recording and not indices; the paper counts ECG as the 64th
    channel, which is no electrode, and the default list has FCz in its place.

    Args:
        electrodes (`Sequence[str]`): canonical names of the 10-05 system.
        mode (`str`): `"magnitude"`, `"log_power"` or `"complex"`.
        sampling_rate (`float`): Hz, of the resampled signals.
        num_frequencies (`int`): frequencies kept.
        bins_per_frequency (`int`): neighbouring Fourier bins averaged into one frequency; 1 for `complex`.
        num_windows (`int`): columns for each volume.
        window_start (`float`): seconds from the volume's onset to the first column's start.
        window_stop (`float`): seconds from the volume's onset to the last column's end.
        baseline (`str`): `"none"`, `"recording"` (for `log_power` only) or `"whitening"` (for `complex` only).
        normalization (`str`): `"channels"` or `"training"`.
        clip (`float`, *optional*): bound of the normalised values.
        max_interpolated_share (`float`): share of the electrodes that may be interpolated.

    Raises:
        InputError: when a value is impossible, or values contradict each other.
    """

    array_names = ("mean", "scale")

    @register_to_config
    def __init__(
        self,
        electrodes: Sequence[str] = ELECTRODES,
        mode: str = "magnitude",
        sampling_rate: float = 250.0,
        num_frequencies: int = 134,
        bins_per_frequency: int = 1,
        num_windows: int = 10,
        window_start: float = -21.6,
        window_stop: float = 0.0,
        baseline: str = "none",
        normalization: str = "channels",
        clip: float | None = None,
        max_interpolated_share: float = 0.25,
    ):
        check_config(self.config)
        self.mean: np.ndarray | None = None
        self.scale: np.ndarray | None = None

    @property
    def num_channels(self) -> int:
        """Channels of a window: 2 for `complex`, else 1."""
        return 2 if self.config.mode == "complex" else 1

    @property
    def window_duration(self) -> float:
        """Seconds of one column."""
        return (self.config.window_stop - self.config.window_start) / self.config.num_windows

    @property
    def num_samples(self) -> int:
        """Samples of one column."""
        return round(self.window_duration * self.config.sampling_rate)

    @property
    def frequencies(self) -> np.ndarray:
        """`[frequency]`, Hz: the centres of the kept frequencies."""
        width = self.config.bins_per_frequency
        centres = np.arange(self.config.num_frequencies) * width + (width + 1) / 2
        return centres * self.config.sampling_rate / self.num_samples

    def __call__(
        self,
        eeg: Any,
        *,
        repetition_time: float | None = None,
        onsets: Sequence[float] | np.ndarray | None = None,
        electrodes: Sequence[str] | None = None,
        sampling_rate: float | None = None,
    ) -> EEGWindows:
        """Cut and transform the windows of all volumes of one recording.

        Args:
            eeg (path, `mne.io.BaseRaw`, [`EEGRecording`], or array or tensor of shape `[electrode, time]` in volts):
                the recording.
            repetition_time (`float`, *optional*): seconds between volumes; all volumes whose windows lie within the
                recording, the first at `-window_start`. Not used beside `onsets`.
            onsets (`[volume]`, *optional*): the volumes' onsets in seconds from the first sample.
            electrodes (`Sequence[str]`, *optional*): names of the rows; with an array only.
            sampling_rate (`float`, *optional*): Hz; with an array only.

        Raises:
            InputError: when an argument is wrong.
            RecordingError: when the recording is too short, misses too many electrodes, or windows leave it.
            FileError: when the file can't be read.
        """
        recording = self._recording(eeg, electrodes, sampling_rate)
        if onsets is None:
            if repetition_time is None:
                raise InputError(
                    "onsets, repetition_time",
                    found="neither",
                    expected="one of the two",
                    remedy="Give the repetition time, or the volumes' onsets, in seconds.",
                )
            onsets = self.possible_onsets(recording, repetition_time)
        onsets = as_onsets(onsets)
        self._refuse_outside(recording, onsets)
        starts, index = self.columns(onsets)
        columns = self.normalise(self.spectra(recording, starts))
        windows = np.ascontiguousarray(columns[index].transpose(0, 2, 3, 4, 1))
        return EEGWindows(windows=windows, onsets=onsets)

    def select_electrodes(self, recording: EEGRecording) -> EEGRecording:
        """Step 1: the configuration's electrodes in its order; missing ones are made from all the others.

        Raises:
            RecordingError: when more than `max_interpolated_share` of them is missing.
        """
        wanted = tuple(self.config.electrodes)
        rows = {name: row for row, name in enumerate(recording.electrodes)}
        missing = tuple(name for name in wanted if name not in rows)
        if len(missing) > self.config.max_interpolated_share * len(wanted):
            raise RecordingError(
                recording.source,
                found=f"{len(missing)} of {len(wanted)} electrodes missing: {', '.join(missing)}",
                expected=f"at most {self.config.max_interpolated_share:.0%} missing",
                remedy="Use a model whose electrodes fit the cap, or rename the channels after the cap's montage.",
            )
        signals = np.empty((len(wanted), recording.signals.shape[1]))
        for row, name in enumerate(wanted):
            if name in rows:
                signals[row] = recording.signals[rows[name]]
        if missing:
            # In alphabetical order the result doesn't depend on the order of the recording's channels, to the bit.
            sources = tuple(sorted(rows))
            weights = interpolation_weights(sources, missing)
            made = weights @ recording.signals[[rows[name] for name in sources]]
            signals[[wanted.index(name) for name in missing]] = made
        return EEGRecording(signals, wanted, recording.sampling_rate, recording.markers, recording.source)

    def possible_onsets(self, recording: EEGRecording, repetition_time: float) -> np.ndarray:
        """Onsets `[volume]` in seconds, every `repetition_time`, of all volumes whose windows the recording holds.

        Raises:
            InputError: when the repetition time is implausible.
            RecordingError: when the recording holds none.
        """
        check_repetition_time(repetition_time)
        length = self.config.window_stop - self.config.window_start
        # Rounding must not cost a recording of exactly the needed length its last volume.
        count = int(np.floor((recording.duration - length) / repetition_time + 1e-6)) + 1
        if count < 1:
            raise RecordingError(
                recording.source,
                found=f"too short: {recording.duration:.3f} s of EEG",
                expected=f"at least {length:.3f} s, the window of one volume",
                remedy="Give a longer recording, or use a model with a shorter window.",
            )
        return -self.config.window_start + repetition_time * np.arange(count)

    def covers(self, onsets: np.ndarray, duration: float) -> np.ndarray:
        """Which volumes have their whole EEG window inside a recording.

        Args:
            onsets (`np.ndarray` of shape `[volume]`): seconds from the first sample; NaN where unknown.
            duration (`float`): of the recording, seconds.

        Returns:
            `np.ndarray` of shape `[volume]`: bool. What leaves the recording by rounding alone is inside.
        """
        start, stop = onsets + self.config.window_start, onsets + self.config.window_stop
        return (start >= -ROUNDING) & (stop <= duration + ROUNDING)

    def columns(self, onsets: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Step 3: which columns the volumes need.

        Args:
            onsets (`[volume]`): seconds.

        Returns:
            `np.ndarray` of shape `[column]`: first sample of every different column at the processor's rate;
            `np.ndarray` of shape `[volume, window]`: index of each volume's columns in it.
        """
        offsets = self.config.window_start + self.window_duration * np.arange(self.config.num_windows)
        samples = (as_onsets(onsets)[:, None] + offsets) * self.config.sampling_rate
        # Halves are rounded up, after float noise is taken off, so that columns of different volumes coincide.
        samples = np.floor(np.round(samples, 6) + 0.5).astype(np.int64)
        starts, index = np.unique(samples, return_inverse=True)
        return starts, index.reshape(samples.shape)

    def spectra(self, recording: EEGRecording, starts: np.ndarray) -> EEGSpectra:
        """Steps 1 to 5, for the columns that start at these samples: `[column, channel, electrode, frequency]`.

        The values are float32 in uV (`magnitude`, `complex`) or the logarithm of uV^2 (`log_power`). The baseline is
        that of these very columns: give all of a recording's columns at once.

        Raises:
            RecordingError: when the recording's rate is too low for the frequencies, or a column leaves it.
        """
        highest = self.config.num_frequencies * self.config.bins_per_frequency
        highest = highest * self.config.sampling_rate / self.num_samples
        if recording.sampling_rate < 2 * highest * (1 - 1e-9):
            raise RecordingError(
                recording.source,
                found=f"a sampling rate of {recording.sampling_rate:g} Hz",
                expected=f"at least {2 * highest:g} Hz for frequencies up to {highest:g} Hz",
                remedy="Give the recording at a higher rate, or use a model with fewer frequencies.",
            )
        selected = self.select_electrodes(recording)
        signals = resample(selected.signals, selected.sampling_rate, self.config.sampling_rate)
        last = signals.shape[1] - self.num_samples
        # Starts and lengths are rounded to samples: a window at the rim may stick out by one, and is moved inside.
        starts = np.asarray(starts)
        if last < 0 or starts.min(initial=0) < -1 or starts.max(initial=0) > last + 1:
            raise RecordingError(
                recording.source,
                found=f"columns from sample {starts.min(initial=0)} to {starts.max(initial=0) + self.num_samples}",
                expected=f"columns within 0 to {signals.shape[1]} at {self.config.sampling_rate:g} Hz",
                remedy="Leave out the volumes whose EEG window isn't recorded.",
            )
        num_bins = self.config.num_frequencies * self.config.bins_per_frequency
        spectrum = amplitudes(signals, np.clip(starts, 0, last), self.num_samples, num_bins)
        spectra = as_channels(VOLTS_TO_MICROVOLTS * spectrum, self.config.mode, self.config.bins_per_frequency)
        if self.config.baseline == "recording":
            return spectra - np.median(spectra, axis=0)
        return whiten(spectra) if self.config.baseline == "whitening" else spectra

    def normalise(self, spectra: EEGSpectra) -> EEGSpectra:
        """Steps 6 and 7, on each column by itself: `[column, channel, electrode, frequency]`, float32.

        Raises:
            InputError: when training statistics are needed and there are none.
        """
        values = spectra
        if self.config.normalization == "channels":
            deviation = values.std(axis=2, keepdims=True)
            values = (values - values.mean(axis=2, keepdims=True)) / np.maximum(deviation, np.finfo(np.float32).tiny)
        else:
            if self.mean is None or self.scale is None:
                raise InputError(
                    "EEGProcessor",
                    found="no training statistics",
                    expected='mean and scale, since normalization is "training"',
                    remedy="Call fit with the training recordings, or load a processor that was fitted.",
                )
            values = (values - self.mean) / self.scale
        if self.config.clip is not None:
            values = np.clip(values, -self.config.clip, self.config.clip)
        return values.astype(np.float32, copy=False)

    def fit(self, recordings_and_onsets: Iterable[tuple[EEGRecording, np.ndarray]]) -> EEGProcessor:
        """Learn `mean` and `scale` `[channel, electrode, frequency]` from training recordings, for `"training"`.

        For `complex` the mean is zero, and real and imaginary part have a common scale: the phase is kept.

        Args:
            recordings_and_onsets (`Iterable[tuple[EEGRecording, np.ndarray]]`): each with its volumes' onsets.

        Raises:
            InputError: when the normalisation needs no statistics, or no recording is given.
            RecordingError: when an electrode never varies.
        """
        if self.config.normalization != "training":
            raise InputError(
                "EEGProcessor",
                found=f"normalization {self.config.normalization!r}",
                expected='"training", the only one with statistics',
                remedy="Leave out fit, or configure the processor with normalization='training'.",
            )
        moments, sources = [], []
        for recording, onsets in recordings_and_onsets:
            moments.append(SpectralMoments.of(self.spectra(recording, self.columns(onsets)[0])))
            sources.append(recording.source)
        return self.fit_moments(moments, sources)

    def fit_moments(self, moments: Sequence[SpectralMoments], sources: Sequence[str]) -> EEGProcessor:
        """[`fit`], from what was summed over each recording's spectra; `sources` name the recordings in errors."""
        self.mean, self.scale = mean_and_scale(moments, sources, keep_phase=self.config.mode == "complex")
        return self

    def _recording(self, eeg: Any, electrodes: Sequence[str] | None, sampling_rate: float | None) -> EEGRecording:
        if isinstance(eeg, np.ndarray) or hasattr(eeg, "numpy"):
            if electrodes is None or sampling_rate is None:
                raise InputError(
                    "electrodes, sampling_rate",
                    found="nothing" if electrodes is None and sampling_rate is None else "one of the two",
                    expected="both, for an array",
                    remedy="Name the rows of the array and give its sampling rate in Hz.",
                )
            return eeg_from_array(eeg if isinstance(eeg, np.ndarray) else as_numpy(eeg), electrodes, sampling_rate)
        if electrodes is not None or sampling_rate is not None:
            raise InputError(
                "electrodes, sampling_rate",
                found="values beside a recording that has its own",
                expected="none",
                remedy="Leave them out: they go with arrays only.",
            )
        return read_eeg(eeg)

    def _refuse_outside(self, recording: EEGRecording, onsets: np.ndarray) -> None:
        outside = onsets[~self.covers(onsets, recording.duration)]
        if len(outside):
            raise RecordingError(
                recording.source,
                found=f"{len(outside)} of {len(onsets)} volumes, with onsets from {outside.min():.3f} to "
                f"{outside.max():.3f} s, whose EEG window leaves the recording",
                expected=f"onset {self.config.window_start:+g} s to onset {self.config.window_stop:+g} s within "
                f"0 to {recording.duration:.3f} s",
                remedy="Leave these volumes out, or give a recording that covers them.",
            )

    def _set_arrays(self, path: str | os.PathLike) -> None:
        super()._set_arrays(Path(path))
        shape = (self.num_channels, len(self.config.electrodes), self.config.num_frequencies)
        found = {name: getattr(self, name) for name in self.array_names}
        shapes = {name: None if array is None else array.shape for name, array in found.items()}
        empty = set(shapes.values()) == {None}
        if not empty and (set(shapes.values()) != {shape} or not (found["scale"] > 0).all()):
            raise CheckpointError(
                path,
                found=f"arrays of shapes {shapes}",
                expected=f"mean and a positive scale of shape {shape}, [channel, electrode, frequency]",
                remedy="Download the checkpoint again.",
            )
