"""The BOLD run: network series times patterns, global signal, and what disturbs a voxel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal

from .anatomy import SIGNAL, Anatomy
from .latents import HISTORY, RATE, SLOW_BAND, band_limited, respond, standardise
from .levels import Level
from .networks import NETWORKS
from .physiology import Physiology, phase
from .presets import Preset
from .traits import RESPONSE_PEAK, Traits

SMOOTH_SHARE = 0.4  # of the noise variance
SMOOTH_WIDTH = 5.0  # mm, sd
DRIFT = 0.6  # percent, sd
PHYSIOLOGICAL = 0.3  # percent, sd
RICIAN = 0.01  # of the grey matter's signal


def network_series(
    level: Level, traits: Traits, latents: np.ndarray, onsets: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What each network does in BOLD: `sqrt(kappa) HRF_k * sum_b W_kb z_kb + sqrt(1 - kappa) uncoupled_k`.

    Both parts have unit variance over the run before kappa divides it between them. A network without weights (the
    dark one) has the uncoupled part alone.

    Args:
        level, traits: what is simulated.
        latents (`np.ndarray` of shape `(num_networks, num_bands, num_times)`): at 10 Hz, from `HISTORY` before EEG.
        onsets (`np.ndarray` of shape `(num_volumes,)`): s from the first EEG sample.
        random (`np.random.Generator`): of the uncoupled part.

    Returns:
        `tuple`: coupled and uncoupled part, both `[network, volume]`.
    """
    activity = np.einsum("kb,kbt->kt", traits.weights, latents)
    own = band_limited(random, activity.shape, RATE, *SLOW_BAND)
    kappa = np.array([level.coupling if any(network.weights) else 0.0 for network in NETWORKS])[:, None]
    coupled = np.zeros((len(NETWORKS), onsets.size))
    for index in np.flatnonzero(kappa[:, 0]):
        coupled[index] = standardise(at_volumes(respond(activity[index], traits.response_peaks[index]), onsets))
    uncoupled = [
        standardise(at_volumes(respond(series, peak), onsets))
        for series, peak in zip(own, traits.response_peaks, strict=True)
    ]
    return np.sqrt(kappa) * coupled, np.sqrt(1 - kappa) * np.array(uncoupled)


def global_series(level: Level, arousal: np.ndarray, onsets: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The signal that the whole brain shares, unit variance: it falls with arousal, and fluctuates by itself."""
    own = band_limited(random, arousal.shape, RATE, *SLOW_BAND)
    parts = [standardise(at_volumes(respond(series, RESPONSE_PEAK), onsets)) for series in (-arousal, own)]
    return np.sqrt(level.global_arousal) * parts[0] + np.sqrt(1 - level.global_arousal) * parts[1]


def at_volumes(series: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """A series at 10 Hz that starts `HISTORY` before EEG, at the volumes' onsets."""
    return np.interp(onsets, np.arange(series.size) / RATE - HISTORY, series)


def scan(
    preset: Preset,
    level: Level,
    anatomy: Anatomy,
    series: np.ndarray,
    shared: np.ndarray,
    physiology: Physiology,
    onsets: np.ndarray,
    confounds: np.random.Generator,
    noise: np.random.Generator,
) -> np.ndarray:
    """The volumes as the scanner gives them.

    Args:
        preset, level, anatomy: what is simulated.
        series (`np.ndarray` of shape `(num_networks, num_volumes)`): unit variance.
        shared (`np.ndarray` of shape `(num_volumes,)`): the global signal, unit variance.
        physiology (`Physiology`): heart, breath, movement.
        onsets (`np.ndarray` of shape `(num_volumes,)`): s from the first EEG sample.
        confounds, noise (`np.random.Generator`): random streams.

    Returns:
        `np.ndarray` of shape `(x, y, z, num_volumes)`, float32, scanner units.
    """
    brain = anatomy.brain
    # Arousal, which EEG shows, is part of the global signal: it must not reach the dark region.
    everywhere = np.clip(1 - 2 * anatomy.dark, 0, 1)
    patterns = [*(level.change * anatomy.maps), level.global_change * everywhere]
    courses = [*series, shared]
    for more_patterns, more_courses in (
        _drift(preset, anatomy, onsets.size, confounds),
        _pulsation(preset, anatomy, physiology, onsets, confounds),
    ):
        patterns += more_patterns
        courses += more_courses
    change = _voxel_noise(preset, brain, onsets.size, noise)
    mixing = np.stack([pattern[brain] for pattern in patterns], axis=1).astype(np.float32)
    change += mixing @ np.array(courses, dtype=np.float32)

    signals = np.zeros((*preset.shape, onsets.size), dtype=np.float32)
    signals[...] = anatomy.image[..., None]
    signals[brain] *= 1 + change / 100
    signals += _displacement(anatomy, physiology, onsets, confounds)
    return _rician(signals, noise)


def _drift(
    preset: Preset, anatomy: Anatomy, num_volumes: int, random: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Slow changes of the scanner: a line and two slow waves, each with a smooth pattern of its own."""
    time = np.linspace(-1, 1, num_volumes)
    courses = [standardise(course) for course in (time, np.cos(np.pi * time), np.sin(np.pi * time))]
    return [DRIFT / np.sqrt(3) * _smooth_pattern(preset, anatomy, random) for _ in courses], courses


def _pulsation(
    preset: Preset, anatomy: Anatomy, physiology: Physiology, onsets: np.ndarray, random: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Heart and breath, as the slow sampling shows them, strongest in liquor and vessels."""
    where = 0.5 + anatomy.liquid / max(anatomy.liquid[anatomy.brain].mean(), 1e-6) / 2
    patterns, courses = [], []
    for rhythm in (physiology.beats, physiology.breaths):
        for wave in (np.cos, np.sin):
            courses.append(np.sqrt(2) * wave(phase(rhythm, onsets)))
            patterns.append(PHYSIOLOGICAL / 2 * where * _smooth_pattern(preset, anatomy, random))
    return patterns, courses


def _smooth_pattern(preset: Preset, anatomy: Anatomy, random: np.random.Generator) -> np.ndarray:
    """A random pattern that varies over centimetres, unit rms in the brain."""
    pattern = ndimage.gaussian_filter(random.standard_normal(preset.shape), 25.0 / np.array(preset.voxel_size))
    return pattern / np.sqrt(np.mean(pattern[anatomy.brain] ** 2))


def _voxel_noise(preset: Preset, brain: np.ndarray, num_volumes: int, random: np.random.Generator) -> np.ndarray:
    """AR(1) noise `[voxel of the brain, volume]`, percent, partly smooth in space."""
    white = random.standard_normal((num_volumes, *brain.shape), dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, (0, *(SMOOTH_WIDTH / np.array(preset.voxel_size))), mode="wrap")
    smooth /= smooth.std()
    mixed = np.sqrt(1 - SMOOTH_SHARE) * random.standard_normal((num_volumes, int(brain.sum())), dtype=np.float32)
    mixed += np.sqrt(SMOOTH_SHARE) * smooth[:, brain]
    innovation = np.sqrt(1 - preset.autocorrelation**2)
    mixed[0] /= innovation  # the first volume has the stationary variance
    filtered = signal.lfilter([innovation], [1.0, -preset.autocorrelation], mixed, axis=0)
    return (preset.noise * filtered.T).astype(np.float32)


def _displacement(
    anatomy: Anatomy, physiology: Physiology, onsets: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """What head movement changes, to first order: the image's gradient times the movement."""
    steps = 0.01 * random.standard_normal((onsets.size, 3))
    movement = np.cumsum(steps, axis=0)
    for onset, shift in zip(physiology.burst_onsets, physiology.burst_shifts, strict=True):
        since = onsets - onset
        # A jerk that is over after a few seconds, and a tenth of it that stays.
        movement += (since >= 0)[:, None] * (0.1 + np.exp(-np.maximum(since, 0) / 2))[:, None] * shift
    movement -= movement.mean(axis=0)
    steps_in_mm = np.abs(np.diag(anatomy.affine)[:3])
    gradient = np.stack(np.gradient(anatomy.image), axis=-1) / steps_in_mm
    return (gradient @ movement.T).astype(np.float32)


def _rician(signals: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The magnitude of the signal with complex noise."""
    width = np.float32(RICIAN * SIGNAL)
    real = signals + width * random.standard_normal(signals.shape, dtype=np.float32)
    imaginary = width * random.standard_normal(signals.shape, dtype=np.float32)
    return np.hypot(real, imaginary)
