"""Raw EEG from inside a scanner made usable: without gradient artefact, low-passed, resampled, without pulse artefact.

The order matters. Only at the raw rate does a template follow the gradients' slopes; a low-pass before would smear
them. The ECG shows its R peaks only without gradient artefact, and the pulse artefact is slow enough for 250 Hz.

Memory: channels are read, corrected and resampled a few at a time, so that a recording never lies in memory at its
raw rate (64 channels x 10 min at 5 kHz are 1.5 GB of float64). About ten arrays of `CHUNK` samples are held at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import mne
import numpy as np
from scipy.signal import firwin, resample_poly

from ..errors import RecordingError
from .eeg import EEGRecording, checked_recording
from .eeg_file import EEGFile, open_eeg
from .gradient_artifact import (
    VolumeGrid,
    clipped_share,
    gradient_artifact,
    harmonic_power,
    volume_grid,
    with_unmarked_volumes,
)
from .pulse_artifact import beats_of_ecg, beats_of_markers, check_beats, pulse_artifact_removed

CHUNK = 4_000_000  # samples; 32 MB
CORRECTED_RATE = 250.0  # Hz, or a little above: a whole fraction of the raw rate
CLIPPED = 1e-4  # share of a channel's samples at its limit, from which it counts as saturated
MAX_CLIPPED_SHARE = 0.25
GRADIENT_PRESENT = 20.0  # dB of `harmonic_power`


@dataclass(frozen=True)
class GradientCorrection:
    """What the removal of the gradient artefact found.

    Args:
        raw_rate, rate (`float`): Hz, before and after.
        scanned (`tuple[float, float]`): seconds in which volumes were acquired; the EEG before and after them is only
            low-passed.
        num_volumes (`int`): in that time.
        num_unmarked (`int`): of them without a marker, found by their artefact or filled between markers.
        is_synchronised (`bool`): whether volumes are a whole number of samples apart.
        power_before, power_after (`float`): at the volume rate's harmonics, dB; see [`harmonic_power`]. Medians over
            electrodes.
        clipped (`tuple[str, ...]`): electrodes at which the amplifier was saturated.
    """

    raw_rate: float
    rate: float
    scanned: tuple[float, float]
    num_volumes: int
    num_unmarked: int
    is_synchronised: bool
    power_before: float
    power_after: float
    clipped: tuple[str, ...]


@dataclass(frozen=True)
class ArtifactCorrection:
    """What was done to raw in-scanner EEG.

    Args:
        gradient ([`GradientCorrection`]): the gradient artefact's removal.
        num_beats (`int`): heart beats whose artefact was removed; 0 where it could not be.
        heart_rate (`float` or `None`): beats a minute.
        beats_from (`str` or `None`): `"markers"` or `"ECG"`.
        warnings (`tuple[str, ...]`): what a person should look at.
    """

    gradient: GradientCorrection
    num_beats: int
    heart_rate: float | None
    beats_from: str | None
    warnings: tuple[str, ...]


def read_without_artifacts(
    source: str | os.PathLike | mne.io.BaseRaw | EEGFile, volume_onsets: Sequence[float] | np.ndarray
) -> tuple[EEGRecording, ArtifactCorrection]:
    """Read raw in-scanner EEG and remove gradient and pulse artefact.

    Without usable heart beats the pulse artefact stays, with a warning.

    Args:
        source: the raw recording.
        volume_onsets: of the volume markers, seconds from the first sample.

    Raises:
        RecordingError: as of [`remove_gradient_artifact`].
        FileError: when the recording can't be read.
    """
    recording, ecg, gradient = remove_gradient_artifact(source, volume_onsets)
    warnings = [f"the amplifier was saturated in {', '.join(gradient.clipped)}"] if gradient.clipped else []
    try:
        beats, beats_from = find_beats(recording, ecg)
        rate, warning = check_beats(beats, recording.source)
        recording = remove_pulse_artifact(recording, beats)
    except RecordingError as error:
        return recording, ArtifactCorrection(
            gradient, 0, None, None, (*warnings, f"the pulse artefact was not removed: {error}")
        )
    warnings += [warning] if warning else []
    return recording, ArtifactCorrection(gradient, beats.size, rate, beats_from, tuple(warnings))


def remove_gradient_artifact(
    source: str | os.PathLike | mne.io.BaseRaw | EEGFile, volume_onsets: Sequence[float] | np.ndarray
) -> tuple[EEGRecording, np.ndarray | None, GradientCorrection]:
    """Subtract the gradient artefact at the raw rate, then low-pass and resample to about 250 Hz.

    Average artefact subtraction (Allen et al. 2000), as `mne.preprocessing.remove_fmri_gradient_artifact` does it in
    the middle of the scan. Differs from MNE's function in:
        - the first and last volumes are corrected too, from the nearest ones;
        - EEG slower than a volume is kept (see `gradient_artifact._templates`);
        - unsynchronised clocks: a constant spacing need not be a whole number of samples;
        - volumes without a marker are found by their artefact, and only the scanned part is corrected.

    Args:
        source: the raw recording.
        volume_onsets: of the volume markers, seconds from the first sample; dropped ones may be missing.

    Returns:
        [`EEGRecording`]: the electrodes' signals, with all markers;
        `np.ndarray` of shape `[time]` or `None`: the ECG channel, treated alike, volts;
        [`GradientCorrection`]: what was found.

    Raises:
        RecordingError: when markers are too few or not equally far apart, the amplifier was saturated at more than a
            quarter of the electrodes, or the content can't be used.
        FileError: when the recording can't be read.
    """
    file = source if isinstance(source, EEGFile) else open_eeg(source)
    marked = volume_grid(volume_onsets, file.sampling_rate, file.source)
    channels = [*file.electrodes.values(), *([] if file.ecg is None else [file.ecg])]
    num_together = max(1, CHUNK // file.num_points)
    chunks = [channels[first : first + num_together] for first in range(0, len(channels), num_together)]
    grid = None
    corrected, before, clipped = [], [], []
    for chunk in chunks:
        signals = file.read(chunk)
        grid = with_unmarked_volumes(marked, signals) if grid is None else grid
        before += harmonic_power(signals, file.sampling_rate, _onsets(grid, file.sampling_rate)).tolist()
        clipped += clipped_share(signals).tolist()
        signals -= gradient_artifact(signals, grid)
        corrected.append(_resampled(signals, file.sampling_rate))
    assert grid is not None  # a recording has two electrodes at least
    electrodes = tuple(file.electrodes)
    signals = np.concatenate(corrected)
    rate = file.sampling_rate / _decimation(file.sampling_rate)
    recording = checked_recording(signals[: len(electrodes)], electrodes, rate, file.markers, file.source)
    after = harmonic_power(recording.signals, rate, _onsets(grid, file.sampling_rate))
    saturated = tuple(name for name, share in zip(electrodes, clipped, strict=False) if share > CLIPPED)
    _refuse_saturated(saturated, len(electrodes), file.source)
    correction = GradientCorrection(
        raw_rate=file.sampling_rate,
        rate=rate,
        scanned=(
            max(0.0, grid.start / file.sampling_rate),
            min(grid.stop, file.num_points) / file.sampling_rate,
        ),
        num_volumes=grid.num_volumes,
        num_unmarked=grid.num_volumes - len(volume_onsets),
        is_synchronised=grid.is_whole,
        power_before=float(np.median(before[: len(electrodes)])),
        power_after=float(np.median(after)),
        clipped=saturated,
    )
    return recording, signals[-1] if file.ecg is not None else None, correction


def find_beats(recording: EEGRecording, ecg: np.ndarray | None) -> tuple[np.ndarray, str]:
    """R peaks in seconds: those that are marked (`Pulse Artifact/R`), else those of the ECG channel.

    Args:
        recording ([`EEGRecording`]): with its markers.
        ecg (`np.ndarray` of shape `[time]`, *optional*): at the recording's rate, without gradient artefact.

    Returns:
        `np.ndarray` of shape `[beat]`;
        `str`: `"markers"` or `"ECG"`.

    Raises:
        RecordingError: when there are neither.
    """
    marked = beats_of_markers(recording.markers)
    if marked.size:
        return marked, "markers"
    if ecg is None:
        raise RecordingError(
            recording.source,
            found="neither R markers nor an ECG channel",
            expected="heart beats, to remove the pulse artefact",
            remedy="Mark the R peaks (Pulse Artifact/R), or record an ECG channel.",
        )
    return beats_of_ecg(ecg, recording.sampling_rate, recording.source), "ECG"


def remove_pulse_artifact(recording: EEGRecording, beats: np.ndarray, num_components: int = 0) -> EEGRecording:
    """The recording without pulse artefact, by `mne.preprocessing.apply_pca_obs`.

    Args:
        recording ([`EEGRecording`]): without gradient artefact.
        beats (`np.ndarray` of shape `[beat]`): R peaks, seconds.
        num_components (`int`): principal components of the beats beside their mean course. By default the mean alone,
            scaled to each beat: components also take EEG away, most of all alpha (see docs/recordings.md). Use some
            where the artefact is several times the EEG.

    Raises:
        RecordingError: when beats are too few, or not a heart's.
    """
    check_beats(beats, recording.source)
    signals = pulse_artifact_removed(
        recording.signals, recording.sampling_rate, beats, num_components, recording.source
    )
    return EEGRecording(signals, recording.electrodes, recording.sampling_rate, recording.markers, recording.source)


def gradient_warning(recording: EEGRecording, volume_onsets: np.ndarray) -> str | None:
    """A warning where EEG that is used as it is carries the gradient artefact of raw in-scanner EEG.

    Args:
        recording ([`EEGRecording`]): EEG.
        volume_onsets (`np.ndarray` of shape `[volume]`): seconds; NaN where unknown.
    """
    onsets = volume_onsets[np.isfinite(volume_onsets)]
    power = float(np.median(harmonic_power(recording.signals, recording.sampling_rate, onsets)))
    if power < GRADIENT_PRESENT:
        return None
    return (
        f"gradient artefact present: {power:.0f} dB at the harmonics of the volume rate, and the EEG is used as it "
        "is; remove it (--remove-scanner-artifacts)"
    )


def _onsets(grid: VolumeGrid, sampling_rate: float) -> np.ndarray:
    return (grid.start + grid.spacing * np.arange(grid.num_volumes)) / sampling_rate


def _decimation(sampling_rate: float) -> int:
    return max(1, int(sampling_rate / CORRECTED_RATE))


def _resampled(signals: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Low-passed at 0.4 of the new rate (zero phase) and resampled."""
    factor = _decimation(sampling_rate)
    if factor == 1:
        return signals
    low_pass = firwin(20 * factor + 1, 0.8 / factor)
    return resample_poly(signals, 1, factor, axis=1, window=low_pass, padtype="line")


def _refuse_saturated(saturated: Sequence[str], num_electrodes: int, source: str) -> None:
    if len(saturated) > MAX_CLIPPED_SHARE * num_electrodes:
        raise RecordingError(
            source,
            found=f"a saturated amplifier at {len(saturated)} of {num_electrodes} electrodes: {', '.join(saturated)}",
            expected=f"at most {MAX_CLIPPED_SHARE:.0%} of them",
            remedy="What an amplifier cut off can't be restored: leave the run out.",
        )
