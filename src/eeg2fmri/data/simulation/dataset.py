"""A whole simulated data set, published all at once."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from ...files import publish_folder
from .export import check_export, export_run
from .layouts import Layout, find_layout
from .levels import Level, find_level
from .presets import Preset, find_preset
from .run import check_num_volumes, simulate_run, volume_times
from .scanner_artifacts import with_scanner_artifacts
from .sidecars import write_json, write_table
from .streams import check_number

_README = """Simulated simultaneous EEG-fMRI.

Nothing here was measured on a person. EEG and BOLD were simulated from common latent fluctuations with a known
coupling; what is true is under derivatives/truth. Scores on these data say nothing about real recordings.

Preset {preset}, level {level}, seed {seed}.
"""


def simulate_dataset(
    output: str | os.PathLike,
    *,
    preset: str | Preset = "mini",
    level: str | Level = "default",
    layout: str | None = None,
    num_subjects: int,
    num_runs: int | None = None,
    seed: int = 42,
    num_volumes: int | None = None,
    num_jobs: int = 1,
    first_subject: int = 0,
    eeg_front: float = 0.0,
    dropped_markers: float = 0,
    raw_eeg: bool = False,
) -> Path:
    """Simulate a data set and publish it all at once.

    ```
    output/                                  layout "bids"
      dataset_description.json  README  participants.{tsv,json}
      sub-001/eeg/sub-001_task-rest_eeg.{vhdr,eeg,vmrk,json}, _channels.tsv, _events.{tsv,json}
      sub-001/eeg/sub-001_electrodes.tsv  sub-001_coordsystem.json
      sub-001/func/sub-001_task-rest_bold.{nii.gz,json}
      derivatives/truth/sub-001/sub-001_task-rest_truth.{safetensors,json}
    output/                                  layout "xp2": the same of sub-xp201, ..., and
      derivatives/sub-xp201/eeg_pp/d_sub-xp201_task-MIpost_eeg_pp.{vhdr,dat,vmrk}
    output/                                  layout "noddi": README, derivatives/truth, and
      EEG1|EEG2|EEG/32/export/32_rest.{vhdr,dat,vmrk}
      fMRI/32/04_rest_with_cross.nii.gz
    ```

    A subject's files are the same whatever the number of subjects or jobs, and a run's signals whatever the layout.

    Args:
        output (`str` or `os.PathLike`): a folder that does not exist yet.
        preset (`str` or `Preset`): the protocol.
        level (`str` or `Level`): the coupling.
        layout (`str`, *optional*): `"bids"`, `"noddi"` (the folders on OSF) or `"xp2"` (ds002338); the preset's own by
            default.
        num_subjects (`int`): how many; with `"noddi"` and `"xp2"` they bear the labels of the real data set.
        num_runs (`int`, *optional*): runs of each subject; by default the layout's: five of `"xp2"` (MIpost, MIpre
            and three of neurofeedback), else one.
        seed (`int`): of the whole data set.
        num_volumes (`int`, *optional*): instead of the preset's.
        num_jobs (`int`): processes. With more than one, call it under `if __name__ == "__main__":` in a script.
        first_subject (`int`): counted from 0.
        eeg_front (`float`): seconds of EEG added to the front of every recording (negative: cut off it).
        dropped_markers (`float`): how many volume markers are missing in every recording, or below 1 their share.
        raw_eeg (`bool`): write EEG as the amplifier records it in a scanner: at 1 kHz or more, with gradient and pulse
            artefact. Without it, the same arguments give the same EEG free of them.

    Returns:
        `Path`: the data set's root.

    Raises:
        InputError: for an argument that is unknown or out of range.
        FileError: when `output` exists or can't be written.
    """
    preset, level = find_preset(preset), find_level(level)
    used = find_layout(preset.layout if layout is None else layout)
    preset = dataclasses.replace(preset, layout=used.name)
    num_volumes = check_num_volumes(preset.num_volumes if num_volumes is None else num_volumes)
    check_export(*volume_times(preset, num_volumes), eeg_front, dropped_markers)
    for name, number, minimum in (
        ("seed", seed, 0),
        ("num_subjects", num_subjects, 1),
        ("num_jobs", num_jobs, 1),
        ("first_subject", first_subject, 0),
    ):
        check_number(name, number, minimum)
    subjects = range(first_subject, first_subject + num_subjects)
    runs = {subject: used.runs(preset, used.subject_label(subject), num_runs) for subject in subjects}
    with publish_folder(output) as root:
        _write_description(root, preset, level, seed, used, subjects)
        changes = (num_volumes, eeg_front, dropped_markers, raw_eeg)
        jobs = [(root, preset, level, seed, subject, runs[subject], *changes) for subject in subjects]
        with tqdm(total=num_subjects, desc="Simulating", unit="subject", disable=None) as progress:
            for count, name in enumerate(_completed(jobs, num_jobs), start=1):
                progress.update()
                if progress.disable:  # no terminal to draw a bar on: a line for the log
                    print(f"Simulated {name} ({count} of {num_subjects})", file=sys.stderr)
    return Path(output)


def _completed(jobs: list[tuple], num_jobs: int) -> Iterable[str]:
    if num_jobs == 1:
        for job in jobs:
            yield _simulate_subject(*job)
        return
    # Fresh processes: a fork of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(num_jobs, len(jobs)), mp_context=context) as pool:
        futures = [pool.submit(_simulate_subject, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _simulate_subject(
    root: Path,
    preset: Preset,
    level: Level,
    seed: int,
    subject: int,
    runs: list[tuple[str, str | None]],
    num_volumes: int,
    eeg_front: float,
    dropped_markers: float,
    raw_eeg: bool,
) -> str:
    layout = find_layout(preset.layout)
    label = layout.subject_label(subject)
    for number, (task, run_label) in enumerate(runs):
        of_task = dataclasses.replace(preset, task=task)
        run = simulate_run(of_task, level, seed=seed, subject=subject, run=number, num_volumes=num_volumes)
        run = export_run(run, eeg_front, dropped_markers)
        layout.write_run(with_scanner_artifacts(run) if raw_eeg else run, root, label, run_label)
    return f"sub-{label}"


def _write_description(root: Path, preset: Preset, level: Level, seed: int, layout: Layout, subjects: range) -> None:
    description = {
        "Name": f"Simulated EEG-fMRI, preset {preset.name}, level {level.name}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["The eeg2fmri developers"],
    }
    (root / "README").write_text(_README.format(preset=preset.name, level=level.name, seed=seed), encoding="utf-8")
    if layout.is_bids:
        write_json(root / "dataset_description.json", description)
        rows = [(f"sub-{layout.subject_label(subject)}", "simulated") for subject in subjects]
        write_table(root / "participants.tsv", [("participant_id", "group"), *rows])
        write_json(root / "participants.json", {"group": {"Description": "Where the recordings come from."}})
    truth = root / "derivatives" / "truth"
    truth.mkdir(parents=True)
    generated = {"GeneratedBy": [{"Name": "eeg2fmri"}], "DatasetType": "derivative"}
    write_json(
        truth / "dataset_description.json", {**description, "Name": "Ground truth of the simulation", **generated}
    )
