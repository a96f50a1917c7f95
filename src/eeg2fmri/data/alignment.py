"""Which moment of the EEG belongs to which volume, from the scanner's markers in the recording."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from ..errors import RecordingError
from ..processing.eeg import EEGProcessor
from ..recordings.bold import BOLDRun, read_bold
from ..recordings.eeg import EEGRecording, read_eeg
from ..recordings.layouts import RunFiles

SPACING_TOLERANCE = 0.01  # share of the repetition time


def volume_onsets(
    recording: EEGRecording, num_volumes: int, repetition_time: float, marker: str | None = None
) -> np.ndarray:
    """Onset of every volume in seconds from the first EEG sample (SPEC of the aligned preset).

    The marker is the one that appears once per volume at the repetition time's spacing, or the one that is named.

    Args:
        recording ([`EEGRecording`]): with its markers.
        num_volumes (`int`): stored volumes of the BOLD run.
        repetition_time (`float`): seconds between volumes.
        marker (`str`, *optional*): the description of the volume marker, e.g. `"Response/R128"`.

    Returns:
        `np.ndarray` of shape `[num_volumes]`: seconds.

    Raises:
        RecordingError: when no marker, or more than one, fits; all markers are listed.
    """
    onsets = defaultdict(list)
    for event in recording.markers:
        onsets[event.description].append(event.onset)
    candidates = {name: np.asarray(times) for name, times in onsets.items() if marker in (None, name)}
    fitting = {name: times for name, times in candidates.items() if _fits(times, num_volumes, repetition_time)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    listing = ", ".join(f"{name!r} {_describe(onsets[name])}" for name in sorted(onsets)) or "no markers"
    raise RecordingError(
        recording.source,
        found=f"{len(fitting)} fitting markers among {listing}",
        expected=f"one marker with {num_volumes} events {repetition_time:g} s apart, one per stored volume",
        remedy="Name the volume marker, and check that EEG and BOLD are of the same run and both complete.",
    )


@dataclass(frozen=True)
class AlignedRun:
    """A simultaneous run, and which of its volumes have a whole EEG window."""

    recording: EEGRecording
    bold: BOLDRun
    volumes: np.ndarray  # [N], indices of the volumes with a whole window
    onsets: np.ndarray  # [N], their onsets in seconds from the first EEG sample
    repetition_time: float


def align_run(run: RunFiles, eeg_processor: EEGProcessor, marker: str | None = None) -> AlignedRun:
    """Read a run and find out which EEG belongs to which volume.

    Raises:
        RecordingError: when the files do not fit each other.
        FileError: when one can't be read.
    """
    recording, bold = read_eeg(run.eeg), read_bold(run.bold)
    if bold.repetition_time is None:
        raise RecordingError(
            run.bold, found="a single volume", expected="a run over time", remedy="Give the whole 4-D run."
        )
    onsets = volume_onsets(recording, bold.num_volumes, bold.repetition_time, marker)
    config = eeg_processor.config
    volumes = np.flatnonzero(covered(onsets, config.window_start, config.window_stop, recording.duration))
    return AlignedRun(recording, bold, volumes, onsets[volumes], bold.repetition_time)


def covered(onsets: np.ndarray, window_start: float, window_stop: float, duration: float) -> np.ndarray:
    """Which volumes have their whole EEG window inside a recording of `duration` seconds, as a boolean `[N]`."""
    return (onsets + window_start >= 0) & (onsets + window_stop <= duration)


def _fits(times: np.ndarray, num_volumes: int, repetition_time: float) -> bool:
    if len(times) != num_volumes or num_volumes < 2:
        return False
    return bool(np.all(np.abs(np.diff(times) - repetition_time) <= SPACING_TOLERANCE * repetition_time))


def _describe(times: list[float]) -> str:
    if len(times) < 2:
        return f"({len(times)} event)"
    return f"({len(times)} events, median spacing {np.median(np.diff(times)):.3f} s)"
