"""What a plain ridge can learn: something where EEG and BOLD are coupled, nothing where they are not."""

import numpy as np
import pytest
from scipy import signal

from eeg2fmri.data.simulation import BANDS, simulate_run
from eeg2fmri.data.simulation.latents import haemodynamic_response, standardise

NUM_TRAINING, NUM_TEST, NUM_COUPLED = 20, 6, 15
FIRST = 10  # volumes whose response reaches back before the recording


def features(run):
    """Log band power of every electrode, convolved with the mean response, at the volumes."""
    response = haemodynamic_response(5.5)[::5]
    courses = []
    for band in BANDS.values():
        sections = signal.butter(3, band, "bandpass", fs=run.sampling_rate, output="sos")
        power = signal.sosfiltfilt(sections, run.eeg) ** 2
        power = power[:, : power.shape[1] // 64 * 64].reshape(len(power), -1, 64).mean(axis=-1)
        power = np.log(power)
        courses.append(signal.lfilter(response, [1.0], power - power.mean(axis=1, keepdims=True)))
    courses = np.concatenate(courses)
    times = (np.arange(courses.shape[1]) + 0.5) / 2
    return np.array([np.interp(run.volume_onsets, times, course) for course in courses])


def network_means(run):
    """Mean percent change of every network's core."""
    mean = run.bold.mean(axis=-1)
    cores = [np.where(pattern > 0.5, pattern, 0) for pattern in run.truth["maps"]]
    return np.array([np.average(100 * run.bold[core > 0] / mean[core > 0, None], 0, core[core > 0]) for core in cores])


def example(level, subject):
    run = simulate_run(level=level, subject=subject)
    time = np.linspace(-1, 1, run.volume_onsets.size)
    slow = np.stack([np.cos(np.pi * order * (time + 1) / 2) for order in range(4)], axis=1)

    def cleaned(series):
        return standardise(series - (series @ np.linalg.pinv(slow).T) @ slow.T)[:, FIRST:].T

    return cleaned(features(run)), cleaned(network_means(run))


def mean_correlation(level):
    training = [example(level, subject) for subject in range(NUM_TRAINING)]
    inputs, targets = (np.concatenate(parts) for parts in zip(*training, strict=True))
    weights = np.linalg.solve(inputs.T @ inputs + 1000 * np.eye(inputs.shape[1]), inputs.T @ targets)
    correlations = [
        np.corrcoef(inputs @ weights[:, network], targets[:, network])[0, 1]
        for inputs, targets in (example(level, 100 + subject) for subject in range(NUM_TEST))
        for network in range(NUM_COUPLED)
    ]
    return np.mean(correlations)


@pytest.mark.slow
def test_ridge_learns_from_easy():
    assert mean_correlation("easy") > 0.25


@pytest.mark.slow
def test_ridge_learns_nothing_from_null():
    assert abs(mean_correlation("null")) < 0.10
