"""What BIDS keeps beside a recording: JSON and tables, also those that it inherits from the folders above."""

from __future__ import annotations

import csv
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FileError, RecordingError
from .pointers import check_file

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<entities>(?:[a-z]+-[A-Za-z0-9]+_)*)(?P<suffix>[a-z]+)(?P<extension>\.[a-z.]+)")


@dataclass(frozen=True)
class EEGSidecars:
    """What the files beside an EEG recording say about it.

    Args:
        sampling_rate (`float`, *optional*): Hz.
        duration (`float`, *optional*): seconds.
        bad (`frozenset[str]`): channels with the status `bad`, named as in the recording.
        events (`tuple[tuple[float, str], ...]`): (seconds from the first sample, `trial_type` or else `value`).
    """

    sampling_rate: float | None
    duration: float | None
    bad: frozenset[str]
    events: tuple[tuple[float, str], ...]


def sidecars_of(path: Path, suffix: str, extension: str) -> list[Path]:
    """The sidecars of a BIDS file, the most general first: from the dataset's root to the file's own folder.

    By the inheritance principle, those whose entities (`task-rest`, ...) are all among the file's own. A file without
    a BIDS name has none.

    Args:
        path (`Path`): such as `sub-01/func/sub-01_task-rest_bold.nii.gz`.
        suffix (`str`): the sidecar's, such as `"bold"` or `"channels"`.
        extension (`str`): the sidecar's, such as `".json"`.
    """
    path = path.absolute()
    own = _entities(path, None)
    subject = next((entity for entity in own or () if entity.startswith("sub-")), None)
    if own is None or subject is None:
        return []
    names = [parent.name for parent in path.parents]
    folders = path.parents[: names.index(subject) + 2] if subject in names else path.parents[:1]
    found = []
    for folder in reversed(folders):
        files = [(_entities(file, suffix), file) for file in sorted(folder.glob(f"*{suffix}{extension}"))]
        applying = [(len(entities), file) for entities, file in files if entities is not None and entities <= own]
        found += [file for _, file in sorted(applying)]
    return found


def _entities(path: Path, suffix: str | None) -> set[str] | None:
    """The entities in a BIDS name; None where it is none, or has another suffix."""
    name = _NAME.fullmatch(path.name)
    return set(name["entities"].split("_")) if name and suffix in (None, name["suffix"]) else None


def eeg_sidecar_files(path: Path) -> list[Path]:
    """All files that [`read_eeg_sidecars`] reads. Events are a recording's own: none are inherited."""
    events = [file for file in sidecars_of(path, "events", ".tsv") if file.parent == path.absolute().parent]
    return [*sidecars_of(path, "eeg", ".json"), *sidecars_of(path, "channels", ".tsv"), *events[-1:]]


def read_eeg_sidecars(path: Path) -> EEGSidecars:
    """What is said about an EEG file by its BIDS sidecars; nothing where there are none.

    Raises:
        FileError: when one is a pointer, or can't be read.
        RecordingError: when a number is none.
    """
    described = read_json(sidecars_of(path, "eeg", ".json"))
    files = eeg_sidecar_files(path)
    status: dict[str, str] = {}
    for file in (file for file in files if file.name.endswith("channels.tsv")):
        status |= {row["name"]: row.get("status", "") for row in read_table(file, "name")}
    events = []
    for row in (row for file in files if file.name.endswith("events.tsv") for row in read_table(file, "onset")):
        names = (row.get("trial_type", ""), row.get("value", ""))
        description = next((name for name in names if name not in ("", "n/a")), None)
        try:
            onset = float(row["onset"])
        except ValueError:  # n/a
            continue
        if description is not None:
            events.append((onset, description))
    return EEGSidecars(
        _number(described, "SamplingFrequency"),
        _number(described, "RecordingDuration"),
        frozenset(name for name, value in status.items() if value.lower() == "bad"),
        tuple(sorted(events)),
    )


def read_json(paths: list[Path]) -> dict[str, tuple[Any, Path]]:
    """The values of JSON sidecars, the last one's where several have one, each with its file.

    Raises:
        FileError: when one is a pointer or no JSON.
    """
    values: dict[str, tuple[Any, Path]] = {}
    for path in paths:
        try:
            content = json.loads(check_file(path).read_bytes())
        except FileError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise FileError(
                path,
                found=f"no readable JSON ({error})",
                expected="a BIDS sidecar",
                remedy="Repair the file, or remove it when the recording's header is right.",
            ) from error
        if isinstance(content, dict):
            values |= {name: (value, path) for name, value in content.items()}
    return values


def read_table(path: Path, column: str) -> list[dict[str, str]]:
    """The rows of a table of tab-separated values; none, with a warning, where it lacks a column that it needs.

    Raises:
        FileError: when it is a pointer or can't be read.
    """
    try:
        with open(check_file(path), newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except FileError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise FileError(
            path,
            found=f"that it can't be read as a table ({error})",
            expected="tab-separated values",
            remedy="Repair the file, or remove it.",
        ) from error
    head = [_plain(name) for name in rows[0]] if rows else []
    if column not in head:
        logger.warning("%s: no column %r between tabs; the table is not used", path, column)
        return []
    needed = head.index(column)
    return [dict(zip(head, map(_plain, row), strict=False)) for row in rows[1:] if len(row) > needed]


def _plain(text: str) -> str:
    return text.strip().strip("'\"")


def _number(values: dict[str, tuple[Any, Path]], name: str) -> float | None:
    value, path = values.get(name, (None, Path()))
    if value is None or value == "n/a":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise RecordingError(
            path, found=f"{name} {value!r}", expected="a number above 0, or n/a", remedy="Repair the sidecar."
        )
    return float(value)
