"""A task in blocks: when it is done, and which rhythms it weakens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .checks import LARGEST, is_count, is_within, refuse_impossible
from .latents import HISTORY, RATE
from .networks import BAND_NAMES, NETWORKS

# By how many standard deviations right-hand imagery lowers the log amplitudes: most on the left, opposite the hand.
DEPTHS = {"sensorimotor_left": 2.0, "supplementary_motor": 1.2, "sensorimotor_right": 0.8}
DESYNCHRONISED = ("alpha", "beta")
TRIAL_JITTER = 0.25
TRANSITION = 1.0  # s


@dataclass(frozen=True)
class Blocks:
    """Blocks of rest and task in turn, rest first.

    Args:
        rest (`float`): seconds of rest in each block.
        task (`float`): seconds of task in each block.
        num_blocks (`int`): how many of both together.
        start (`float`): seconds from the first volume to the first rest.

    Raises:
        InputError: when a value is impossible.
    """

    rest: float
    task: float
    num_blocks: int
    start: float = 0.0

    def __post_init__(self):
        checks = {
            "rest": (is_within(self.rest, TRANSITION, LARGEST), f"{TRANSITION:g} to {LARGEST:g} s"),
            "task": (is_within(self.task, TRANSITION, LARGEST), f"{TRANSITION:g} to {LARGEST:g} s"),
            "num_blocks": (is_count(self.num_blocks, 1, 1000), "a whole number from 1 to 1000"),
            "start": (is_within(self.start, 0, LARGEST), f"0 to {LARGEST:g} s"),
        }
        refuse_impossible("blocks", self, checks)

    @property
    def rest_onsets(self) -> np.ndarray:
        """Starts of the rests `[num_blocks]`, s from the first volume."""
        return self.start + (self.rest + self.task) * np.arange(self.num_blocks)

    @property
    def task_onsets(self) -> np.ndarray:
        """Starts of the tasks `[num_blocks]`, s from the first volume."""
        return self.rest_onsets + self.rest


def task_course(blocks: Blocks, lead_in: float, num_times: int, random: np.random.Generator) -> np.ndarray:
    """How much of the task is being done: 0 at rest, about 1 during a task, a little different in each one.

    Args:
        blocks ([`Blocks`]): when the task is done.
        lead_in (`float`): s from the first EEG sample to the first volume.
        num_times (`int`): at 10 Hz, from `HISTORY` before EEG.
        random (`np.random.Generator`): of the tasks' strengths.

    Returns:
        `np.ndarray` of shape `(num_times,)`.
    """
    times = np.arange(num_times) / RATE - HISTORY - lead_in
    strengths = 1 + TRIAL_JITTER * np.clip(random.standard_normal(blocks.num_blocks), -2.0, 2.0)
    course = np.zeros(num_times)
    for onset, strength in zip(blocks.task_onsets, strengths, strict=True):
        course[(times >= onset) & (times < onset + blocks.task)] = strength
    window = np.hanning(round(TRANSITION * RATE) + 3)[1:-1]
    return np.convolve(course, window / window.sum(), mode="same")


def desynchronise(latents: np.ndarray, course: np.ndarray) -> np.ndarray:
    """Lower alpha and beta of the motor networks, and of the deep ones that they drive, while the task is done.

    Args:
        latents (`np.ndarray` of shape `(num_networks, num_bands, num_times)`): log amplitudes.
        course (`np.ndarray` of shape `(num_times,)`): `task_course` times the subject's gain.

    Returns:
        `np.ndarray` of shape `(num_networks, num_bands, num_times)`.
    """
    changed = latents.copy()
    for index, network in enumerate(NETWORKS):
        depth = DEPTHS.get(network.driver or network.name, 0.0)
        for band in DESYNCHRONISED:
            changed[index, BAND_NAMES.index(band)] -= depth * course
    return changed
