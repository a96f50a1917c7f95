"""The EEG of one run: rhythms and background through the forward model, then what a scanner adds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import fft

from .head import cortex, electrode_positions, nearest_dipoles, referenced_fields
from .latents import HISTORY, RATE, band_limited
from .levels import Level
from .networks import BANDS, CORTICAL_NODES, NETWORKS, NODE_NETWORKS
from .physiology import Physiology
from .presets import Preset
from .traits import Traits

MODULATION = 0.45  # log amplitude per standard deviation of a latent
BACKGROUND = 8e-6  # V, rms
BLINK = 25e-6  # V, peak at the forehead
BLINKS_PER_MINUTE = 10.0
PULSE = 6e-6  # V, peak
GRADIENT = 2e-6  # V, rms
BURST = 40e-6  # V, peak
SENSOR_NOISE = 0.5e-6  # V, rms
HIGHEST_GRADIENT_HARMONIC = 45.0  # Hz


def neural_signals(
    preset: Preset,
    level: Level,
    traits: Traits,
    latents: np.ndarray,
    num_samples: int,
    carriers: np.random.Generator,
    background: np.random.Generator,
) -> np.ndarray:
    """What the brain gives: `sum_nodes topography * carrier * exp(0.45 z)` for every band, and the pink background.

    The networks' power is set against the background's in each band by the level.

    Args:
        preset, level, traits: what is simulated.
        latents (`np.ndarray` of shape `(num_networks, num_bands, num_times)`): at 10 Hz, from `HISTORY` before EEG.
        num_samples (`int`): at the preset's sampling rate.
        carriers, background (`np.random.Generator`): random streams.

    Returns:
        `np.ndarray` of shape `(num_electrodes, num_samples)`, volts.
    """
    topographies, pink_topographies = _topographies(preset, traits)
    pink, shares = _pink_noise(background, pink_topographies.shape[1], num_samples, preset.sampling_rate)
    signals = pink_topographies @ pink
    signals *= BACKGROUND * traits.background / np.sqrt(np.mean(signals**2))

    times = np.arange(num_samples) / preset.sampling_rate
    latent_times = np.arange(latents.shape[-1]) / RATE - HISTORY
    networks = NODE_NETWORKS[CORTICAL_NODES]
    nodes_per_network = np.bincount(networks, minlength=len(NETWORKS))
    for band, (low, high) in enumerate(_individual_bands(traits)):
        rhythms = np.array([NETWORKS[network].rhythms[band] for network in networks])
        power = rhythms / nodes_per_network[networks]
        power *= level.power[band] * shares[band] * (BACKGROUND * traits.background) ** 2 / power.sum()
        sources = band_limited(carriers, (networks.size, num_samples), preset.sampling_rate, low, high)
        for source, network in zip(sources, networks, strict=True):
            envelope = np.interp(times, latent_times, latents[network, band])
            # E[exp(2 m z)] = exp(2 m^2) for standard normal z.
            source *= np.exp(MODULATION * envelope - MODULATION**2)
        signals += (topographies * (np.sqrt(power) * traits.amplitudes[networks])) @ sources
    return signals


def _individual_bands(traits: Traits) -> list[tuple[float, float]]:
    """The bands' limits, with the subject's own alpha: a rhythm 2 Hz wide, around 10 Hz."""
    bands = dict(BANDS)
    bands["alpha"] = (9.0 + traits.alpha_shift, 11.0 + traits.alpha_shift)
    return list(bands.values())


def _topographies(preset: Preset, traits: Traits) -> tuple[np.ndarray, np.ndarray]:
    """Topographies of the cortical nodes (unit rms) and of the background's dipoles, `[electrode, source]`."""
    nodes = [nearest_dipoles(traits.nodes[node]) for node in CORTICAL_NODES]
    picks = (traits.background_picks * len(cortex()[0])).astype(int)
    singles = [np.array([dipole]) for dipole in picks]
    names = (*preset.electrodes, preset.reference)
    fields = referenced_fields(names, traits.electrode_shifts, nodes + singles)
    of_nodes, of_background = fields[:, : len(nodes)], fields[:, len(nodes) :]
    return of_nodes / np.sqrt(np.mean(of_nodes**2, axis=0)), of_background


def _pink_noise(
    random: np.random.Generator, num_sources: int, num_samples: int, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """1/f noise above 0.5 Hz, and the share of its power in each band."""
    length = fft.next_fast_len(num_samples, real=True)
    frequencies = fft.rfftfreq(length, 1 / rate)
    power = np.where(frequencies >= 0.5, 1 / np.maximum(frequencies, 0.5), 0.0)
    shares = [power[(frequencies >= low) & (frequencies < high)].sum() for low, high in BANDS.values()]
    noise = fft.irfft(fft.rfft(random.standard_normal((num_sources, length))) * np.sqrt(power), length)
    return noise[:, :num_samples], np.array(shares) / power.sum()


def artefacts(
    preset: Preset, traits: Traits, physiology: Physiology, num_samples: int, random: np.random.Generator
) -> np.ndarray:
    """Blinks, and the residue of pulse, gradient and movement artefacts, `[electrode, time]` volts."""
    rate = preset.sampling_rate
    names = (*preset.electrodes, preset.reference)
    directions = electrode_positions(names)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    def topography(values: np.ndarray) -> np.ndarray:
        return values[:-1] - values[-1]

    duration = num_samples / rate
    blinks = np.sort(random.uniform(0, duration, random.poisson(BLINKS_PER_MINUTE * duration / 60)))
    forehead = np.array([0.0, 0.94, -0.34])
    eyes = topography(np.exp(6 * (directions @ forehead - 1)))
    signals = BLINK / np.abs(eyes).max() * np.outer(eyes, _events(blinks, _blink(rate), num_samples, rate))

    # The field's force on the pulsating head turns left against right, with some front against back.
    turning = topography(directions @ (np.array([1.0, 0.3, 0.0]) + 0.3 * random.standard_normal(3)))
    strengths = 1 + 0.2 * random.standard_normal(physiology.pulse_onsets.size)
    beats = _events(physiology.pulse_onsets, _pulse(rate), num_samples, rate, strengths)
    signals += PULSE / np.abs(turning).max() * np.outer(turning, beats)

    signals += GRADIENT * _gradient_residue(preset, num_samples, random)
    for onset in physiology.burst_onsets:
        shaking = topography(directions @ random.standard_normal(3)) + 0.3 * random.standard_normal(len(names) - 1)
        course = _shake(rate, random)
        signals += BURST / np.abs(shaking).max() * np.outer(shaking, _events([onset], course, num_samples, rate))
    return signals


def _gradient_residue(preset: Preset, num_samples: int, random: np.random.Generator) -> np.ndarray:
    """Unit-rms lines at the harmonics of the slice frequency, from the first volume on."""
    slice_rate = preset.shape[2] / preset.repetition_time
    highest = min(HIGHEST_GRADIENT_HARMONIC, preset.sampling_rate / 2 - 1)
    harmonics = slice_rate * np.arange(1, max(int(highest / slice_rate), 1) + 1)
    times = np.arange(num_samples) / preset.sampling_rate - preset.lead_in
    weights = random.standard_normal((2, len(preset.electrodes), harmonics.size)) / np.sqrt(2 * harmonics.size)
    phases = 2 * np.pi * harmonics[:, None] * times
    residue = np.sqrt(2) * (weights[0] @ np.cos(phases) + weights[1] @ np.sin(phases))
    return residue * (times >= 0)


def sensor_noise(preset: Preset, num_samples: int, random: np.random.Generator) -> np.ndarray:
    """White noise of the amplifier, `[electrode, time]` volts."""
    return SENSOR_NOISE * random.standard_normal((len(preset.electrodes), num_samples))


def electrocardiogram(
    preset: Preset, physiology: Physiology, num_samples: int, random: np.random.Generator
) -> np.ndarray:
    """The ECG channel: a QRS complex and a T wave at each beat, volts."""
    rate = preset.sampling_rate
    times = np.arange(-0.1, 0.45, 1 / rate)
    shape = np.exp(-0.5 * (times / 0.012) ** 2) - 0.2 * np.exp(-0.5 * ((times - 0.035) / 0.012) ** 2)
    shape += 0.25 * np.exp(-0.5 * ((times - 0.28) / 0.04) ** 2)
    beats = _events(physiology.pulse_onsets - 0.1, shape, num_samples, rate)
    return 1e-3 * beats + 2e-5 * random.standard_normal(num_samples)


def _events(
    onsets: Iterable[float],
    shape: np.ndarray,
    num_samples: int,
    rate: float,
    strengths: np.ndarray | None = None,
) -> np.ndarray:
    """A course `[time]` with `shape` at every onset (seconds)."""
    course = np.zeros(num_samples + 2 * shape.size)
    for index, onset in enumerate(onsets):
        start = round(onset * rate) + shape.size
        course[start : start + shape.size] += shape if strengths is None else strengths[index] * shape
    return course[shape.size : shape.size + num_samples]


def _blink(rate: float) -> np.ndarray:
    return np.hanning(int(0.35 * rate))


def _pulse(rate: float) -> np.ndarray:
    """A damped swing of 0.6 s, 0.2 s after the R peak."""
    times = np.arange(0, 0.8, 1 / rate)
    swing = np.exp(-(((times - 0.35) / 0.12) ** 2)) * np.sin(2 * np.pi * 4 * (times - 0.2))
    return swing / np.abs(swing).max()


def _shake(rate: float, random: np.random.Generator) -> np.ndarray:
    """Irregular slow movement under a window of 1.5 s."""
    window = np.hanning(int(1.5 * rate))
    course = window * band_limited(random, (window.size,), rate, 0.7, 6.0)
    return course / np.abs(course).max()
