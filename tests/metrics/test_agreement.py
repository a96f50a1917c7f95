import numpy as np
import pytest

from eeg2fmri.errors import InputError
from eeg2fmri.metrics.agreement import functional_connectivity_agreement, spectrum_agreement


@pytest.fixture
def series():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 200, 6)) @ rng.standard_normal((6, 6))


def test_connectivity_is_the_correlation_of_the_upper_triangles(series):
    x, y = series
    above = np.triu_indices(6, 1)
    expected = np.corrcoef(np.corrcoef(x.T)[above], np.corrcoef(y.T)[above])[0, 1]
    np.testing.assert_allclose(functional_connectivity_agreement(x, y), expected)
    np.testing.assert_allclose(functional_connectivity_agreement(x, x), 1)


def test_connectivity_ignores_order_scale_and_time(series):
    x, y = series
    expected = functional_connectivity_agreement(x, y)
    order, time = np.random.default_rng(1).permutation(6), np.random.default_rng(1).permutation(200)
    np.testing.assert_allclose(functional_connectivity_agreement(x[:, order], y[:, order]), expected)
    np.testing.assert_allclose(functional_connectivity_agreement(x[time], 3 * y + 1), expected)
    # Flipping one region's sign flips its edges: the diagonal, were it counted, would not follow.
    assert functional_connectivity_agreement(x * [-1, 1, 1, 1, 1, 1], y) < expected
    assert functional_connectivity_agreement(np.ones_like(x), y) == 0


def test_the_spectrum_ignores_scale_and_a_half_turn(series):
    x, _ = series
    np.testing.assert_allclose(spectrum_agreement(x, 5 * x + 2, 2.0), 1)
    np.testing.assert_allclose(spectrum_agreement(x, x[::-1], 2.0), 1, atol=0.05)
    assert (spectrum_agreement(np.ones_like(x), x, 2.0) == 0).all()


def test_sinusoids_of_other_frequencies_share_no_spectrum():
    time = 2.0 * np.arange(200)
    slow, fast = (np.sin(2 * np.pi * f * time)[:, None] for f in (0.02, 0.1))
    np.testing.assert_allclose(spectrum_agreement(slow, fast, 2.0), 0, atol=1e-4)
    np.testing.assert_allclose(spectrum_agreement(slow, slow + fast, 2.0), 0.5, atol=1e-3)


def test_the_same_process_agrees_better_than_another():
    rng = np.random.default_rng(0)
    white = rng.standard_normal((3, 400, 4))
    smooth = np.cumsum(white, axis=1)[:, 5:] - np.cumsum(white, axis=1)[:, :-5]
    same = spectrum_agreement(smooth[0], smooth[1], 2.0)
    other = spectrum_agreement(smooth[0], white[2][5:], 2.0)
    assert (same > 0.75).all()
    assert (other < 0.7).all()


def test_bad_input_is_named(series):
    x, y = series
    with pytest.raises(InputError, match="2 regions; expected at least three"):
        functional_connectivity_agreement(x[:, :2], y[:, :2])
    with pytest.raises(InputError, match="7 volumes; expected at least 8"):
        spectrum_agreement(x[:7], y[:7], 2.0)
    for repetition_time in (0, -1.0, float("nan")):
        with pytest.raises(InputError, match="repetition_time"):
            spectrum_agreement(x, y, repetition_time)
