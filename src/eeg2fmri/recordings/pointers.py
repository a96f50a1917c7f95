"""Recognise a file that isn't there: missing, empty, or a git-annex or git-lfs pointer in place of its content."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import FileError

# Pointers are short texts; a larger file is content whatever its first bytes say.
MAX_POINTER_BYTES = 32 * 1024
# A link's target has ".git/annex/objects"; an unlocked annex file's text has "/annex/objects/KEY".
ANNEX_OBJECTS = re.compile(r"[/\\]annex[/\\]objects[/\\]")
LFS_HEADER = b"version https://git-lfs"


def check_file(path: str | os.PathLike) -> Path:
    """Make sure that `path` is a regular file with content of its own.

    Args:
        path (`str` or `os.PathLike`): the file.

    Returns:
        `Path`: the same path, links not followed, so that its neighbours are those of the name.

    Raises:
        FileError: when the file is missing, a folder, empty, unreadable, or a pointer of git-annex or git-lfs.
    """
    path = Path(path)
    try:
        if path.is_symlink() and not path.exists():
            raise _dangling_link(path)
        if not path.exists():
            raise _error(path, "nothing there", "Check the path.")
        if not path.is_file():
            raise _error(path, "a folder" if path.is_dir() else "a device or pipe", "Give the path of one file.")
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(256)
    except FileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise _error(path, f"that it can't be read ({error})", "Check the path and its permissions.") from error
    if size == 0:
        raise _error(path, "an empty file", "Download it again.")
    if size <= MAX_POINTER_BYTES:
        _refuse_pointer_text(path, start)
    return path


def _dangling_link(path: Path) -> FileError:
    target = os.readlink(path)
    if ANNEX_OBJECTS.search(target):
        return _annex_pointer(path, "a git-annex link")
    return _error(path, f"a link to {target}, where nothing is", "Restore the link's target.")


def _refuse_pointer_text(path: Path, start: bytes) -> None:
    if start.startswith(LFS_HEADER):
        remedy = f"Get the content with `git lfs pull --include {path.name}` inside the repository."
        raise _error(path, "a git-lfs pointer in place of the content", remedy)
    first_line = start.split(b"\n", 1)[0].decode("latin-1")
    if "\0" not in first_line and ANNEX_OBJECTS.search(first_line):
        raise _annex_pointer(path, "a git-annex pointer")


def _annex_pointer(path: Path, found: str) -> FileError:
    remedy = f"Get the content with `datalad get {path}` or `git annex get {path}`."
    return _error(path, f"{found} in place of the content", remedy)


def _error(path: Path, found: str, remedy: str) -> FileError:
    return FileError(path, found=found, expected="a file with its content", remedy=remedy)
