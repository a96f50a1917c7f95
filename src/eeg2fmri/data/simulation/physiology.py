"""Heart, breath and head movement: what disturbs EEG and BOLD at the same moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BURSTS_PER_MINUTE = 0.4
BREATHS_PER_SECOND = 0.25


@dataclass(frozen=True)
class Physiology:
    """One run's physiology; times in seconds from the first EEG sample.

    Args:
        beats (`np.ndarray` of shape `(num_beats + 2,)`): R peaks, from the last one before the run to the first after.
        breaths (`np.ndarray` of shape `(num_breaths + 2,)`): starts of the breaths, likewise.
        burst_onsets (`np.ndarray` of shape `(num_bursts,)`): starts of the head movements.
        burst_shifts (`np.ndarray` of shape `(num_bursts, 3)`): by how much the head moves, mm.
    """

    beats: np.ndarray
    breaths: np.ndarray
    burst_onsets: np.ndarray
    burst_shifts: np.ndarray

    @property
    def pulse_onsets(self) -> np.ndarray:
        """The R peaks within the run, `(num_beats,)`."""
        return self.beats[1:-1]


def draw_physiology(random: np.random.Generator, heart_rate: float, duration: float) -> Physiology:
    """Heart beats (beats per second), breaths and movements of one run of `duration` seconds."""
    num_bursts = random.poisson(BURSTS_PER_MINUTE * duration / 60)
    return Physiology(
        beats=_rhythm(random, heart_rate, 0.05, duration),
        breaths=_rhythm(random, BREATHS_PER_SECOND, 0.1, duration),
        burst_onsets=np.sort(random.uniform(0, duration, num_bursts)),
        burst_shifts=0.15 * random.standard_normal((num_bursts, 3)),
    )


def _rhythm(random: np.random.Generator, rate: float, spread: float, duration: float) -> np.ndarray:
    """Onsets with intervals that vary by `spread` (relative sd): those of the run, one before and one after it."""
    num_intervals = int(2 * duration * rate) + 2
    intervals = (1 + np.clip(spread * random.standard_normal(num_intervals), -0.5, 0.5)) / rate
    before = -intervals[0] * random.random()
    onsets = np.cumsum(intervals) + before
    return np.concatenate([[before], onsets[: np.count_nonzero(onsets < duration) + 1]])


def phase(onsets: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The phase (radians) of a rhythm at `times` between its onsets, rising by 2 pi from one to the next."""
    return 2 * np.pi * np.interp(times, onsets, np.arange(onsets.size) - 1.0)
