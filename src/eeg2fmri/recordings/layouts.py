"""Find the simultaneous runs of a dataset on disk."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileError

EEG_SUFFIXES = (".vhdr", ".edf", ".bdf", ".set", ".fif")
BOLD_SUFFIXES = (".nii.gz", ".nii")
_NAME = re.compile(r"(?P<entities>(?:[a-z]+-[A-Za-z0-9]+_)+)(?P<suffix>eeg|bold)(?P<extension>\.[a-z.]+)$")


@dataclass(frozen=True)
class RunFiles:
    """The EEG and the BOLD file of one simultaneous run."""

    subject: str
    name: str  # entities without the suffix, e.g. "sub-001_task-rest_run-01"
    eeg: Path
    bold: Path


def find_bids_runs(root: str | os.PathLike) -> list[RunFiles]:
    """The runs of a BIDS tree whose EEG and BOLD share subject, session, task and run.

    Args:
        root: the dataset's folder, which holds `sub-*`.

    Raises:
        FileError: when there is no such run.
    """
    root = Path(root)
    eeg = _files(root, "eeg", "eeg", EEG_SUFFIXES)
    bold = _files(root, "func", "bold", BOLD_SUFFIXES)
    names = sorted(set(eeg) & set(bold))
    if not names:
        raise FileError(
            root,
            found=f"{len(eeg)} EEG and {len(bold)} BOLD files, none of the same run",
            expected="a BIDS tree with sub-*/eeg/*_eeg.* and sub-*/func/*_bold.nii[.gz] of the same task and run",
            remedy="Check the folder's path; derivatives are not searched.",
        )
    return [RunFiles(name.split("_")[0].removeprefix("sub-"), name, eeg[name], bold[name]) for name in names]


def _files(root: Path, datatype: str, suffix: str, extensions: tuple[str, ...]) -> dict[str, Path]:
    found = {}
    for pattern in (f"sub-*/{datatype}/*", f"sub-*/ses-*/{datatype}/*"):
        for path in sorted(root.glob(pattern)):
            match = _NAME.fullmatch(path.name)
            if match and match["suffix"] == suffix and match["extension"] in extensions:
                found[match["entities"].rstrip("_")] = path
    return found
