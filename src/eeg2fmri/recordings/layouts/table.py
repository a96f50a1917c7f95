"""Runs listed in a table (CSV), for datasets in no layout that we know."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import FileError, InputError
from ..pointers import check_file
from .runs import RunFiles, RunProblem, RunSearch

REQUIRED = ("eeg", "bold", "subject", "run")
OPTIONAL: dict[str, Callable[[str], Any]] = {
    "marker": str,
    "lead_in": int,
    "first_volume": float,
    "repetition_time": float,
}
MAX_BYTES = 16 * 1024**2
_LABEL = re.compile(r"[A-Za-z0-9]+")


def search_table(root: str | os.PathLike) -> RunSearch:
    """The runs of a CSV file with the columns `eeg`, `bold`, `subject` and `run`, one run a line.

    Optional columns: `marker`, `lead_in`, `first_volume`, `repetition_time` (see [`RunFiles`]); an empty field is as
    none, and `first_volume` goes with neither `marker` nor `lead_in`. Relative paths start at the CSV's folder and may
    not lead out of it; absolute paths are taken as they are.

    Args:
        root: the CSV file, with commas, UTF-8.

    Raises:
        FileError: when the table can't be read, is empty, or lacks a column.
    """
    path = check_file(root)
    rows = _rows(path)
    runs, problems = [], []
    for number, row in enumerate(rows, start=2):
        try:
            runs.append(_run(path, row))
        except InputError as error:
            problems.append(RunProblem(f"line {number}", str(error), "invalid"))
    return RunSearch(tuple(runs), tuple(problems))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, f"that it can't be read as a table ({error})") from error
    columns = reader.fieldnames or []
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
    if missing or unknown:
        raise _unreadable(path, f"the columns {', '.join(map(str, columns))}")
    if not rows:
        raise _unreadable(path, "no lines below the columns' names")
    return rows


def _unreadable(path: Path, found: str) -> FileError:
    return FileError(
        path,
        found=found,
        expected=f"a CSV file with the columns {','.join(REQUIRED)} and perhaps {','.join(OPTIONAL)}",
        remedy="Write one line for each run, with commas between the fields.",
    )


def _run(table: Path, row: dict[str, str]) -> RunFiles:
    fields = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
    if None in row or None in row.values():
        raise _wrong(table, "a line with too many or too few fields", "one field for each column")
    for column in ("subject", "run"):
        if not _LABEL.fullmatch(fields[column]):
            raise _wrong(table, f"{column} {fields[column]!r}", "letters and digits")
    options = {}
    for column, kind in OPTIONAL.items():
        if fields.get(column):
            try:
                options[column] = kind(fields[column])
            except ValueError as error:
                raise _wrong(table, f"{column} {fields[column]!r}", f"a number ({kind.__name__})") from error
    if not math.isfinite(options.get("first_volume", 0.0)):
        raise _wrong(table, f"first_volume {fields['first_volume']!r}", "a finite number of seconds")
    beside = [column for column in ("marker", "lead_in") if column in options]
    if "first_volume" in options and beside:
        raise _wrong(table, f"first_volume beside {' and '.join(beside)}", "an onset or a marker, not both")
    name = f"sub-{fields['subject']}_run-{fields['run']}"
    return RunFiles(fields["subject"], name, _path(table, fields["eeg"]), _path(table, fields["bold"]), **options)


def _path(table: Path, text: str) -> Path:
    if not text or "\0" in text:
        raise _wrong(table, f"the path {text!r}", "the path of a file")
    path = Path(text)
    if path.is_absolute():
        return path
    home = table.parent.resolve()
    # Resolved, so that neither ".." nor a link leads out unseen.
    if not (home / path).resolve().is_relative_to(home):
        raise _wrong(table, f"the path {text!r}, which leads out of {home}", "a path within the table's folder")
    return home / path


def _wrong(table: Path, found: str, expected: str) -> InputError:
    remedy = "Correct the line; files elsewhere are named by their absolute paths."
    return InputError(str(table), found=found, expected=expected, remedy=remedy)
