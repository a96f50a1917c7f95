"""Features of the regressions: log band power of the stored spectra, at the lags that the EEG window holds."""

from __future__ import annotations

import numpy as np
from nilearn.glm.first_level import spm_hrf

from ..processing.eeg import EEGProcessor
from .run import NotAvailable, Run

BANDS = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}  # Hz
POSTERIOR = ("O", "PO")
SMALLEST_POWER = 1e-12  # uV^2
RESPONSE_STEP = 0.1  # s


def power(spectra: np.ndarray, mode: str) -> np.ndarray:
    """Stored spectra `[column, C, electrode, frequency]` of any mode to power `[column, electrode, frequency]`.

    In uV^2; relative to the recording's median where the processor subtracts that.
    """
    if mode == "log_power":
        return np.exp(spectra[:, 0].astype(np.float64))
    return (spectra.astype(np.float64) ** 2).sum(axis=1) / 2


def log_band_power(values: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Power `[column, place, frequency]` to log power in the five bands, `[column, place, band]`.

    A band narrower than the distance of two frequencies is its nearest frequency.
    """
    bands = []
    for low, high in BANDS.values():
        inside = (frequencies >= low) & (frequencies < high)
        if not inside.any():
            inside = np.arange(len(frequencies)) == np.argmin(np.abs(frequencies - (low + high) / 2))
        bands.append(np.log(values[..., inside].mean(axis=-1) + SMALLEST_POWER))
    return np.stack(bands, axis=-1)


def sensor_features(run: Run) -> np.ndarray:
    """Log band power of every electrode, band and window, `[N, window * electrode * band]`."""
    processor = run.eeg_processor
    bands = log_band_power(power(run.spectra(), processor.config.mode), processor.frequencies)
    return bands[run.columns].reshape(len(run.columns), -1)


def alpha_features(run: Run) -> np.ndarray:
    """Posterior log alpha power through the canonical haemodynamic response, `[N, 1]`.

    Raises:
        NotAvailable: when there is no occipital electrode.
    """
    processor = run.eeg_processor
    posterior = [name.startswith(POSTERIOR) for name in processor.config.electrodes]
    if not any(posterior):
        raise NotAvailable(
            "electrodes",
            found="no occipital one",
            expected="one whose name starts with O or PO",
            remedy="Prepare the dataset with such an electrode.",
        )
    values = power(run.spectra()[:, :, posterior], processor.config.mode)
    alpha = log_band_power(values, processor.frequencies)[..., list(BANDS).index("alpha")].mean(axis=1)
    response = spm_hrf(RESPONSE_STEP, oversampling=1)
    weights = np.interp(-window_centres(processor), RESPONSE_STEP * np.arange(len(response)), response)
    return (alpha[run.columns] @ weights)[:, None]


def latent_features(run: Run) -> np.ndarray:
    """The simulator's own latents in every window, `[N, window * latent]`.

    Raises:
        NotAvailable: for measured data.
    """
    truth = run.truth
    if truth is None:
        raise NotAvailable(
            "latents", found="measured data", expected="a simulation", remedy="Nothing is known of their latents."
        )
    times = (run.onsets[:, None] + window_centres(run.eeg_processor)).ravel()
    latents = [np.interp(times, truth.latent_times, latent) for latent in truth.latents.T]
    return np.stack(latents, axis=-1).reshape(len(run.onsets), -1)


def window_centres(processor: EEGProcessor) -> np.ndarray:
    """Centres of the windows in seconds from the volume's onset, `[window]`."""
    return processor.config.window_start + processor.window_duration * (np.arange(processor.config.num_windows) + 0.5)
