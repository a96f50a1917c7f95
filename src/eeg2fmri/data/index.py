"""The index of a paired dataset: what it was made from and with, and its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileError
from .splits import RunPairs

FORMAT_VERSION = 2
INDEX_NAME = "index.json"


def write_json(path: Path, content: Any) -> None:
    """As indented text, refusing NaN."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_index(folder: Path) -> dict[str, Any]:
    """Read the index of a paired dataset.

    Raises:
        FileError: when there is none, it can't be read, or it is of another format version.
    """
    path = folder / INDEX_NAME
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        version = index.get("format_version")
    except (OSError, ValueError, AttributeError) as error:
        raise FileError(
            path,
            found=f"no readable index ({error})",
            expected="a paired dataset",
            remedy="Make one with `eeg2fmri prepare`.",
        ) from error
    if version != FORMAT_VERSION:
        raise FileError(
            path,
            found=f"format version {version}",
            expected=f"version {FORMAT_VERSION}",
            remedy="Prepare the dataset again with this version of eeg2fmri.",
        )
    return index


def pairs_of(entries: list[dict[str, Any]]) -> list[RunPairs]:
    """The runs of an index as splits take them."""
    return [RunPairs(entry["name"], entry["subject"], np.array(entry["onsets"])) for entry in entries]
