"""Simulated runs as the files that real recordings come in: a BIDS tree with BrainVision EEG and NIfTI BOLD."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ...errors import InputError
from ...recordings.bold import bold_image, write_bold
from .run import SimulatedRun
from .sidecars import write_json, write_table
from .write_eeg import EVENT_COLUMNS, write_eeg


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
        *write_eeg(run, folders[0], subject, stem),
        *_write_bold(run, folders[1], stem),
        *write_truth(run, folders[2], stem),
    ]


def write_bold_image(run: SimulatedRun, path: Path) -> Path:
    """Write the BOLD volumes as a compressed NIfTI of 16 bits, in whole scanner units where the preset says so."""
    space = "mni" if run.preset.pose == 0 else "native"
    image = bold_image(run.bold, run.affine, run.repetition_time, space=space)
    image.set_data_dtype(np.int16)
    if run.preset.whole_units:
        image.header.set_slope_inter(1, 0)
    write_bold(image, path)
    return path


def _write_bold(run: SimulatedRun, folder: Path, stem: str) -> list[Path]:
    path = write_bold_image(run, folder / f"{stem}_bold.nii.gz")
    description = {"TaskName": run.preset.task, "RepetitionTime": run.repetition_time}
    paths = [path, write_json(folder / f"{stem}_bold.json", description)]
    blocks = run.preset.blocks
    if blocks is not None:
        events = [(onset, f"{blocks.rest:g}", "rest") for onset in blocks.rest_onsets]
        events += [(onset, f"{blocks.task:g}", "task") for onset in blocks.task_onsets]
        end = run.repetition_time * run.bold.shape[3]
        rows = [(f"{onset:g}", *others) for onset, *others in sorted(events) if onset < end]
        paths.append(write_table(folder / f"{stem}_events.tsv", [("onset", "duration", "trial_type"), *rows]))
        paths.append(write_json(folder / f"{stem}_events.json", {"trial_type": EVENT_COLUMNS["trial_type"]}))
    return paths


def write_truth(run: SimulatedRun, folder: Path, stem: str) -> list[Path]:
    """Write what is true about a run: its arrays and, as JSON, what was simulated."""
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
        "eeg_front": run.eeg_front,
        "first_volume_onset": float(run.volume_onsets[0]),
        "dropped_markers": list(run.dropped_markers),
        "raw_eeg": run.raw_eeg,
        "network_names": list(run.truth["network_names"]),
        "band_names": list(run.truth["band_names"]),
        "preset": dataclasses.asdict(run.preset),
        "level": dataclasses.asdict(run.level),
    }
    return [path, write_json(folder / f"{stem}_truth.json", config)]
