"""One trainer per output folder."""

from __future__ import annotations

import json
import os
import socket
import weakref
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import FileError

# Data-loading workers of a trainer that was killed hold its lock for some seconds longer.
PATIENCE = 10.0


class FolderLock:
    """A folder that no other trainer writes to, until `release` or the end of the process, however it ends.

    Args:
        folder (`Path`): made if need be.
        patience (`float`): seconds to wait for another trainer's end.

    Raises:
        FileError: when another trainer works there, with its process and host; or when the folder can't be written.
    """

    def __init__(self, folder: Path, patience: float = PATIENCE):
        owner = folder / ".trainer.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".trainer.lock")
            lock.acquire(timeout=patience)
            owner.write_text(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        except Timeout as error:
            raise FileError(
                folder,
                found=f"another trainer at work there ({_name(owner)})",
                expected="a folder of its own for each trainer",
                remedy="Wait for it, stop it, or choose another --output_dir.",
            ) from error
        except OSError as error:
            raise FileError(
                folder,
                found=f"that it can't be written ({error.strerror or error})",
                expected="a writable folder with enough room",
                remedy="Check permissions and free space, or choose another --output_dir.",
            ) from error
        self.release = weakref.finalize(self, _release, lock, owner, os.getpid())


def _release(lock: FileLock, owner: Path, process: int) -> None:
    if os.getpid() == process:  # and not in a worker forked from it
        owner.unlink(missing_ok=True)
        lock.release()


def _name(owner: Path) -> str:
    try:
        content = json.loads(owner.read_text())
        return f"process {content['process']} on {content['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process is unknown"
