"""A test subject that the model was trained on makes every score worthless."""

from __future__ import annotations

import json

from ..errors import InputError
from .index import INDEX_NAME
from .paired_dataset import PairedDataset


def training_record(dataset: PairedDataset) -> dict:
    """What a checkpoint remembers of its training: its subjects, and checksums that tell the dataset again.

    The checksums are those of the raw BOLD files: subjects of different datasets share labels, and one dataset can be
    prepared in many ways.

    Args:
        dataset ([`PairedDataset`]): the training split.
    """
    index = json.loads((dataset.folder / INDEX_NAME).read_text())
    training = [run for run in index["runs"] if run["subject"] in dataset.subjects]
    return {
        "training_subjects": sorted(dataset.subjects),
        "training_runs": {run["name"]: bold_checksum(run) for run in training},
        "dataset_runs": sorted(map(bold_checksum, index["runs"])),
    }


def refuse_leak(record: dict | None, test: PairedDataset, model: str = "") -> None:
    """Refuse to test a model on subjects that it was trained on.

    Args:
        record (`dict`, *optional*): of `training_record`; without it nothing can be checked.
        test ([`PairedDataset`]): the test split.
        model (`str`, *optional*): what the model is called.

    Raises:
        InputError: naming the subjects.
    """
    if record is None:
        return
    known = set(record["dataset_runs"])
    trained = set(record["training_runs"].values())
    same_dataset = any(bold_checksum(run) in known for run in test.runs)
    leaked = {run["subject"] for run in test.runs if bold_checksum(run) in trained}
    if same_dataset:
        leaked |= set(record["training_subjects"]) & set(test.subjects)
    if leaked:
        raise InputError(
            "test subjects",
            found=f"{', '.join(sorted(leaked))}, on which the model{f' {model}' if model else ''} was trained",
            expected="subjects that it has never seen",
            remedy="Test on other subjects; scores on training subjects say nothing.",
        )


def bold_checksum(run: dict) -> str:
    """Of a run's raw BOLD file."""
    return next(source["sha256"] for source in run["sources"] if source["path"] == run["bold"])
