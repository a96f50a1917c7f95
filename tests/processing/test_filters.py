"""Filters: brain mask, smoothing and drift removal against closed forms and nilearn."""

import numpy as np
import pytest

from eeg2fmri.processing.filters import brain_mask, remove_drift, smooth_inside


def test_brain_mask_is_the_largest_bright_part_without_holes():
    mean = np.full((9, 12, 12), 10.0)
    mean[2:7, 2:9, 2:9] = 900
    mean[4, 5, 5] = 0
    mean[1:3, 11, 10:] = 1500
    expected = np.zeros(mean.shape, bool)
    expected[2:7, 2:9, 2:9] = True
    for gain in (1e-3, 1.0, 1e4):
        np.testing.assert_array_equal(brain_mask(gain * mean, "run"), expected)


def test_smoothing_of_a_point_has_the_stated_width():
    point = np.zeros((1, 1, 1, 41), np.float32)
    point[..., 20] = 1
    smoothed = smooth_inside(point, np.ones((1, 1, 41), bool), 9.0, np.array([1.0, 1.0, 1.5]))[0, 0, 0]
    assert smoothed[17] / smoothed[20] == pytest.approx(0.5, abs=0.01)


def test_drift_removal_agrees_with_nilearn():
    from nilearn.signal import clean

    signals = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    expected = clean(signals, detrend=False, standardize=None, filter="cosine", high_pass=0.02, t_r=2.0)
    mine = remove_drift(signals[:, None, None, :], 2.0, 0.02)[:, 0, 0]
    np.testing.assert_allclose(mine - mine.mean(axis=0), expected - expected.mean(axis=0), atol=1e-4)
