"""Find the simultaneous runs of a dataset on disk: which EEG and which BOLD file belong together."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import EEG2fMRIError, FileError, InputError
from ..brainvision import marker_file, read_header
from ..pointers import ANNEX_OBJECTS, check_file
from ..repetition_time import bold_sidecars
from ..sidecars import eeg_sidecar_files
from .bids import find_bids_runs, search_bids
from .noddi import search_noddi
from .runs import RunFiles, RunProblem, RunSearch
from .table import search_table
from .xp2 import search_xp2

__all__ = ["LAYOUTS", "RunFiles", "RunProblem", "RunSearch", "find_bids_runs", "find_runs"]

LAYOUTS: dict[str, Callable[..., RunSearch]] = {
    "bids": search_bids,
    "noddi": search_noddi,
    "xp2": search_xp2,
    "table": search_table,
}


def find_runs(root: str | os.PathLike, layout: str = "bids", **options: Any) -> RunSearch:
    """Find the runs of a dataset whose files are at hand, and say for every other run why it is left out.

    Signals are not read: a run that is found can still turn out to be unusable.

    Args:
        root (`str` or `os.PathLike`): the dataset's folder; the CSV file for `"table"`.
        layout (`str`): `"bids"`, `"noddi"`, `"xp2"` or `"table"`.
        options: of the layout; `"xp2"` has `eeg` and `tasks`, see [`search_xp2`].

    Raises:
        InputError: unknown layout or option.
        FileError: when there is nothing of that layout at all, or a table can't be read.
    """
    if layout not in LAYOUTS:
        raise InputError("layout", found=repr(layout), expected=" or ".join(LAYOUTS), remedy="Choose one of them.")
    known = list(inspect.signature(LAYOUTS[layout]).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(
            ", ".join(unknown),
            found=f"options that the layout {layout!r} does not have",
            expected=" and ".join(known) or "no option",
            remedy="Leave them out, or choose another layout.",
        )
    root = Path(root)
    search = LAYOUTS[layout](root, **options)
    runs, problems = [], list(search.problems)
    for run in search.runs:
        reason = _why_not_at_hand(run, None if layout == "table" else root)
        if reason is None:
            runs.append(run)
        else:
            problems.append(RunProblem(run.name, reason, "invalid"))
    doubled = {name for name, count in Counter(run.name for run in runs).items() if count > 1}
    reason = "several runs have this name; each needs its own"
    problems += [RunProblem(name, reason, "invalid") for name in sorted(doubled)]
    kept = sorted((run for run in runs if run.name not in doubled), key=lambda run: run.name)
    return RunSearch(tuple(kept), tuple(sorted(problems, key=lambda problem: problem.run)))


def _why_not_at_hand(run: RunFiles, root: Path | None) -> str | None:
    try:
        for path in (run.eeg, run.bold):
            check_file(path)
            if root is not None:
                _refuse_outside(path, root)
        if run.eeg.suffix.lower() == ".vhdr":
            header = read_header(run.eeg)
            companions = [path for path in (header.data_path, header.marker_path) if path is not None]
        else:
            companions = [path for path in (run.eeg.with_suffix(".fdt"),) if os.path.lexists(path)]
        if run.markers_from is not None:
            companions += [path for path in (run.markers_from, marker_file(run.markers_from)) if path is not None]
        companions += [*eeg_sidecar_files(run.eeg), *bold_sidecars(run.bold)]
        if root is not None:
            for path in companions:
                _refuse_outside(path, root)
    except EEG2fMRIError as error:
        return str(error)
    return None


def _refuse_outside(path: Path, root: Path) -> None:
    """A link may lead to git-annex's store, wherever that is, and else only within the dataset."""
    target = path.resolve()
    if not target.is_relative_to(root.resolve()) and not ANNEX_OBJECTS.search(str(target)):
        raise FileError(
            path,
            found=f"a link out of the dataset, to {target}",
            expected=f"a file within {root}",
            remedy="Copy the file into the dataset, or name its absolute path in a table (layout `table`).",
        )
