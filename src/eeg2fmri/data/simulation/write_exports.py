"""Simulated runs in the folders and formats of two published data sets: XP-2 and NODDI."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import InputError
from .brainvision import BrainVisionMarker, write_brainvision
from .run import SimulatedRun
from .write import write_bold_image, write_run, write_truth
from .write_eeg import PULSE, REST, TASK, samples_inside

SCAN_START, SLICE, CLOCK = ("Scanner", "Scan Start"), ("Scanner", "s "), ("SyncStatus", "Sync On")
CLOCK_INTERVAL = 2.0  # s


def write_xp2_run(run: SimulatedRun, root: Path, subject_label: str, run_label: str | None = None) -> list[Path]:
    """Write one run as ds002338 has it: a BIDS tree, and the preprocessed EEG among the derivatives.

    The preprocessed EEG is an Analyzer export: from the first `Stimulus/S 99` to the end of the last task, with the
    blocks' and the pulse's markers and without the volumes'.

    Args:
        run ([`SimulatedRun`]): of a preset with blocks.
        root (`Path`): the data set's root.
        subject_label (`str`): `"xp201"` for `sub-xp201`.
        run_label (`str`, *optional*): `"01"` for `run-01`.

    Returns:
        `list[Path]`: every file that was written.

    Raises:
        InputError: when the EEG shows no start of a rest, or a label is impossible.
    """
    paths = write_run(run, root, subject_label, run_label)
    stem = paths[0].name.removesuffix("_eeg.vhdr")
    folder = root / "derivatives" / f"sub-{subject_label}" / "eeg_pp"
    folder.mkdir(parents=True, exist_ok=True)
    blocks, first_volume = run.preset.blocks, run.volume_onsets[0]
    rests = [] if blocks is None else samples_inside(run, first_volume + blocks.rest_onsets)
    if blocks is None or not rests:
        raise InputError(
            "run",
            found="EEG in which no rest begins",
            expected="at least one: the preprocessed EEG starts with it",
            remedy="Cut less off the front, or simulate more volumes.",
        )
    start = rests[0]
    end = round((first_volume + blocks.task_onsets[-1] + blocks.task) * run.sampling_rate)
    onsets = {
        REST: rests,
        TASK: samples_inside(run, first_volume + blocks.task_onsets),
        PULSE: samples_inside(run, run.pulse_onsets),
    }
    markers = [
        BrainVisionMarker(*kind, sample - start)
        for kind, samples in onsets.items()
        for sample in samples
        if start <= sample < end
    ]
    exported = _write_export(run, folder / f"d_{stem}_eeg_pp.vhdr", markers, slice(start, end))
    return [*paths, *exported]


def write_noddi_run(run: SimulatedRun, root: Path, subject_label: str, run_label: str | None = None) -> list[Path]:
    """Write one run as the NODDI folders on OSF have it: an Analyzer export and an image.

    Beside `Scanner/Scan Start`, the volumes' marker, are those of the slices and of the amplifier's clock.

    Args:
        run ([`SimulatedRun`]): what `simulate_run` gave.
        root (`Path`): the data set's root, which gets `EEG1`, `EEG2`, `EEG` and `fMRI`.
        subject_label (`str`): `"32"`.
        run_label (`str`, *optional*): not used: a subject has one run.

    Returns:
        `list[Path]`: every file that was written.
    """
    # Which of the folders a subject is in, and the number before the image's name, have no meaning in the real set.
    export = root / ("EEG1", "EEG2", "EEG")[run.subject % 3] / subject_label / "export"
    folder = root / "fMRI" / subject_label
    truth = root / "derivatives" / "truth" / f"sub-{subject_label}"
    for each in (export, folder, truth):
        each.mkdir(parents=True, exist_ok=True)
    num_slices = run.preset.shape[2]
    slices = run.volume_onsets[:, None] + run.repetition_time / num_slices * np.arange(num_slices)
    onsets = {
        SLICE: slices.ravel(),
        SCAN_START: np.delete(run.volume_onsets, run.dropped_markers),
        CLOCK: np.arange(1.0, run.eeg.shape[1] / run.sampling_rate, CLOCK_INTERVAL),
        PULSE: run.pulse_onsets,
    }
    markers = [
        BrainVisionMarker(*kind, sample) for kind, times in onsets.items() for sample in samples_inside(run, times)
    ]
    return [
        *_write_export(run, export / f"{subject_label}_rest.vhdr", markers, slice(None)),
        write_bold_image(run, folder / f"{4 + run.subject % 5:02d}_rest_with_cross.nii.gz"),
        *write_truth(run, truth, f"sub-{subject_label}_task-{run.preset.task}"),
    ]


def _write_export(
    run: SimulatedRun, path: Path, markers: list[BrainVisionMarker], samples: slice
) -> tuple[Path, Path, Path]:
    """EEG as Brain Products' Analyzer exports it: single precision, in a `.dat` file."""
    signals = np.vstack([run.eeg, run.ecg])[:, samples]
    names = (*run.electrodes, "ECG")
    return write_brainvision(
        path, signals, names, run.sampling_rate, markers, run.preset.reference, single_precision=True
    )
