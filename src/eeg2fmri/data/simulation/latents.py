"""The slow fluctuations that EEG and BOLD share, and the haemodynamic response that links them."""

from __future__ import annotations

import numpy as np
from scipy import fft, signal, stats

from .levels import Level
from .networks import BANDS, NETWORK_NAMES, NETWORKS

RATE = 10.0  # Hz
HISTORY = 32.0  # s before the first EEG sample: the length of the haemodynamic response
SLOW_BAND = (0.008, 0.12)  # Hz
AROUSAL_BAND = (0.003, 0.04)  # Hz


def band_limited(
    random: np.random.Generator, size: tuple[int, ...], rate: float, low: float, high: float
) -> np.ndarray:
    """Gaussian noise between two frequencies, zero mean and unit variance along the last axis.

    Args:
        random (`np.random.Generator`): where the noise comes from.
        size: shape of the result; the last axis is time.
        rate (`float`): Hz.
        low, high (`float`): the band, Hz.
    """
    # The inverse transform is periodic: what is cut off at the end keeps the end from resembling the start.
    length = fft.next_fast_len(size[-1] + int(rate / low), real=True)
    frequencies = fft.rfftfreq(length, 1 / rate)
    inside = (frequencies >= low) & (frequencies <= high)
    spectrum = np.zeros((*size[:-1], frequencies.size), dtype=complex)
    shape = (*size[:-1], int(inside.sum()))
    spectrum[..., inside] = random.standard_normal(shape) + 1j * random.standard_normal(shape)
    return standardise(fft.irfft(spectrum, length, axis=-1)[..., : size[-1]])


def standardise(series: np.ndarray) -> np.ndarray:
    """Zero mean and unit standard deviation along the last axis."""
    series = series - series.mean(axis=-1, keepdims=True)
    return series / series.std(axis=-1, keepdims=True)


def draw_latents(random: np.random.Generator, level: Level, num_times: int) -> tuple[np.ndarray, np.ndarray]:
    """The log amplitudes of all rhythms.

    `z_kb = sqrt(a) arousal + sqrt(n) common_k + sqrt(p) private_kb`, with the level's variance shares a, n, p.

    Args:
        random (`np.random.Generator`): where they come from.
        level (`Level`): the variance shares.
        num_times (`int`): at 10 Hz.

    Returns:
        `tuple`: z `[network, band, time]` and arousal `[time]`.
    """
    arousal = band_limited(random, (num_times,), RATE, *AROUSAL_BAND)
    common = band_limited(random, (len(NETWORKS), 1, num_times), RATE, *SLOW_BAND)
    private = band_limited(random, (len(NETWORKS), len(BANDS), num_times), RATE, *SLOW_BAND)
    latents = np.sqrt(level.arousal) * arousal + np.sqrt(level.network) * common + np.sqrt(level.private) * private
    for index, network in enumerate(NETWORKS):
        if network.driver is not None:
            latents[index] = latents[NETWORK_NAMES.index(network.driver)]
    return latents, arousal


def haemodynamic_response(peak: float) -> np.ndarray:
    """The double-gamma response at 10 Hz over 32 s: a peak, and a sixth of it as an undershoot of shape 16.

    Args:
        peak (`float`): time of the peak, s.
    """
    times = np.arange(0, HISTORY, 1 / RATE)
    response = stats.gamma.pdf(times, peak + 1) - stats.gamma.pdf(times, 16) / 6
    return response / response.sum()


def respond(activity: np.ndarray, peak: float) -> np.ndarray:
    """The haemodynamic response to an activity `[time]` at 10 Hz; causal, the same length."""
    return signal.fftconvolve(activity, haemodynamic_response(peak))[: activity.size]
