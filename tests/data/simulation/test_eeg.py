"""The simulated EEG: forward model, spectrum, rhythms that follow the latents."""

import numpy as np
import pytest
from scipy import signal

from eeg2fmri.data.simulation import BANDS, NETWORK_NAMES, PRESETS, simulate_run
from eeg2fmri.data.simulation.eeg import _gradient_residue
from eeg2fmri.data.simulation.head import cortex, electrode_positions, lead_field, nearest_dipoles, referenced_fields


@pytest.fixture(scope="module")
def runs():
    return [simulate_run(subject=subject) for subject in range(3)]


def log_power(run, electrode, band):
    """Log band power of one electrode at 2 Hz, and its times."""
    sections = signal.butter(3, BANDS[band], "bandpass", fs=run.sampling_rate, output="sos")
    power = signal.sosfiltfilt(sections, run.eeg[run.electrodes.index(electrode)]) ** 2
    power = power[: power.size // 64 * 64].reshape(-1, 64).mean(axis=1)
    return np.log(power), (np.arange(power.size) + 0.5) / 2


def lagged_correlation(run, network, electrode, band, lag):
    power, times = log_power(run, electrode, band)
    latent = run.truth["latents"][NETWORK_NAMES.index(network), list(BANDS).index(band)]
    return np.corrcoef(power, np.interp(times + lag, run.truth["latent_times"], latent))[0, 1]


@pytest.mark.parametrize(
    ("network", "electrode", "band"),
    [("visual", "O1", "alpha"), ("sensorimotor_left", "C3", "beta"), ("sensorimotor_right", "C4", "beta")],
)
def test_band_power_follows_the_latent_without_lag(runs, network, electrode, band):
    lags = np.arange(-8, 8.5, 0.5)
    course = np.mean(
        [[lagged_correlation(run, network, electrode, band, lag) for lag in lags] for run in runs], axis=0
    )
    assert course[lags == 0] > 0.25
    assert abs(lags[course.argmax()]) <= 2
    assert course[0] < 0.5 * course.max()
    assert course[-1] < 0.5 * course.max()


def test_alpha_peaks_at_occipital_electrodes(runs):
    for run in runs:
        frequencies, power = signal.welch(run.eeg, run.sampling_rate, nperseg=512)
        powers = dict(zip(run.electrodes, power * frequencies, strict=True))
        inside = (frequencies > 6) & (frequencies < 20)
        for electrode in ("O1", "O2"):
            assert 8 <= frequencies[inside][powers[electrode][inside].argmax()] <= 12.5
        alpha = (frequencies >= 8) & (frequencies <= 12)
        assert powers["O1"][alpha].mean() > powers["Fp1"][alpha].mean()


def test_amplitudes_are_those_of_an_eeg(runs):
    for run in runs:
        deviations = run.eeg.std(axis=1)
        assert 8e-6 < np.median(deviations) < 50e-6
        assert np.abs(run.eeg).max() < 500e-6
        assert np.abs(run.ecg).max() < 3e-3


def test_ecg_peaks_at_the_pulse_onsets(runs):
    for run in runs:
        peaks = signal.find_peaks(run.ecg, height=0.6e-3, distance=50)[0] / run.sampling_rate
        inside = run.pulse_onsets[(run.pulse_onsets > 0.2) & (run.pulse_onsets < run.ecg.size / 128 - 0.5)]
        assert all(np.abs(peaks - onset).min() < 0.02 for onset in inside)


def test_gradient_residue_is_lines_at_slice_harmonics_from_the_first_volume_on():
    preset = PRESETS["mini"]
    residue = _gradient_residue(preset, 20 * 128, np.random.default_rng(0))
    start = int(preset.lead_in * 128)
    assert not residue[:, :start].any()
    power = np.mean(np.abs(np.fft.rfft(residue[:, start:])) ** 2, axis=0)
    lines = np.zeros(power.size, dtype=bool)
    lines[16 * np.array([8, 16, 24, 32, 40])] = True  # 16 slices in 2 s; 16 s of signal
    assert power[~lines].max() < 1e-12 * power[lines].min()
    assert np.sqrt(np.mean(residue[:, start:] ** 2)) == pytest.approx(1, rel=0.3)


def test_a_patch_of_cortex_shows_at_the_electrode_above_it():
    names = ("C3", "C4", "O1", "O2", "Fp1", "Fp2")
    positions = electrode_positions(names)
    for name, centre in (("C3", (-44, -18, 62)), ("C4", (44, -18, 62)), ("O1", (-22, -98, 6)), ("Fp2", (24, 64, 4))):
        vertices, normals = cortex()
        outward = normals @ (np.array(centre) / np.linalg.norm(centre))
        patch = nearest_dipoles(np.array(centre, dtype=float))
        patch = patch[outward[patch] > 0.7]
        assert np.abs(vertices[patch] - centre).max() < 30
        field = lead_field(positions, patch).sum(axis=1)
        assert names[field.argmax()] == name


def test_reference_is_subtracted():
    names = ("C3", "O1", "FCz")
    patch = nearest_dipoles(np.array([-44.0, -18.0, 62.0]))
    still = np.zeros((3, 3))
    against_reference = referenced_fields(names, still, [patch])[:, 0]
    plain = lead_field(electrode_positions(names), patch).sum(axis=1)
    np.testing.assert_allclose(against_reference, plain[:2] - plain[2])


def test_normals_point_outwards():
    vertices, normals = cortex()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)
    hull = np.argsort(-np.linalg.norm(vertices - [0, -18, 6], axis=1))[:500]
    outward = (vertices[hull] - [0, -18, 6]) / np.linalg.norm(vertices[hull] - [0, -18, 6], axis=1, keepdims=True)
    assert np.einsum("vx,vx->v", normals[hull], outward).mean() > 0.5
