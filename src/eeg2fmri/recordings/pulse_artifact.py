"""The pulse (ballistocardiogram) artefact of EEG recorded inside a scanner: heart beats, and its removal."""

from __future__ import annotations

import re
from collections.abc import Sequence

import mne
import numpy as np

from ..errors import RecordingError
from .channels import quiet_mne
from .eeg_file import Marker

PULSE_MARKER = re.compile(r"(Pulse Artifact/)?R", re.IGNORECASE)
FEWEST_BEATS = 20
PLAUSIBLE_HEART_RATE = (40.0, 150.0)  # beats a minute
MISSED_BEATS_WORTH_A_WARNING = 0.1  # share
DELAY = 0.21  # s from the R peak to the middle of the artefact (Niazy et al. 2005)
HIGH_PASS = 1.0  # Hz; a template must not learn the electrodes' drift


def beats_of_markers(markers: Sequence[Marker]) -> np.ndarray:
    """R peaks that an amplifier's software marked (`Pulse Artifact/R`), seconds; empty where there are none."""
    return np.unique([marker.onset for marker in markers if PULSE_MARKER.fullmatch(marker.description)])


def beats_of_ecg(ecg: np.ndarray, sampling_rate: float, source: str) -> np.ndarray:
    """R peaks in an ECG channel `[time]` without gradient artefact, seconds.

    Raises:
        RecordingError: when MNE finds none.
    """
    with quiet_mne(source):
        raw = mne.io.RawArray(ecg[None], mne.create_info(["ECG"], sampling_rate, "ecg"))
        try:
            events = mne.preprocessing.find_ecg_events(raw, ch_name="ECG")[0]
        except (ValueError, RuntimeError, IndexError) as error:
            raise _no_beats(source, f"no heart beats in the ECG channel ({error})") from error
    return events[:, 0] / sampling_rate


def check_beats(beats: np.ndarray, source: str) -> tuple[float, str | None]:
    """The heart rate (beats a minute), and a warning where many beats seem to be missing.

    Raises:
        RecordingError: when there are too few beats, or the rate is not a heart's.
    """
    if beats.size < FEWEST_BEATS:
        raise _no_beats(source, f"{beats.size} heart beats")
    rate = 60 / float(np.median(np.diff(beats)))
    low, high = PLAUSIBLE_HEART_RATE
    if not low <= rate <= high:
        raise _no_beats(source, f"a heart rate of {rate:.0f} beats a minute")
    expected = round(float(beats[-1] - beats[0]) * rate / 60) + 1
    if beats.size < (1 - MISSED_BEATS_WORTH_A_WARNING) * expected:
        return rate, f"{beats.size} heart beats where about {expected} were expected: some pulse artefact is left"
    return rate, None


def pulse_artifact_removed(
    signals: np.ndarray, sampling_rate: float, beats: np.ndarray, num_components: int, source: str
) -> np.ndarray:
    """EEG without pulse artefact, by optimal basis sets (Niazy et al. 2005; MNE's `apply_pca_obs`).

    Less than a beat at either end stays as it is, for want of a whole template.

    Args:
        signals (`np.ndarray` of shape `[electrode, time]`): volts, without gradient artefact.
        sampling_rate (`float`): Hz.
        beats (`np.ndarray` of shape `[beat]`): R peaks, seconds; checked by [`check_beats`].
        num_components (`int`): principal components beside the beats' mean course.
        source (`str`): the recording, for messages.

    Raises:
        RecordingError: when too few beats lie within the signals.
    """
    samples = np.rint((beats + DELAY) * sampling_rate)
    reach = round(float(np.median(np.diff(samples))) / 2) + 2
    # MNE cuts a window beyond the ends short and then fails.
    samples = samples[(samples >= reach) & (samples + reach < signals.shape[1])]
    if samples.size < FEWEST_BEATS:
        raise _no_beats(source, f"{samples.size} heart beats within {signals.shape[1] / sampling_rate:.1f} s of EEG")
    with quiet_mne(source):
        fast = mne.filter.filter_data(signals, sampling_rate, HIGH_PASS, None)
        slow = signals - fast
        raw = mne.io.RawArray(fast, mne.create_info(len(signals), sampling_rate, "eeg"))
        # MNE rounds times down to samples: a quarter of one keeps them.
        times = (samples + 0.25) / sampling_rate
        mne.preprocessing.apply_pca_obs(raw, picks="eeg", qrs_times=times, n_components=num_components, copy=False)
        return raw.get_data() + slow


def _no_beats(source: str, found: str) -> RecordingError:
    return RecordingError(
        source,
        found=found,
        expected=f"at least {FEWEST_BEATS} heart beats, {PLAUSIBLE_HEART_RATE[0]:g} to {PLAUSIBLE_HEART_RATE[1]:g} a "
        "minute, to remove the pulse artefact",
        remedy="Mark the R peaks (Pulse Artifact/R), or record an ECG channel.",
    )
