"""Small text files beside the recordings: JSON, and tables of tab-separated values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def write_json(path: Path, content: dict) -> Path:
    """Write a JSON sidecar."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def write_table(path: Path, rows: Iterable[tuple[str, ...]]) -> Path:
    """Write a table of tab-separated values, the names of the columns first."""
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path
