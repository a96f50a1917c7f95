"""What stays the same in a subject: anatomy, coupling, response, rhythm and cap position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .levels import Level
from .networks import NETWORKS, NODES
from .presets import Preset
from .streams import stream

POSITION_JITTER = 4.0  # mm
RESPONSE_PEAK = 5.5  # s
RESPONSE_JITTER = 0.6  # s
ALPHA_JITTER = 0.7  # Hz
AMPLITUDE_JITTER = 0.25
ELECTRODE_JITTER = 4.0  # mm
ROTATION_JITTER = 6.0  # degrees
TRANSLATION_JITTER = 6.0  # mm
SCALE_JITTER = 0.05
WARP_JITTER = 3.0  # mm
TASK_JITTER = 0.3


@dataclass(frozen=True)
class Traits:
    """One subject.

    Args:
        nodes (`np.ndarray` of shape `(num_nodes, 3)`): node centres, MNI mm.
        weights (`np.ndarray` of shape `(num_networks, num_bands)`): BOLD response to the rhythms.
        response_peaks (`np.ndarray` of shape `(num_networks,)`): of the haemodynamic response, s.
        amplitudes (`np.ndarray` of shape `(num_networks,)`): relative EEG amplitude of each network.
        background (`float`): relative EEG amplitude of everything else.
        alpha_shift (`float`): of the individual alpha rhythm, Hz.
        electrode_shifts (`np.ndarray` of shape `(num_electrodes + 1, 3)`): mm, the reference last.
        background_picks (`np.ndarray` of shape `(120,)`): where on the cortex the background dipoles sit, in [0, 1).
        heart_rate (`float`): beats per second.
        gain (`float`): relative scanner gain.
        coil (`np.ndarray` of shape `(3,)`): gradient of the coil's sensitivity along x, y, z, per 100 mm.
        rotation (degrees), translation (mm), scale (`np.ndarray` of shape `(3,)`): the head's pose and size.
        warp (`np.ndarray` of shape `(3, 4, 4, 4)`): smooth deformation on a coarse grid, mm.
        task_gain (`float`): how strongly the rhythms respond to a task.
    """

    nodes: np.ndarray
    weights: np.ndarray
    response_peaks: np.ndarray
    amplitudes: np.ndarray
    background: float
    alpha_shift: float
    electrode_shifts: np.ndarray
    background_picks: np.ndarray
    heart_rate: float
    gain: float
    coil: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    scale: np.ndarray
    warp: np.ndarray
    task_gain: float


def draw_traits(preset: Preset, level: Level, seed: int, subject: int) -> Traits:
    """The traits of one subject, from `SeedSequence([seed, subject])` alone."""
    random = stream("traits", seed, subject)
    num_networks = len(NETWORKS)
    weights = np.array([network.weights for network in NETWORKS], dtype=float)
    return Traits(
        nodes=NODES + POSITION_JITTER * random.standard_normal(NODES.shape),
        weights=weights * (1 + level.coupling_jitter * random.standard_normal(weights.shape)),
        response_peaks=RESPONSE_PEAK + RESPONSE_JITTER * _clipped(random, num_networks),
        amplitudes=np.exp(AMPLITUDE_JITTER * random.standard_normal(num_networks)),
        background=float(np.exp(AMPLITUDE_JITTER * _clipped(random, 1)[0])),
        alpha_shift=ALPHA_JITTER * float(_clipped(random, 1)[0]),
        heart_rate=float(random.uniform(0.9, 1.25)),
        gain=float(np.exp(0.1 * random.standard_normal())),
        coil=0.1 * random.standard_normal(3),
        rotation=preset.pose * ROTATION_JITTER * random.standard_normal(3),
        translation=preset.pose * TRANSLATION_JITTER * random.standard_normal(3),
        scale=np.exp(preset.pose * SCALE_JITTER * _clipped(random, 3)),
        warp=preset.pose * WARP_JITTER * random.standard_normal((3, 4, 4, 4)),
        background_picks=random.random(120),
        electrode_shifts=ELECTRODE_JITTER * random.standard_normal((len(preset.electrodes) + 1, 3)),
        task_gain=float(np.exp(TASK_JITTER * _clipped(random, 1)[0])),
    )


def _clipped(random: np.random.Generator, size: int) -> np.ndarray:
    """Standard normal numbers, kept within two standard deviations: no response peaks before the stimulus."""
    return np.clip(random.standard_normal(size), -2.0, 2.0)
