"""Folds: splits of one paired dataset whose test subjects are scored together, each with a model of its own."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.paired_dataset import PairedDataset
from ..data.schemes import list_schemes
from ..errors import InputError

PLACE_OF_SPLIT = "{split}"


@dataclass(frozen=True)
class Fold:
    """One split.

    Args:
        name (`str`): of the split.
        test ([`PairedDataset`]): what is scored.
        training ([`PairedDataset`]): what the baselines are fitted on.
    """

    name: str
    test: PairedDataset
    training: PairedDataset

    def named(self, text: str) -> str:
        """A name or path in which `{split}` stands for the split's name."""
        return text.replace(PLACE_OF_SPLIT, self.name)


def find_folds(dataset: Path, pattern: str) -> list[Fold]:
    """The splits that are scored together.

    Args:
        dataset (`Path`): a paired dataset.
        pattern (`str`): the name of a split, or a pattern for several, such as `"cv-*"`.

    Raises:
        InputError: no such split; a split within runs; a subject that is tested in two folds.
    """
    names = fnmatch.filter(list_schemes(dataset), pattern) or [pattern]
    folds = [Fold(name, PairedDataset(dataset, "test", name), PairedDataset(dataset, "train", name)) for name in names]
    tested: dict[str, str] = {}
    for fold in folds:
        shared = sorted(set(fold.test.subjects) & set(fold.training.subjects))
        if shared:
            raise InputError(
                f"split {fold.name}",
                found=f"{', '.join(shared)} in training and test",
                expected="whole subjects in one part",
                remedy="Make a split by subject with `eeg2fmri split`: subjects are the unit of all scores.",
            )
        for subject in fold.test.subjects:
            if subject in tested:
                raise InputError(
                    "test subjects",
                    found=f"{subject} in the test of {tested[subject]} and of {fold.name}",
                    expected="every subject tested once",
                    remedy="Choose the folds of one `eeg2fmri split` with --data-split.",
                )
            tested[subject] = fold.name
    return folds


def refuse_other_data(records: Mapping[str, dict | None]) -> None:
    """Refuse folds whose models were trained on different datasets: they would be no folds of one experiment.

    Args:
        records: for each fold's name what its model was trained on; see [`data.leaks.training_record`].

    Raises:
        InputError: naming two folds.
    """
    known = [(name, record) for name, record in records.items() if record is not None]
    for name, record in known[1:]:
        first, other = known[0]
        if record["dataset_runs"] != other["dataset_runs"]:
            raise InputError(
                "models",
                found=f"those of {first} and {name}, trained on different datasets",
                expected="models of one dataset's folds",
                remedy="Train every fold's model on the same paired dataset, with --data_split.",
            )


def describe(folds: Sequence[Fold]) -> dict[str, dict]:
    """Who is tested in which fold, and on how many subjects its rows were fitted."""
    return {
        fold.name: {"test_subjects": fold.test.subjects, "num_training_subjects": len(fold.training.subjects)}
        for fold in folds
    }
