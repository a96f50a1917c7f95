"""Which moment of the EEG belongs to which volume of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, RecordingError
from ..processing.eeg import EEGProcessor
from ..recordings.bold import BOLDRun, read_bold
from ..recordings.brainvision import read_markers_alone
from ..recordings.eeg import EEGRecording, Marker, open_eeg, read_eeg
from ..recordings.eeg_file import EEGFile
from ..recordings.layouts import RunFiles
from ..recordings.scanner_artifacts import ArtifactCorrection, read_without_artifacts
from .calhas import CALHAS, NUM_WINDOWS, calhas_pairs
from .volume_markers import Alignment, find_alignment, spans, stated_alignment

__all__ = ["AlignedRun", "Alignment", "Timing", "align_run", "find_alignment", "volume_onsets"]

PRESETS = ("aligned", "calhas")


@dataclass(frozen=True)
class Timing:
    """How the volumes of runs are found in their EEG. What is not stated here is taken from each run's own files.

    Args:
        preset (`str`): `"aligned"` (by the scanner's markers), or `"calhas"` (from sample 0, as the paper's reference
            [24]; for `"noddi"` and `"xp2"`).
        layout (`str`): the dataset's layout; `"calhas"` depends on it.
        marker (`str`, *optional*): the volume marker or a pattern of it.
        lead_in (`int`, *optional*): markers before the first stored volume; negative: stored volumes before the
            first marker.
        first_volume (`float`, *optional*): seconds from the first EEG sample to the first stored volume, instead of
            any marker.

    Raises:
        InputError: for an unknown preset, or values that contradict each other.
    """

    preset: str = "aligned"
    layout: str = "bids"
    marker: str | None = None
    lead_in: int | None = None
    first_volume: float | None = None

    def __post_init__(self):
        markers = [name for name in ("marker", "lead_in") if getattr(self, name) is not None]
        if self.preset not in PRESETS:
            raise _contradiction(f"preset {self.preset!r}", " or ".join(PRESETS))
        if self.preset == "calhas" and (markers or self.first_volume is not None):
            raise _contradiction("preset 'calhas' with a marker or an onset", "neither: it counts from sample 0")
        if self.preset == "calhas" and self.layout not in CALHAS:
            raise _contradiction(f"preset 'calhas' with the layout {self.layout!r}", " or ".join(CALHAS))
        if self.first_volume is not None and (markers or not math.isfinite(self.first_volume)):
            raise _contradiction(f"first_volume {self.first_volume} beside {markers}", "either, and a finite number")


@dataclass(frozen=True)
class AlignedRun:
    """A simultaneous run, and which of its volumes have a whole EEG window."""

    recording: EEGRecording
    bold: BOLDRun
    volumes: np.ndarray  # [N], indices of the volumes with a whole window
    onsets: np.ndarray  # [N], their onsets in seconds from the first EEG sample
    repetition_time: float
    alignment: Alignment
    artifacts: ArtifactCorrection | None = None  # what was removed from raw in-scanner EEG


def align_run(run: RunFiles, eeg_processor: EEGProcessor, timing: Timing | None = None) -> AlignedRun:
    """Read a run and find out which EEG belongs to which volume.

    Raises:
        RecordingError: when the files do not fit each other.
        FileError: when one can't be read.
        InputError: when the processor's window is not that of the preset `"calhas"`.
    """
    timing = Timing() if timing is None else timing
    file, bold = _marked_file(run), read_bold(run.bold, repetition_time=run.repetition_time)
    if bold.repetition_time is None:
        raise RecordingError(
            run.bold, found="a single volume", expected="a run over time", remedy="Give the whole 4-D run."
        )
    repetition_time, config = bold.repetition_time, eeg_processor.config
    if timing.preset == "calhas":
        _check_calhas_window(eeg_processor, repetition_time)
        _, candidates = calhas_pairs(bold.num_volumes, repetition_time, CALHAS[timing.layout].bold_shift)
        alignment = stated_alignment(file, 0.0, bold.num_volumes, repetition_time, "assumed by the preset calhas")
    else:
        candidates = np.arange(bold.num_volumes)
        alignment = _alignment(run, timing, file, bold.num_volumes, repetition_time)
    recording, artifacts = _recording(run, file, alignment)
    onsets = alignment.onsets[candidates]
    whole = eeg_processor.covers(onsets, recording.duration)
    if not whole.any() or (timing.preset == "calhas" and not whole.all()):
        raise RecordingError(
            recording.source,
            found=f"{recording.duration:.3f} s of EEG, which holds the windows of {whole.sum()} volumes; the first "
            f"volume is at {alignment.offset:.3f} s",
            expected=f"those of {f'all {len(candidates)}' if timing.preset == 'calhas' else 'some'} volumes, from "
            f"{config.window_start:g} to {config.window_stop:g} s around their onsets",
            remedy="Give the EEG of the whole run, or a shorter window.",
        )
    alignment = _with_lost_volumes(alignment, recording, config.window_stop)
    return AlignedRun(recording, bold, candidates[whole], onsets[whole], repetition_time, alignment, artifacts)


def volume_onsets(
    recording: EEGRecording, num_volumes: int, repetition_time: float, marker: str | None = None
) -> np.ndarray:
    """Onset of every volume in seconds from the first EEG sample, `[num_volumes]`; see [`find_alignment`].

    Raises:
        RecordingError: when no marker, or more than one, fits; all markers are listed.
    """
    return find_alignment(recording, num_volumes, repetition_time, marker=marker).onsets


def _marked_file(run: RunFiles) -> EEGFile:
    """The run's EEG, with the markers of the recording that it was cut from where the dataset names one."""
    file = open_eeg(run.eeg)
    if run.markers_from is None:
        return file
    markers = read_markers_alone(run.markers_from)
    return replace(file, markers=tuple(Marker(onset + run.markers_shift, name) for onset, name in markers))


def _recording(run: RunFiles, file: EEGFile, alignment: Alignment) -> tuple[EEGRecording, ArtifactCorrection | None]:
    """The run's EEG; raw in-scanner EEG without its artefacts, all volume markers giving the volumes' times."""
    if not run.raw_eeg:
        return read_eeg(file), None
    if alignment.marker is None:
        raise RecordingError(
            run.eeg,
            found="raw in-scanner EEG whose volumes are not marked",
            expected="volume markers, by which the gradient artefact is removed",
            remedy="Name the marker, or keep the artefacts (--keep-scanner-artifacts).",
        )
    onsets = [marker.onset for marker in file.markers if marker.description == alignment.marker]
    return read_without_artifacts(file, onsets)


def _alignment(
    run: RunFiles, timing: Timing, recording: EEGFile, num_volumes: int, repetition_time: float
) -> Alignment:
    """What is asked for goes before what the dataset knows, and that before the automatic choice."""
    marker = run.marker if timing.marker is None else timing.marker
    lead_in = run.lead_in if timing.lead_in is None else timing.lead_in
    asked_for_markers = timing.marker is not None or timing.lead_in is not None
    first_volume = run.first_volume if timing.first_volume is None and not asked_for_markers else timing.first_volume
    if first_volume is not None:
        origin = "stated" if timing.first_volume is not None else f"known from the dataset ({timing.layout})"
        return stated_alignment(recording, first_volume, num_volumes, repetition_time, origin)
    alignment = find_alignment(recording, num_volumes, repetition_time, marker=marker, lead_in=lead_in)
    if run.markers_from is None:
        return alignment
    origin = f"markers of {run.markers_from.name}, {run.markers_shift:+.3f} s"
    return replace(alignment, reason=f"{alignment.reason}; {origin}")


def _with_lost_volumes(alignment: Alignment, recording: EEGRecording, window_stop: float) -> Alignment:
    """Warn of volumes at the run's end that the EEG stops before; those at its start always lack a whole window."""
    lost = np.flatnonzero(alignment.onsets + window_stop > recording.duration)
    if not len(lost):
        return alignment
    warning = (
        f"{recording.duration:.3f} s of EEG end before {len(lost)} of {len(alignment.onsets)} volumes, which last "
        f"until {np.nanmax(alignment.onsets):.3f} s and are not used: {spans(lost)}"
    )
    return replace(alignment, warnings=(*alignment.warnings, warning))


def _check_calhas_window(eeg_processor: EEGProcessor, repetition_time: float) -> None:
    config = eeg_processor.config
    found = (config.num_windows, config.window_start, config.window_stop)
    wanted = (NUM_WINDOWS, -NUM_WINDOWS * repetition_time, 0.0)
    if not np.allclose(found, wanted, atol=1e-6):
        raise InputError(
            "EEGProcessor.num_windows, window_start, window_stop",
            found=str(found),
            expected=f"{wanted}, the ten repetition times before the volume, for the preset 'calhas'",
            remedy="Correct the recipe's section eeg_processor, or use the preset 'aligned'.",
        )


def _contradiction(found: str, expected: str) -> InputError:
    return InputError("timing", found=found, expected=expected, remedy="Correct the options.")
