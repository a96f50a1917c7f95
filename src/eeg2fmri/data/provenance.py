"""Where a run of the paired dataset comes from, and whether what was made of it still holds."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files import sha256
from ..recordings.brainvision import marker_file, read_header
from ..recordings.layouts import RunFiles
from ..recordings.repetition_time import bold_sidecars
from ..recordings.sidecars import eeg_sidecar_files

COMPANIONS = {".set": ".fdt"}
_ENTITY = re.compile(r"(ses|task|run)-([A-Za-z0-9]+)")


def source_files(run: RunFiles) -> list[Path]:
    """All files that a run is read from: the EEG with its data and marker files, the header and marker file of another
    recording that its markers are taken from, the image, and the sidecars of both.

    Raises:
        FileError: when an EEG header can't be read.
    """
    files = [run.eeg]
    if run.eeg.suffix.lower() == ".vhdr":
        header = read_header(run.eeg)
        files += [path for path in (header.data_path, header.marker_path) if path is not None]
    if run.markers_from is not None:
        files += [path for path in (run.markers_from, marker_file(run.markers_from)) if path is not None]
    companion = run.eeg.with_suffix(COMPANIONS.get(run.eeg.suffix.lower(), run.eeg.suffix))
    if companion != run.eeg and companion.is_file():
        files.append(companion)
    return [*files, *eeg_sidecar_files(run.eeg), *bold_sidecars(run.bold), run.bold]


def run_key(run: RunFiles, settings: dict[str, Any]) -> str:
    """A checksum of the settings and of the names, sizes and times of a run's files: equal keys, equal results."""
    stats = {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in source_files(run)}
    content = json.dumps([settings, asdict(run), stats], default=str, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def describe_sources(run: RunFiles, root: Path) -> dict[str, Any]:
    """Subject, session, task and run, and the run's files with size and SHA-256, as paths from the dataset's root."""
    entities = dict(_ENTITY.findall(run.name))
    return {
        "name": run.name,
        "subject": run.subject,
        "session": entities.get("ses"),
        "task": entities.get("task"),
        "run": entities.get("run"),
        "eeg": _relative(run.eeg, root),
        "bold": _relative(run.bold, root),
        "sources": [
            {"path": _relative(path, root), "bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in source_files(run)
        ],
    }


def _relative(path: Path, root: Path) -> str:
    """As a path from the root; absolute where a table names a file elsewhere."""
    path, root = path.absolute(), root.absolute()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
