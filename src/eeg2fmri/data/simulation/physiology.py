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
        pulse_onsets (`np.ndarray` of shape `(num_beats,)`): R peaks.
        breath_onsets (`np.ndarray` of shape `(num_breaths,)`): starts of the breaths.
        burst_onsets (`np.ndarray` of shape `(num_bursts,)`): starts of the head movements.
        burst_shifts (`np.ndarray` of shape `(num_bursts, 3)`): by how much the head moves, mm.
    """

    pulse_onsets: np.ndarray
    breath_onsets: np.ndarray
    burst_onsets: np.ndarray
    burst_shifts: np.ndarray


def draw_physiology(random: np.random.Generator, heart_rate: float, duration: float) -> Physiology:
    """Heart beats (beats per second), breaths and movements of one run of `duration` seconds."""
    num_bursts = random.poisson(BURSTS_PER_MINUTE * duration / 60)
    return Physiology(
        pulse_onsets=_rhythm(random, heart_rate, 0.05, duration),
        breath_onsets=_rhythm(random, BREATHS_PER_SECOND, 0.1, duration),
        burst_onsets=np.sort(random.uniform(0, duration, num_bursts)),
        burst_shifts=0.15 * random.standard_normal((num_bursts, 3)),
    )


def _rhythm(random: np.random.Generator, rate: float, spread: float, duration: float) -> np.ndarray:
    """Onsets with intervals that vary by `spread` (relative sd)."""
    num_intervals = int(2 * duration * rate) + 2
    intervals = (1 + np.clip(spread * random.standard_normal(num_intervals), -0.5, 0.5)) / rate
    onsets = np.cumsum(intervals) - intervals[0] * random.random()
    return onsets[onsets < duration]


def phase(onsets: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The phase (radians) of a rhythm at `times`, rising by 2 pi from one onset to the next."""
    return 2 * np.pi * np.interp(times, onsets, np.arange(onsets.size))
