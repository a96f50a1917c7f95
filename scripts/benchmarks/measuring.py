"""What all benchmarks share: variants timed in turn, and what the machine was doing meanwhile."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import nn

Result = TypeVar("Result")


class Seconds(NamedTuple):
    """Wall-clock time, which other load lengthens, and CPU time of all threads, which it hardly does."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, earlier: Seconds) -> Seconds:
        return Seconds(self.wall - earlier.wall, self.cpu - earlier.cpu)


def timed(function: Callable[[], object]) -> Seconds:
    """What one call takes."""
    start = Seconds.now()
    function()
    return Seconds.now() - start


def median(times: list[Seconds]) -> Seconds:
    """Medians of wall-clock and CPU time, each by itself."""
    return Seconds(*map(statistics.median, zip(*times, strict=True)))


def in_turn(variants: dict[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """Run every variant once a round, so that a change of load meets all of them; the first round does not count."""
    results: dict[str, list[Result]] = {name: [] for name in variants}
    for _ in range(1 + rounds):
        for name, function in variants.items():
            results[name].append(function())
    return {name: values[1:] for name, values in results.items()}


def machine() -> str:
    """The machine's load over the last minute, its cores, and torch."""
    threads = torch.get_num_threads()
    return (
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, "
        f"{threads} thread{'s' * (threads > 1)}, torch {torch.__version__}"
    )


def count_parameters(*networks: nn.Module) -> int:
    return sum(parameter.numel() for network in networks for parameter in network.parameters())


def convert_to_channels_last(network: nn.Module) -> None:
    """Lay out the weights of 3-D convolutions with the channels last; other weights have no such memory format."""
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
