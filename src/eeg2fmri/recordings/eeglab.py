"""EEGLAB recordings: check that `.set`, `.fdt` and the counts in them agree, since MNE goes on where they do not."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import FileError
from .matlab import MatlabArray, check_matlab
from .pointers import check_file

BYTES_PER_SAMPLE = 4  # of a .fdt, always single precision
COUNTS = ("nbchan", "pnts", "trials")
AGAIN = "Download the recording again, or save it again in EEGLAB."


def check_eeglab(path: Path) -> None:
    """Check a `.set` of MATLAB level 5, and its `.fdt`, which must hold just the samples that the counts say.

    Raises:
        FileError: when a file is missing, damaged, a pointer, longer or shorter than the counts say, or the data lie
            in another folder.
    """
    fields = check_matlab(path)
    if not fields:  # version 7.3, which MNE checks
        return
    channels, points, trials = (_count(path, name, fields.get(name)) for name in COUNTS)
    data = fields.get("data", MatlabArray((0, 0), None))
    if isinstance(data.value, str):
        data_path = _data_file(path, data.value)
        expected = channels * points * trials * BYTES_PER_SAMPLE
        found = data_path.stat().st_size
        if found != expected:
            said = f"{expected} bytes for {channels} channels x {points} points x {trials} trials, as {path.name} says"
            raise FileError(data_path, found=f"{found} bytes", expected=said, remedy=AGAIN)
    elif data.dimensions[0] != channels or math.prod(data.dimensions[1:]) != points * trials:
        raise FileError(
            path,
            found=f"data of shape {list(data.dimensions)}",
            expected=f"{channels} channels x {points} points x {trials} trials, as its counts say",
            remedy=AGAIN,
        )


def _count(path: Path, name: str, field: MatlabArray | None) -> int:
    value = None if field is None else field.value
    if isinstance(value, float) and value.is_integer() and value >= 1:
        return int(value)
    found = f"EEG.{name} of {value}" if field is not None else f"no EEG.{name}"
    raise FileError(path, found=found, expected="a whole number from 1 on", remedy=AGAIN)


def _data_file(path: Path, name: str) -> Path:
    """The file that MNE will read: the named one, or the namesake of the `.set` where that isn't there."""
    named = path.parent / name if name and "\0" not in name else path.with_suffix(".fdt")
    inside = name == PurePosixPath(name).name == PureWindowsPath(name).name and name not in ("", ".", "..")
    if not inside and os.path.lexists(named):
        raise FileError(
            path,
            found=f"data in another folder ({name!r})",
            expected="all of the recording's files in one folder",
            remedy="Put the files side by side and correct the name inside the header.",
        )
    return check_file(named if os.path.lexists(named) else path.with_suffix(".fdt"))
