"""Publish a file or a folder all at once: it is written near its place, made durable, then renamed into it."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from .errors import EEG2fMRIError, FileError, InputError

logger = logging.getLogger(__name__)

STAGING_SUFFIX = ".staging"


@contextlib.contextmanager
def publish_file(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; on a clean exit it becomes `path`, on an error nothing is left.

    The temporary name ends like the final one, so that writers which look at the suffix work.

    Raises:
        FileError: when the file can't be written (permissions, disk full).
    """
    path = Path(path)
    with _staging(path) as folder:
        staged = folder / path.name
        yield staged
        _sync(staged)
        _apply_umask(staged)
        os.replace(staged, path)
        _sync(path.parent)


@contextlib.contextmanager
def publish_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary folder beside `path` to fill; on a clean exit it becomes `path`, on an error nothing is left.

    A folder that is already there is never replaced: two renames would be needed, and nothing lies at `path` between.

    Raises:
        FileError: when `path` exists, or when something can't be written.
    """
    path = Path(path)
    _refuse_existing(path)
    with _staging(path) as folder:
        staged = folder / path.name
        staged.mkdir()
        yield staged
        _make_durable(staged)
        os.replace(staged, path)
        _sync(path.parent)


@contextlib.contextmanager
def publish_contents(path: str | os.PathLike, *, last: str) -> Iterator[Path]:
    """Give a temporary folder to fill; on a clean exit its items move into the folder `path`, `last` at the very end.

    It lies in `path`, which may be a file system of its own. What else lies there stays. The file named `last`, the
    one that readers look for first, is taken away before anything changes, so that a half-replaced folder never looks
    whole. On an error everything is as it was before.

    Raises:
        FileError: when something can't be written.
    """
    path = Path(path).absolute()
    with _removed_again(path), _staging(path, path) as folder:
        staged, previous = folder / path.name, folder / f"{path.name}.previous"
        staged.mkdir()
        yield staged
        _make_durable(staged)
        previous.mkdir()
        names = sorted((item.name for item in staged.iterdir()), key=lambda name: name == last)
        try:
            for name in (last, *names):
                if (path / name).exists():
                    os.replace(path / name, previous / name)
            for name in names:
                os.replace(staged / name, path / name)
        except OSError:
            for name in (*names, last):
                if name in names and not (staged / name).exists():
                    os.replace(path / name, staged / name)
                if (previous / name).exists():
                    os.replace(previous / name, path / name)
            raise
        _sync(path)


def claim_folder(folder: str | os.PathLike, settings: dict) -> None:
    """Keep a folder, which may exist, for one study, whose settings are in its `study.json`.

    Args:
        folder: where finished parts are kept, to be used again.
        settings (`dict`): all that these parts depend on, as JSON knows it.

    Raises:
        InputError: when the folder holds a study with other settings.
    """
    path, text = Path(folder) / "study.json", json.dumps(settings, indent=1, sort_keys=True) + "\n"
    if path.is_file() and path.read_text() != text:
        raise InputError(
            folder,
            found="a study with other settings",
            expected="the one that is asked for, or an empty folder",
            remedy="Choose another --output.",
        )
    with publish_file(path) as staged:
        staged.write_text(text)


def remove_folder(path: str | os.PathLike) -> None:
    """Remove a folder, which is never seen half-removed.

    Raises:
        FileError: when it can't be removed.
    """
    path = Path(path)
    with _staging(path) as folder:
        os.replace(path, folder / path.name)


def remove_leftovers(folder: str | os.PathLike, pattern: str) -> None:
    """Remove what processes that were killed left of publishing `folder/pattern`; what a living one writes stays."""
    for path in Path(folder).glob(f".{pattern}.*{STAGING_SUFFIX}"):
        # It may be gone meanwhile, in use, or on a file system without locks.
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def resumable_folder(path: str | os.PathLike) -> Iterator[Path | None]:
    """Give one process at a time a hidden folder beside `path` to fill; on a clean exit it becomes `path`.

    What a killed or interrupted process has put in it is still there for the next one; an error removes it. Others
    wait meanwhile: those who find `path` finished then get None.

    Raises:
        FileError: when `path` exists at first, or when something can't be written.
    """
    path = Path(path)
    _refuse_existing(path)
    folder = path.parent / f".{path.name}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(path.parent / f".{path.name}.lock", f"another process is making {path}"):
            if path.exists():
                yield None
                return
            folder.mkdir(exist_ok=True)
            try:
                yield folder
                _make_durable(folder)
                os.replace(folder, path)
                _sync(path.parent)
            except Exception:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except EEG2fMRIError as error:
        raise _named_as_final(error, folder, path) from error.__cause__
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error


@contextlib.contextmanager
def _exclusive(path: Path, reason_to_wait: str) -> Iterator[None]:
    """Hold the lock of a file that is gone afterwards. The system gives it up when the process ends in any way."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("%s; waiting for it", reason_to_wait)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_at(descriptor, path):
            break
        os.close(descriptor)  # who held it has removed the file, and a newcomer may hold another one of its name
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileError(
            path,
            found="something already there",
            expected="a path that is free",
            remedy="Choose another output, or remove it first.",
        )


@contextlib.contextmanager
def _removed_again(path: Path) -> Iterator[None]:
    """Leave no empty folder after an error where none was before."""
    existed = path.exists()
    try:
        yield
    except BaseException:
        if not existed:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


@contextlib.contextmanager
def _staging(path: Path, place: Path | None = None) -> Iterator[Path]:
    """A temporary folder in `place`, by default beside `path`; always removed at the end."""
    place = place or path.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place, glob.escape(path.name))
        folder, descriptor = _locked_folder(place, path.name)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield folder
    except EEG2fMRIError as error:
        raise _named_as_final(error, folder / path.name, path) from error.__cause__
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked_folder(place: Path, name: str) -> tuple[Path, int]:
    """A new temporary folder in `place`, locked for as long as this process lives, and the lock's descriptor."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=STAGING_SUFFIX, dir=place))
        # Before it is locked, another process may take it for a leftover.
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _named_as_final(error: EEG2fMRIError, staged: Path, path: Path) -> EEG2fMRIError:
    """An error about a file in a temporary folder as one about the file that it was to become."""
    if not Path(error.subject).is_relative_to(staged):
        return error
    subject = path / Path(error.subject).relative_to(staged)
    return type(error)(subject, found=error.found, expected=error.expected, remedy=error.remedy)


def _unwritable(path: Path, error: Exception) -> FileError:
    return FileError(
        path,
        found=f"that it can't be written ({getattr(error, 'strerror', None) or error})",
        expected="a writable place with enough room",
        remedy="Check permissions and free space; nothing was left behind.",
    )


def _make_durable(folder: Path) -> None:
    """A folder and all in it: on the disk, and with the usual permissions."""
    for item in (*sorted(folder.rglob("*")), folder):
        _sync(item)
        _apply_umask(item)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _apply_umask(path: Path) -> None:
    """Temporary folders and safetensors files come as 0700 and 0600: give what the user's umask would."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 checksum of a file, as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
