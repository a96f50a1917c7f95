"""Schemes: named splits of a paired dataset, each with processors whose statistics are of its training part alone.

```
splits/<scheme>/
  split.json          kind, options, and for every part its runs with the first pair and the one after the last
  eeg_processor/      as saved with a checkpoint
  volume_processor/   likewise
  references/         kind within-run only: what the pairs of each run are relative to, from its training part
```
A scheme is made in seconds from what is stored of each run: no recording is read. In a dataset that was prepared with
the processors of a published pipeline (`processors/`), every scheme has these, with the pipeline's own statistics.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import FileError, InputError
from ..files import publish_folder
from ..processing.eeg import EEGProcessor
from ..processing.volume import VolumeProcessor
from .index import pairs_of, read_index, write_json
from .run_reference import measure_part
from .splits import (
    PARTS,
    RunPairs,
    Stretches,
    k_fold,
    leave_one_out,
    paper_split,
    split_subjects,
    split_within_runs,
    whole_runs,
)
from .stored_run import open_run

DEFAULT_SCHEME = "default"
SPLITS_FOLDER, SPLIT_NAME, REFERENCES_FOLDER = "splits", "split.json", "references"
PROCESSORS_FOLDER = "processors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def _by_subjects(index: dict, runs: list[RunPairs], *, num_validation: int = 1, num_test: int = 1, seed: int = 42):
    return {"": whole_runs(split_subjects([run.subject for run in runs], num_validation, num_test, seed), runs)}


def _by_paper(index: dict, runs: list[RunPairs], *, seed: int = 42):
    layout = index["source"].get("layout", "")
    return {"": whole_runs(paper_split([run.subject for run in runs], layout, seed), runs)}


def _by_folds(index: dict, runs: list[RunPairs], *, num_folds: int = 5, num_validation: int = 1, seed: int = 42):
    folds = k_fold([run.subject for run in runs], num_folds, num_validation, seed)
    return {f"-{number}": whole_runs(fold, runs) for number, fold in enumerate(folds, start=1)}


def _leaving_one_out(index: dict, runs: list[RunPairs], *, num_validation: int = 1, seed: int = 42):
    splits = leave_one_out([run.subject for run in runs], num_validation, seed)
    return {f"-{subject}": whole_runs(split, runs) for subject, split in splits.items()}


def _within_runs(
    index: dict,
    runs: list[RunPairs],
    *,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    gap: float | None = None,
):
    window = index["eeg_processor"]["window_start"], index["eeg_processor"]["window_stop"]
    return {"": split_within_runs(runs, window, validation_share, test_share, gap)}


# Each makes stretches by the ending of a scheme's name.
KINDS: dict[str, Callable[..., dict[str, Stretches]]] = {
    "subjects": _by_subjects,
    "paper": _by_paper,
    "k-fold": _by_folds,
    "leave-one-out": _leaving_one_out,
    "within-run": _within_runs,
}


def make_schemes(pairs: str | os.PathLike, kind: str, name: str, **options: Any) -> list[Path]:
    """Add a named split to a paired dataset: one scheme, or one per fold (`NAME-1`, ...) or subject (`NAME-SUBJECT`).

    Args:
        pairs: the paired dataset.
        kind: `"subjects"` (options `num_validation`, `num_test`, `seed`), `"paper"` (8/1/1 of NODDI, 13/2/2 of XP-2;
            `seed`), `"k-fold"` (`num_folds`, `num_validation`, `seed`), `"leave-one-out"` (`num_validation`, `seed`)
            or `"within-run"` (`validation_share`, `test_share`, `gap` in seconds; see [`split_within_runs`]).
        name: of the scheme.
        options: of the kind.

    Returns:
        `list[Path]`: the schemes' folders.

    Raises:
        InputError: unknown kind or option, a name that can't be a folder's, or an impossible split.
        FileError: no paired dataset, a damaged run, or a scheme of that name is already there.
    """
    folder, index = Path(pairs), read_index(Path(pairs))
    if kind not in KINDS:
        raise InputError("kind", found=repr(kind), expected=" or ".join(KINDS), remedy="Choose one of them.")
    known = list(inspect.signature(KINDS[kind]).parameters)[2:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(
            ", ".join(unknown),
            found=f"options that the kind {kind!r} does not have",
            expected=" and ".join(known),
            remedy="Leave them out, or choose another kind.",
        )
    if not _NAME.fullmatch(name):
        raise InputError("name", found=repr(name), expected="letters, digits, . _ -", remedy="Choose another name.")
    splits = KINDS[kind](index, pairs_of(index["runs"]), **options)
    targets = {folder / SPLITS_FOLDER / f"{name}{ending}": stretches for ending, stretches in splits.items()}
    for target in targets:
        if target.exists():
            raise FileError(
                target, found="a scheme of that name", expected="a name that is free", remedy="Choose another name."
            )
    for target, stretches in targets.items():
        with publish_folder(target) as staged:
            write_scheme(staged, folder, index, stretches, {"kind": kind, "options": options})
    return list(targets)


def write_scheme(target: Path, folder: Path, index: dict, stretches: Stretches, description: dict) -> None:
    """Write a scheme: the split, and processors fitted to its training part, or those that the dataset came with.

    Args:
        target: the scheme's folder, which exists.
        folder: of the paired dataset.
        index: of the paired dataset.
        stretches: which pairs of which run are in which part.
        description: how the split was made; for people.
    """
    target.mkdir(parents=True, exist_ok=True)
    eeg_processor = EEGProcessor.from_config(index["eeg_processor"])
    volume_processor = VolumeProcessor.from_config(index["volume_processor"])
    moments, references, sources = [], [], []
    for entry in index["runs"]:
        stretch = stretches["train"].get(entry["name"])
        if stretch is None:
            continue
        stored = open_run(folder, entry)
        own, reference = stored.moments, stored.reference
        if stretch != (0, entry["num_pairs"]):
            own, part = measure_part(
                stored, slice(*stretch), entry["repetition_time"], eeg_processor, volume_processor
            )
            (target / REFERENCES_FOLDER).mkdir(exist_ok=True)
            part.save(target / REFERENCES_FOLDER / entry["file"])
            reference = part.volume
        moments.append(own)
        references.append(reference)
        sources.append(entry["name"])
    if (folder / PROCESSORS_FOLDER).is_dir():
        eeg_processor = EEGProcessor.from_pretrained(folder / PROCESSORS_FOLDER / "eeg_processor")
        volume_processor = VolumeProcessor.from_pretrained(folder / PROCESSORS_FOLDER / "volume_processor")
    else:
        if eeg_processor.config.normalization == "training":
            eeg_processor.fit_moments(moments, sources)
        volume_processor.fit_references(references)
    eeg_processor.save_pretrained(target / "eeg_processor")
    volume_processor.save_pretrained(target / "volume_processor")
    write_json(target / SPLIT_NAME, {**description, "parts": {part: stretches[part] for part in PARTS}})


def list_schemes(folder: Path) -> list[str]:
    """The names of a paired dataset's schemes."""
    return sorted(path.parent.name for path in (folder / SPLITS_FOLDER).glob(f"*/{SPLIT_NAME}"))


def read_scheme(folder: Path, scheme: str) -> tuple[Path, Stretches]:
    """The folder of a scheme and its split.

    Raises:
        InputError: when there is no such scheme; those that there are are listed.
        FileError: when it can't be read.
    """
    names = list_schemes(folder)
    if scheme not in names:
        raise InputError(
            "scheme",
            found=repr(scheme),
            expected=f"one of {folder}: {', '.join(names)}",
            remedy="Make it with `eeg2fmri split`.",
        )
    path = folder / SPLITS_FOLDER / scheme / SPLIT_NAME
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        return path.parent, {
            part: {run: (int(first), int(last)) for run, (first, last) in parts[part].items()} for part in PARTS
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            path,
            found=f"no readable split ({error})",
            expected="the split of a scheme",
            remedy="Make it again with `eeg2fmri split`.",
        ) from error
