"""The runs of a BIDS tree."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...errors import FileError
from .runs import RunFiles, RunProblem, RunSearch

EEG_SUFFIXES = (".vhdr", ".edf", ".bdf", ".set", ".fif")
BOLD_SUFFIXES = (".nii.gz", ".nii")
RUN_ENTITIES = ("sub", "ses", "task", "run")
_NAME = re.compile(r"(?P<entities>(?:[a-z]+-[A-Za-z0-9]+_)+)(?P<suffix>eeg|bold)(?P<extension>\.[a-z.]+)$")


def find_bids_runs(root: str | os.PathLike) -> list[RunFiles]:
    """The runs of a BIDS tree, all of them unambiguous; see [`search_bids`]. Files without a partner are passed over.

    Raises:
        FileError: when there is no run, or one with several files to choose from.
    """
    runs, refused, _ = _match(Path(root))
    if refused:
        raise next(iter(refused.values()))
    return runs


def search_bids(root: str | os.PathLike) -> RunSearch:
    """The runs of a BIDS tree whose EEG and BOLD share subject, session, task and run.

    Other entities (`acq-`, `dir-`, `echo-`, ...) may differ. Where several files are of one run, the one whose
    entities are all those of a file of the other kind is taken.

    Args:
        root: the dataset's folder, which holds `sub-*`.

    Raises:
        FileError: when no EEG and BOLD files are of the same run.
    """
    runs, refused, alone = _match(Path(root))
    problems = [RunProblem(name, str(error), "invalid") for name, error in refused.items()]
    problems += [RunProblem(name, f"no {missing} file of this run", "incomplete") for name, missing in alone.items()]
    return RunSearch(tuple(runs), tuple(problems))


def _match(root: Path) -> tuple[list[RunFiles], dict[str, FileError], dict[str, str]]:
    """The runs; those with several files to choose from; those without a partner, and what they miss."""
    eeg = _files(root, "eeg", "eeg", EEG_SUFFIXES)
    bold = _files(root, "func", "bold", BOLD_SUFFIXES)
    names = sorted(set(eeg) & set(bold))
    if not names:
        raise FileError(
            root,
            found=f"{_count(eeg)} EEG and {_count(bold)} BOLD files, none of the same run",
            expected="a BIDS tree with sub-*/eeg/*_eeg.* and sub-*/func/*_bold.nii[.gz] of the same task and run",
            remedy="Check the folder's path; derivatives are not searched.",
        )
    runs, refused = [], {}
    for name in names:
        subject = name.split("_")[0].removeprefix("sub-")
        try:
            chosen_eeg = _choose(root, f"EEG files of {name}", eeg[name], bold[name])
            chosen_bold = _choose(root, f"BOLD files of {name}", bold[name], eeg[name])
        except FileError as error:
            refused[name] = error
        else:
            runs.append(RunFiles(subject, name, chosen_eeg, chosen_bold))
    alone = dict.fromkeys(sorted(set(eeg) - set(bold)), "BOLD")
    return runs, refused, alone | dict.fromkeys(sorted(set(bold) - set(eeg)), "EEG")


def _files(root: Path, datatype: str, suffix: str, extensions: tuple[str, ...]) -> dict[str, list[Path]]:
    """All files of a kind, by the name of their run."""
    found: dict[str, list[Path]] = {}
    for pattern in (f"sub-*/{datatype}/*", f"sub-*/ses-*/{datatype}/*"):
        for path in sorted(root.glob(pattern)):
            match = _NAME.fullmatch(path.name)
            if match and match["suffix"] == suffix and match["extension"] in extensions:
                entities = _entities(path)
                name = "_".join(f"{key}-{entities[key]}" for key in RUN_ENTITIES if key in entities)
                found.setdefault(name, []).append(path)
    return found


def _entities(path: Path) -> dict[str, str]:
    key_and_values = (part.partition("-") for part in path.name.split("_")[:-1])
    return {key: value for key, _, value in key_and_values}


def _choose(root: Path, what: str, files: list[Path], others: list[Path]) -> Path:
    """The one file, or the one among several that has a counterpart with the very same entities."""
    if len(files) > 1:
        counterparts = [_entities(other) for other in others]
        files = [file for file in files if _entities(file) in counterparts] or files
    if len(files) > 1:
        raise FileError(
            root,
            found=f"{len(files)} {what}: {', '.join(str(file.relative_to(root)) for file in files)}",
            expected="one",
            remedy="Take the others out of the dataset; combine echoes first.",
        )
    return files[0]


def _count(files: dict[str, list[Path]]) -> int:
    return sum(map(len, files.values()))
