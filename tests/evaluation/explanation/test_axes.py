"""Tokens and stages back on the input's axes."""

import numpy as np
import pytest

import tiny
from eeg2fmri import EPGModel
from eeg2fmri.evaluation.explanation.axes import (
    band_shares,
    encoder_axes,
    interpolate_stage,
    spread_tokens,
    token_spread,
)


def encoder(**changes):
    settings = {"sample_size": (7, 5, 6), "block_out_channels": (8, 8, 8), "cross_attention_dim": 16}
    return EPGModel(**{**settings, "norm_num_groups": 4, "num_spectral_attention_heads": 2, **changes})


@pytest.mark.parametrize(("length", "stride"), [(1, 1), (5, 1), (5, 2), (16, 4), (9, 8)])
def test_a_token_is_divided_and_nothing_is_lost(length, stride):
    spread = token_spread(length, -(-length // stride), stride)
    np.testing.assert_allclose(spread.sum(axis=0), 1)
    assert (spread.sum(axis=1) > 0).all()  # every position has a token
    np.testing.assert_array_equal(spread.argmax(axis=0), stride * np.arange(spread.shape[1]))


@pytest.mark.parametrize("changes", [{}, {"stem_stride": (2, 1, 1)}, {"encoder": "linear"}])
def test_spread_tokens_keep_their_sum(changes):
    model = encoder(**changes)
    weights = np.random.default_rng(0).random((3, int(np.prod(model.token_grid))))
    spread = spread_tokens(model, weights, (7, 5, 6))
    assert spread.shape == (3, 7, 5, 6)
    np.testing.assert_allclose(spread.sum(axis=(1, 2, 3)), weights.sum(axis=1))


def test_a_constant_stage_stays_constant():
    stage = np.full((2, 4, 3, 3), 0.3)
    np.testing.assert_allclose(interpolate_stage(encoder(), stage, 1, (7, 5, 6)), np.full((2, 7, 5, 6), 0.3))


def test_shares_of_bands_follow_the_overlap():
    shares = band_shares(np.array([[8.0, 13.0], [12.0, 14.0], [0.0, 2.0], [60.0, 61.0]]))
    np.testing.assert_allclose(shares[2], [1, 0.5, 0, 0])
    np.testing.assert_allclose(shares[3], [0, 0.5, 0, 0])
    np.testing.assert_allclose(shares[0], [0, 0, 0.5, 0])
    assert not shares[:, 3].any()


def test_axes_are_those_of_what_the_encoder_reads():
    spectrogram, powers = encoder_axes(tiny.pipeline()), encoder_axes(tiny.pipeline(with_prior=True))
    assert spectrogram.shape == (8, 6, 4)
    assert powers.shape == (5, 2, 4)
    np.testing.assert_allclose(spectrogram.lags, [7, 5, 3, 1])  # middles of windows of 2 s
    np.testing.assert_allclose(powers.ranges, [[0.25, 1.75], [1.25, 3.25]])  # bins of 0.5 Hz: 1 to 3, 3 to 6
