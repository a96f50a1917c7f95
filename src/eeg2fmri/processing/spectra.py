"""Pure functions from signals to spectra: resample, cut columns, transform."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from scipy.fft import rfft
from scipy.signal import resample_poly

POWER_FLOOR = 1e-6  # uV^2, a sine of 1.4 nV: far below any amplifier's noise, keeps the logarithm finite
SHRINKAGE = 0.02  # of a covariance towards a sphere: interpolated electrodes are sums of others
MAX_DRIFT = 0.1  # samples, over the whole recording
DENOMINATORS = (1_000, 100_000)


def resample(signals: np.ndarray, rate: float, new_rate: float) -> np.ndarray:
    """Resample `[electrode, time]` with a linear-phase filter; sample k stays at k / rate seconds.

    A straight line from the first to the last sample is taken out meanwhile, so that offsets and drifts of DC-coupled
    recordings make no ringing at the edges.
    """
    for denominator in DENOMINATORS:
        ratio = Fraction(new_rate / rate).limit_denominator(denominator)
        if abs(float(ratio) * rate / new_rate - 1) * signals.shape[1] * new_rate / rate <= MAX_DRIFT:
            break
    if ratio == 1:
        return signals
    # One electrode at a time: at 5 kHz a copy of all of them is a gigabyte.
    return np.stack([_resample_one(signal, ratio.numerator, ratio.denominator) for signal in signals])


def _resample_one(signal: np.ndarray, up: int, down: int) -> np.ndarray:
    slope = (signal[-1] - signal[0]) / (len(signal) - 1)
    made = resample_poly(signal - (signal[0] + slope * np.arange(len(signal))), up, down)
    return made + signal[0] + slope * (down / up) * np.arange(len(made))


def amplitudes(signals: np.ndarray, starts: np.ndarray, num_samples: int, num_bins: int) -> np.ndarray:
    """Complex Fourier amplitudes of rectangular windows, scaled so that a sine of amplitude A has magnitude A.

    `X_b = 2 / n * sum_t x_t exp(-2 pi i b t / n)` for bins b = 1..num_bins; the constant (bin 0) is dropped.

    Args:
        signals (`np.ndarray` of shape `[electrode, time]`): any unit.
        starts (`np.ndarray` of shape `[column]`): first sample of every window.
        num_samples (`int`): n, the window's length.
        num_bins (`int`): how many bins to keep.

    Returns:
        `np.ndarray` of shape `[column, electrode, num_bins]`: complex, the signals' unit.
    """
    windows = np.lib.stride_tricks.sliding_window_view(signals, num_samples, axis=1)[:, starts]
    return (2 / num_samples) * rfft(windows, axis=-1)[..., 1 : num_bins + 1].swapaxes(0, 1)


def as_channels(amplitude: np.ndarray, mode: str, bins_per_frequency: int) -> np.ndarray:
    """Turn complex amplitudes in uV into the input channels of a mode.

    Args:
        amplitude (`np.ndarray` of shape `[column, electrode, bin]`): complex, uV.
        mode (`str`): `"magnitude"`: |X| in uV, mean over neighbouring bins. `"log_power"`: natural logarithm of the
            mean square |X|^2 / 2 in uV^2, mean over neighbouring bins. `"complex"`: real and imaginary part in uV.
        bins_per_frequency (`int`): how many neighbouring bins make one frequency.

    Returns:
        `np.ndarray` of shape `[column, channel, electrode, frequency]`: float32.
    """
    if mode == "complex":
        return np.stack([amplitude.real, amplitude.imag], axis=1).astype(np.float32)
    values = np.abs(amplitude)
    if mode == "log_power":
        values = values**2 / 2
    values = values.reshape(*values.shape[:2], -1, bins_per_frequency).mean(axis=-1)
    if mode == "log_power":
        values = np.log(values + POWER_FLOOR)
    return values[:, None].astype(np.float32)


def whiten(spectra: np.ndarray) -> np.ndarray:
    """Align a recording's complex spectra: no fall over frequency, electrodes uncorrelated with equal variance.

    A power law, fitted to the loudness of the recording's frequencies, is divided out; rhythms stay above it. Caps,
    skulls and amplifiers differ between people; what follows sees recordings alike ("Euclidean alignment", He and Wu
    2020, doi:10.1109/TBME.2019.2913914). Medians, and columns that count alike however loud (the normalised sample
    covariance), keep movement out of it.

    Args:
        spectra (`np.ndarray` of shape `[column, 2, electrode, frequency]`): real and imaginary part, a recording's
            columns.

    Returns:
        `np.ndarray` of the same shape: without unit; a silent recording stays zero.
    """
    levelled = _divided(spectra, _power_law(np.sqrt(np.median(np.square(spectra).mean((1, 2)), axis=0))))
    power = np.square(levelled).mean((1, 2, 3), keepdims=True)
    unit = _divided(levelled, np.sqrt(power)).swapaxes(0, 2).reshape(spectra.shape[2], -1).astype(np.float64)
    covariance = unit @ unit.T / unit.shape[1]
    sphere = covariance.trace() / len(covariance)
    if not sphere > 0:
        return np.zeros_like(spectra)
    variances, axes = np.linalg.eigh(covariance + SHRINKAGE * sphere * np.eye(len(covariance)))
    whitening = (axes / np.sqrt(variances)) @ axes.T
    levelled = _divided(levelled, np.sqrt(np.median(power)))
    return np.einsum("ij,kcjf->kcif", whitening, levelled).astype(np.float32)


def _power_law(loudness: np.ndarray) -> np.ndarray:
    """The law `a * f^b` next to the loudness `[frequency]` of bins 1, 2, ...; zero where there is silence."""
    heard = loudness > 0
    law = np.zeros_like(loudness)
    if heard.any():
        logarithms = np.log(np.arange(1, len(loudness) + 1))[heard]
        degree = min(1, len(logarithms) - 1)
        fit = np.polynomial.Polynomial.fit(logarithms, np.log(loudness[heard]), degree)
        law[heard] = np.exp(fit(logarithms))
    return law


def _divided(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """values / scale, and zero where the scale is: what is silent most of the time says nothing."""
    return np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)
