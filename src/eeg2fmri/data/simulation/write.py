"""Simulated runs as the files that real recordings come in: a BIDS tree with BrainVision EEG and NIfTI BOLD."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ...errors import InputError
from ...recordings.bold import bold_image, write_bold
from .brainvision import BrainVisionMarker, write_brainvision
from .run import SimulatedRun


def write_run(
    run: SimulatedRun, root: str | os.PathLike, subject_label: str, run_label: str | None = None
) -> list[Path]:
    """Write one run into a BIDS tree.

    Args:
        run ([`SimulatedRun`]): what `simulate_run` gave.
        root (`str` or `os.PathLike`): the tree's root; folders are made as needed.
        subject_label (`str`): `"001"` for `sub-001`.
        run_label (`str`, *optional*): `"01"` for `run-01`; without it the names hold no run.

    Returns:
        `list[Path]`: every file that was written.

    Raises:
        InputError: when a label is not made of letters and digits, or the EEG does not fit 16 bits.
    """
    for argument, label in (("subject_label", subject_label), ("run_label", run_label)):
        if label is not None and not (label.isascii() and label.isalnum()):
            raise InputError(
                argument, found=repr(label), expected="letters and digits", remedy="Choose a label that BIDS allows."
            )
    root = Path(root)
    subject = f"sub-{subject_label}"
    stem = f"{subject}_task-{run.preset.task}" + (f"_run-{run_label}" if run_label is not None else "")
    folders = [root / subject / "eeg", root / subject / "func", root / "derivatives" / "truth" / subject]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return [
        *_write_eeg(run, folders[0], stem),
        *_write_bold(run, folders[1], stem),
        *_write_truth(run, folders[2], stem),
    ]


def _write_eeg(run: SimulatedRun, folder: Path, stem: str) -> list[Path]:
    preset = run.preset
    volumes = np.rint(run.volume_onsets * run.sampling_rate).astype(int)
    pulses = np.rint(run.pulse_onsets * run.sampling_rate).astype(int)
    markers = [BrainVisionMarker("Response", "R128", int(sample)) for sample in volumes]
    markers += [
        BrainVisionMarker("Pulse Artifact", "R", int(sample)) for sample in pulses if sample < run.eeg.shape[1]
    ]
    names = (*run.electrodes, "ECG")
    paths = write_brainvision(
        folder / f"{stem}_eeg.vhdr",
        np.vstack([run.eeg, run.ecg]),
        names,
        run.sampling_rate,
        markers,
        preset.reference,
    )
    description = {
        "TaskName": preset.task,
        "SamplingFrequency": run.sampling_rate,
        "EEGReference": preset.reference,
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
    channels = [(name, "ECG" if name == "ECG" else "EEG", "µV", f"{run.sampling_rate:g}") for name in names]
    events = [(f"{sample / run.sampling_rate:.6f}", "n/a", "R128", str(sample)) for sample in volumes]
    return [
        *paths,
        write_json(folder / f"{stem}_eeg.json", description),
        write_table(
            folder / f"{stem}_channels.tsv",
            [("name", "type", "units", "sampling_frequency"), *channels],
        ),
        write_table(folder / f"{stem}_events.tsv", [("onset", "duration", "value", "sample"), *events]),
    ]


def _write_bold(run: SimulatedRun, folder: Path, stem: str) -> list[Path]:
    space = "mni" if run.preset.pose == 0 else "native"
    image = bold_image(run.bold, run.affine, run.repetition_time, space=space)
    image.set_data_dtype(np.int16)
    path = folder / f"{stem}_bold.nii.gz"
    write_bold(image, path)
    description = {"TaskName": run.preset.task, "RepetitionTime": run.repetition_time}
    return [path, write_json(folder / f"{stem}_bold.json", description)]


def _write_truth(run: SimulatedRun, folder: Path, stem: str) -> list[Path]:
    arrays = {
        name: np.ascontiguousarray(values, dtype=np.float32)
        for name, values in run.truth.items()
        if isinstance(values, np.ndarray)
    }
    path = folder / f"{stem}_truth.safetensors"
    save_file(arrays, path)
    config = {
        "seed": run.seed,
        "subject": run.subject,
        "run": run.run,
        "num_volumes": run.bold.shape[3],
        "network_names": list(run.truth["network_names"]),
        "band_names": list(run.truth["band_names"]),
        "preset": dataclasses.asdict(run.preset),
        "level": dataclasses.asdict(run.level),
    }
    return [path, write_json(folder / f"{stem}_truth.json", config)]


def write_json(path: Path, content: dict) -> Path:
    """Write a JSON sidecar."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def write_table(path: Path, rows: Iterable[tuple[str, ...]]) -> Path:
    """Write a table of tab-separated values, the names of the columns first."""
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path
