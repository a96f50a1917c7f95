"""The EEG of a simulated run as BIDS files: BrainVision, channels, events and electrodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .brainvision import BrainVisionMarker, write_brainvision
from .head import HEAD_RADIUS, MONTAGE, electrode_positions
from .run import SimulatedRun
from .sidecars import write_json, write_table

VOLUME, PULSE = ("Response", "R128"), ("Pulse Artifact", "R")
REST, TASK = ("Stimulus", "S 99"), ("Stimulus", "S  2")
EVENT_COLUMNS = {
    "trial_type": {
        "Description": "What the subject does from here on.",
        "Levels": {"rest": "Nothing.", "task": "Right-hand motor imagery."},
    },
    "value": {"Description": "The marker's description in the recording; R128 is the start of a volume."},
    "sample": {"Description": "The event's sample in the recording, counted from 0."},
}


def write_eeg(run: SimulatedRun, folder: Path, subject: str, stem: str) -> list[Path]:
    """Write the EEG of one run and what BIDS wants beside it.

    Args:
        run ([`SimulatedRun`]): what `simulate_run` gave.
        folder (`Path`): an existing folder.
        subject (`str`): start of the names of files that all runs share, `"sub-001"`.
        stem (`str`): start of the names of this run's files.

    Returns:
        `list[Path]`: every file that was written.

    Raises:
        InputError: when the EEG does not fit 16 bits.
    """
    events = _events(run)
    markers = [BrainVisionMarker(*kind, sample) for sample, kind, _, _ in events]
    markers += [BrainVisionMarker(*PULSE, sample) for sample in samples_inside(run, run.pulse_onsets)]
    names = (*run.electrodes, "ECG")
    paths = write_brainvision(
        folder / f"{stem}_eeg.vhdr",
        np.vstack([run.eeg, run.ecg]),
        names,
        run.sampling_rate,
        markers,
        run.preset.reference,
    )
    channels = [(name, "ECG" if name == "ECG" else "EEG", "µV", f"{run.sampling_rate:g}") for name in names]
    rows = [
        (f"{sample / run.sampling_rate:.6f}", duration, trial, value, str(sample))
        for sample, (_, value), duration, trial in events
    ]
    return [
        *paths,
        write_json(folder / f"{stem}_eeg.json", _description(run)),
        write_table(folder / f"{stem}_channels.tsv", [("name", "type", "units", "sampling_frequency"), *channels]),
        write_table(folder / f"{stem}_events.tsv", [("onset", "duration", "trial_type", "value", "sample"), *rows]),
        write_json(folder / f"{stem}_events.json", EVENT_COLUMNS),
        *_write_electrodes(run, folder, subject),
    ]


def _events(run: SimulatedRun) -> list[tuple[int, tuple[str, str], str, str]]:
    """Sample, marker, duration and trial type of every volume and block that the recording shows, in order."""
    onsets = np.delete(run.volume_onsets, run.dropped_markers)
    events = [(sample, VOLUME, "n/a", "n/a") for sample in samples_inside(run, onsets)]
    blocks = run.preset.blocks
    if blocks is not None:
        first = run.volume_onsets[0]
        for marker, starts, duration, trial in (
            (REST, blocks.rest_onsets, blocks.rest, "rest"),
            (TASK, blocks.task_onsets, blocks.task, "task"),
        ):
            events += [(sample, marker, f"{duration:g}", trial) for sample in samples_inside(run, first + starts)]
    return sorted(events)


def samples_inside(run: SimulatedRun, onsets: np.ndarray) -> list[int]:
    """The samples of those onsets (s) that lie in the run's EEG."""
    samples = np.rint(onsets * run.sampling_rate).astype(int)
    return samples[(samples >= 0) & (samples < run.eeg.shape[1])].tolist()


def _description(run: SimulatedRun) -> dict:
    return {
        "TaskName": run.preset.task,
        "SamplingFrequency": run.sampling_rate,
        "EEGReference": run.preset.reference,
        "EEGGround": "AFz",
        "EEGPlacementScheme": "10-10",
        "PowerLineFrequency": 50,
        "SoftwareFilters": "n/a",
        "EEGChannelCount": len(run.electrodes),
        "ECGChannelCount": 1,
        "EOGChannelCount": 0,
        "EMGChannelCount": 0,
        "MiscChannelCount": 0,
        "TriggerChannelCount": 0,
        "RecordingDuration": run.eeg.shape[1] / run.sampling_rate,
        "RecordingType": "continuous",
    }


def _write_electrodes(run: SimulatedRun, folder: Path, subject: str) -> list[Path]:
    names = (*run.electrodes, run.preset.reference)
    positions = [
        (name, *(f"{coordinate:.5f}" for coordinate in position))
        for name, position in zip(names, electrode_positions(names), strict=True)
    ]
    system = {
        "EEGCoordinateSystem": "Other",
        "EEGCoordinateUnits": "m",
        "EEGCoordinateSystemDescription": f"Template positions of {MONTAGE} on a sphere of {HEAD_RADIUS * 1000:g} mm: "
        "x to the right, y to the front, z up. The simulated electrodes sit some millimetres beside them.",
    }
    return [
        write_table(folder / f"{subject}_electrodes.tsv", [("name", "x", "y", "z"), *positions]),
        write_json(folder / f"{subject}_coordsystem.json", system),
    ]
