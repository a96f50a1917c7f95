"""SIGTERM and Ctrl-C: the first asks to stop after the step, the second stops at once."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any


class StopRequest:
    """A context in which a signal is remembered instead of ending the process; `received` is its number, or 0.

    The signals' earlier handlers come back with the first one, so that a second one does what it always did, and at
    the end. Must be entered in the main thread.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self._previous = {number: signal.signal(number, self._receive) for number in self.SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


def leave_process_group(worker: int) -> None:
    """Keep signals to the trainer's process group, as Ctrl-C is, from a data-loading worker: the last step needs it.

    Args:
        worker (`int`): its number, which `torch.utils.data.DataLoader` gives.
    """
    os.setpgrp()
