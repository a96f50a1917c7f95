"""A whole simulated data set, published all at once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from ...files import publish_folder
from .export import check_export, export_run
from .levels import Level, find_level
from .presets import Preset, find_preset
from .run import check_num_volumes, simulate_run, volume_times
from .scanner_artifacts import with_scanner_artifacts
from .sidecars import write_json, write_table
from .streams import check_number
from .write import write_run

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
    num_subjects: int,
    seed: int = 42,
    num_volumes: int | None = None,
    num_jobs: int = 1,
    first_subject: int = 0,
    eeg_front: float = 0.0,
    dropped_markers: float = 0,
    raw_eeg: bool = False,
) -> Path:
    """Simulate a data set, one run a subject, and publish it all at once.

    ```
    output/
      dataset_description.json  README  participants.{tsv,json}
      sub-001/eeg/sub-001_task-rest_eeg.{vhdr,eeg,vmrk,json}, _channels.tsv, _events.{tsv,json}
      sub-001/eeg/sub-001_electrodes.tsv  sub-001_coordsystem.json
      sub-001/func/sub-001_task-rest_bold.{nii.gz,json}
      derivatives/truth/sub-001/sub-001_task-rest_truth.{safetensors,json}
    ```

    A subject's files are the same whatever the number of subjects or jobs.

    Args:
        output (`str` or `os.PathLike`): a folder that does not exist yet.
        preset (`str` or `Preset`): the protocol.
        level (`str` or `Level`): the coupling.
        num_subjects (`int`): how many.
        seed (`int`): of the whole data set.
        num_volumes (`int`, *optional*): instead of the preset's.
        num_jobs (`int`): processes. With more than one, call it under `if __name__ == "__main__":` in a script.
        first_subject (`int`): counted from 0; subject 0 is written as `sub-001`.
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
    with publish_folder(output) as root:
        _write_description(root, preset, level, seed, subjects)
        changes = (eeg_front, dropped_markers, raw_eeg)
        jobs = [(root, preset, level, seed, subject, num_volumes, *changes) for subject in subjects]
        progress = tqdm(total=num_subjects, desc="Simulating", unit="subject", disable=None)
        with progress:
            for _ in _completed(jobs, num_jobs):
                progress.update()
    return Path(output)


def subject_label(subject: int) -> str:
    """The BIDS label of a subject that is counted from 0."""
    return f"{subject + 1:03d}"


def _completed(jobs: list[tuple], num_jobs: int) -> Iterable[None]:
    if num_jobs == 1:
        for job in jobs:
            _simulate_subject(*job)
            yield
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
    num_volumes: int,
    eeg_front: float,
    dropped_markers: float,
    raw_eeg: bool,
) -> None:
    run = simulate_run(preset, level, seed=seed, subject=subject, num_volumes=num_volumes)
    run = export_run(run, eeg_front, dropped_markers)
    run = with_scanner_artifacts(run) if raw_eeg else run
    write_run(run, root, subject_label(subject))


def _write_description(root: Path, preset: Preset, level: Level, seed: int, subjects: range) -> None:
    description = {
        "Name": f"Simulated EEG-fMRI, preset {preset.name}, level {level.name}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["The eeg2fmri developers"],
    }
    write_json(root / "dataset_description.json", description)
    (root / "README").write_text(_README.format(preset=preset.name, level=level.name, seed=seed), encoding="utf-8")
    rows = [(f"sub-{subject_label(subject)}", "simulated") for subject in subjects]
    write_table(root / "participants.tsv", [("participant_id", "group"), *rows])
    write_json(root / "participants.json", {"group": {"Description": "Where the recordings come from."}})
    truth = root / "derivatives" / "truth"
    truth.mkdir(parents=True)
    generated = {"GeneratedBy": [{"Name": "eeg2fmri"}], "DatasetType": "derivative"}
    write_json(
        truth / "dataset_description.json", {**description, "Name": "Ground truth of the simulation", **generated}
    )
