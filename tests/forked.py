"""Run code in a forked child that may be killed, by others or by itself at a file-system event."""

import os
import signal
import sys
import traceback
from collections.abc import Callable

import torch

ENDED, REFUSED = 77, 2  # exit codes: ended itself at the event, ended with a typed error


def start(function: Callable[[], None]) -> int:
    """Run `function` in a child; returns its process number at once."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        signal.alarm(0)
        torch.set_num_threads(1)  # threads do not survive a fork
        function()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(process: int) -> int:
    """The exit code of a child at its end, negative when a signal ended it; it is killed when the test is stopped."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    except BaseException:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise


def run(function: Callable[[], None]) -> int:
    """Run `function` in a child to its end; returns the exit code, negative when a signal ended it."""
    return wait(start(function))


def at_event(number: int, act: Callable[[], None], *, only_writing: bool = False, after: str = "") -> None:
    """From now on, do `act` at the file-system event of that number in this process, counted from 0.

    With `only_writing`, only what needs room on the disk counts: files opened for writing, new folders, renamings.
    With `after`, counting starts at the first event that names it.
    """
    at_each_event(lambda count: act() if count == number else None, only_writing=only_writing, after=after)


def at_each_event(act: Callable[[int], None], *, only_writing: bool = False, after: str = "") -> None:
    """As `at_event`, for all of them: `act` gets their numbers."""
    count, begun = -1, not after

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count, begun
        if not event.startswith(("open", "os.", "shutil.", "tempfile.")) or event in ("os.putenv", "os.fork"):
            return
        if only_writing and not _needs_room(event, arguments):
            return
        begun = begun or after in str(arguments)
        if not begun:
            return
        count += 1
        act(count)

    sys.addaudithook(hook)


def _needs_room(event: str, arguments: tuple) -> bool:
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
    return event == "os.rename" or (event == "os.mkdir" and not os.path.isdir(arguments[0]))


def refused(arrange: Callable[[], None], write: Callable[[], None], error: type[Exception]) -> str | None:
    """The message of the error that `write` ends with in a child, after `arrange`; `None` when there is none."""
    reading, writing = os.pipe()  # the standard output may be a file, which a full disk cuts as well

    def child() -> None:
        arrange()
        try:
            write()
        except error as reason:
            os.write(writing, str(reason).encode()[:4000])
            os._exit(REFUSED)

    code = run(child)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        message = pipe.read()
    assert code in (0, REFUSED), f"exit code {code}"
    return message if code else None
