"""A test subject that the model was trained on makes every score worthless."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from .index import INDEX_NAME
from .paired_dataset import PairedDataset

REQUIRED = ("training_subjects", "training_runs", "dataset_runs")
# Records that were written before these were kept lack them.
OPTIONAL: dict[str, Any] = {"validation_subjects": [], "validation_runs": {}}
PARTS = ("training", "validation")


def training_record(
    dataset: PairedDataset, earlier: Sequence[dict | None] = (), validation: PairedDataset | None = None
) -> dict:
    """What a checkpoint remembers of its training: its subjects, and checksums that tell the dataset again.

    The checksums are those of the raw BOLD files: subjects of different datasets share labels, and one dataset can be
    prepared in many ways.

    Args:
        dataset ([`PairedDataset`]): the training split.
        earlier: the records of what the training started from (a published pipeline, a prior), each with its own
            earlier ones; `None` for one that says nothing of its training.
        validation ([`PairedDataset`], *optional*): the split that chose the step or the gain.
    """
    index = json.loads((dataset.folder / INDEX_NAME).read_text())

    def subjects_and_runs(part: str, subjects: Sequence[str]) -> dict[str, Any]:
        runs = {run["name"]: bold_checksum(run) for run in index["runs"] if run["subject"] in subjects}
        return {f"{part}_subjects": sorted(subjects), f"{part}_runs": runs}

    return {
        **subjects_and_runs("training", dataset.subjects),
        **subjects_and_runs("validation", validation.subjects if validation is not None else []),
        "dataset_runs": sorted(map(bold_checksum, index["runs"])),
        "earlier_training": _flattened(earlier),
    }


def is_complete(record: dict | None) -> bool:
    """Whether all that a model was ever trained on is known."""
    return record is not None and None not in record.get("earlier_training", [])


def recorded(record: dict) -> dict[str, Any]:
    """What a record says of its own training.

    Raises:
        KeyError: when it says nothing of the training subjects.
    """
    return {name: record[name] for name in REQUIRED} | {
        name: record.get(name, none) for name, none in OPTIONAL.items()
    }


def refuse_leak(record: dict | None, test: PairedDataset, model: str = "", parts: Sequence[str] = PARTS) -> None:
    """Refuse to test a model on subjects that it was trained on, or whose scores chose it.

    Args:
        record (`dict`, *optional*): of `training_record`; without it nothing can be checked.
        test ([`PairedDataset`]): the test split.
        model (`str`, *optional*): what the model is called.
        parts: of the training that count; to validate on earlier validation subjects is no leak.

    Raises:
        InputError: naming the subjects.
    """
    for part in parts:
        leaked: set[str] = set()
        for one in _flattened([record]):
            if one is not None:
                leaked |= _leaked(one, test, part)
        if leaked:
            raise InputError(
                "test subjects",
                found=f"{', '.join(sorted(leaked))}, on which the model{f' {model}' if model else ''} was "
                + ("trained" if part == "training" else "validated"),
                expected="subjects that it has never seen",
                remedy="Test on other subjects; scores on those that made or chose the model say nothing.",
            )


def _leaked(record: dict, test: PairedDataset, part: str) -> set[str]:
    """Test subjects of a part of one training. Labels count within one dataset only: every dataset has a `sub-001`."""
    known = set(record["dataset_runs"])
    trained = set(record[f"{part}_runs"].values())
    same_dataset = any(bold_checksum(run) in known for run in test.runs)
    leaked = {run["subject"] for run in test.runs if bold_checksum(run) in trained}
    return leaked | (set(record[f"{part}_subjects"]) & set(test.subjects) if same_dataset else set())


def _flattened(records: Sequence[dict | None]) -> list[dict | None]:
    """Every training once, none within another."""
    flat: list[dict | None] = []
    for record in records:
        earlier = [] if record is None else record.get("earlier_training", [])
        own = None if record is None else recorded(record)
        flat += [one for one in (own, *_flattened(earlier)) if one not in flat]
    return flat


def bold_checksum(run: dict) -> str:
    """Of a run's raw BOLD file."""
    return next(source["sha256"] for source in run["sources"] if source["path"] == run["bold"])
