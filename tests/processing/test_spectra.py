"""Whitening of a recording's complex spectra."""

import numpy as np
import pytest

from eeg2fmri.processing.spectra import SHRINKAGE, whiten


def spectra(num_columns=200, num_electrodes=4, seed=0) -> np.ndarray:
    """Correlated electrodes, frequencies of different loudness, `[column, 2, electrode, frequency]`."""
    rng = np.random.default_rng(seed)
    white = rng.normal(size=(num_columns, 2, num_electrodes, 6))
    mixed = np.einsum("ij,kcjf->kcif", np.eye(num_electrodes) + 0.2 * rng.normal(size=(num_electrodes,) * 2), white)
    return (mixed * 10.0 / np.arange(1, 7)).astype(np.float32)


def test_electrodes_become_uncorrelated_with_equal_variance():
    whitened = whiten(spectra(4000)).swapaxes(0, 2).reshape(4, -1)
    covariance = whitened @ whitened.T / whitened.shape[1]
    np.testing.assert_allclose(covariance / (covariance.trace() / 4), np.eye(4), atol=4 * SHRINKAGE)


def test_a_power_law_is_taken_out_and_a_rhythm_stays():
    rng = np.random.default_rng(2)
    flat = rng.normal(size=(4000, 2, 3, 40))
    falling = flat * 5.0 * np.arange(1, 41.0) ** -0.7
    loudness = np.sqrt(np.square(whiten(falling.astype(np.float32))).mean((0, 1, 2)))
    np.testing.assert_allclose(loudness, loudness.mean(), rtol=0.05)
    falling[..., 10] *= 4
    loudness = np.sqrt(np.square(whiten(falling.astype(np.float32))).mean((0, 1, 2)))
    assert 3.5 < loudness[10] / np.median(loudness) < 4.5


def test_a_power_law_over_the_frequencies_does_not_count():
    law = 7.0 * np.arange(1, 7.0) ** -1.5
    np.testing.assert_allclose(whiten((spectra() * law).astype(np.float32)), whiten(spectra()), atol=1e-4)


def test_turns_with_the_electrodes():
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    turned = np.einsum("ij,kcjf->kcif", rotation, spectra()).astype(np.float32)
    expected = np.einsum("ij,kcjf->kcif", rotation, whiten(spectra()))
    np.testing.assert_allclose(whiten(turned), expected, atol=1e-3)


def test_a_loud_column_hardly_matters():
    shaken = spectra()
    shaken[3] *= 1000
    np.testing.assert_allclose(np.delete(whiten(shaken), 3, 0), np.delete(whiten(spectra()), 3, 0), atol=0.05)


def test_an_electrode_that_is_a_sum_of_others_stays_finite():
    made = spectra()
    made[:, :, 3] = made[:, :, 0] + made[:, :, 1]
    whitened = whiten(made)
    assert np.abs(whitened).max() < 20


@pytest.mark.parametrize("silent", [np.s_[:], np.s_[:, :, :, 2], np.s_[:150]])
def test_silence_stays_zero(silent):
    quiet = spectra()
    quiet[silent] = 0
    whitened = whiten(quiet)
    assert np.isfinite(whitened).all()
    assert not whitened[silent].any()
