import itertools

import numpy as np
import pytest
from scipy.stats import norm

from eeg2fmri.errors import InputError
from eeg2fmri.metrics.probabilistic import coverage, crps, variance_ratio, widest_level
from eeg2fmri.metrics.temporal import temporal_correlation


def exchangeable(num_samples, volumes=20_000, regions=2, seed=0):
    draws = np.random.default_rng(seed).standard_normal((num_samples + 1, volumes, regions))
    return draws[1:], draws[0]


def test_crps_of_a_gaussian_is_its_closed_form():
    rng = np.random.default_rng(0)
    mean, sd, y = 0.3, 2.0, np.array([[-1.0, 0.3, 4.0]])
    z = (y - mean) / sd
    expected = sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    quantiles = mean + sd * norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    samples = np.broadcast_to(rng.permutation(quantiles)[:, None, None], (20_000, 1, 3))
    np.testing.assert_allclose(crps(samples, y), expected[0], atol=1e-3)


def test_crps_is_its_definition_and_fair():
    rng = np.random.default_rng(0)
    samples, y = rng.standard_normal((6, 9, 3)), rng.standard_normal((9, 3))
    spread = np.abs(samples[:, None] - samples[None]).sum((0, 1)) / (2 * 6 * 5)
    np.testing.assert_allclose(crps(samples, y), (np.abs(samples - y).mean(0) - spread).mean(0))
    # Fair: fewer samples change nothing in the mean, here over all choices of 2 or 4 of the 6.
    for count in (2, 4):
        chosen = [crps(samples[list(some)], y) for some in itertools.combinations(range(6), count)]
        np.testing.assert_allclose(np.mean(chosen, axis=0), crps(samples, y))


def test_crps_favours_the_truth():
    samples, y = exchangeable(8)
    for wrong in (samples + 0.5, 0.3 * samples, 3 * samples):
        assert (crps(wrong, y) > crps(samples, y) + 0.02).all()


def test_a_point_mass_scores_the_absolute_error():
    y = np.array([[1.0], [2.0], [4.0]])
    np.testing.assert_allclose(crps(np.zeros((4, 3, 1)), y), 7 / 3)


@pytest.mark.parametrize(("num_samples", "level"), [(3, 0.5), (4, 0.5), (2, 0.1), (7, 0.6), (19, 0.9), (32, 0.9)])
def test_coverage_of_exchangeable_samples_is_the_level(num_samples, level):
    """Exactly, over all ranks that the measured value can have among the samples."""
    values = np.arange(num_samples + 1.0)
    shares = [
        coverage(np.delete(values, i)[:, None, None], values[i : i + 1, None], level) for i in range(len(values))
    ]
    np.testing.assert_allclose(np.mean(shares), level)


def test_coverage_tells_samples_that_are_too_sure_from_those_that_are_not():
    samples, y = exchangeable(32)
    np.testing.assert_allclose(coverage(samples, y), 0.9, atol=0.01)
    assert (coverage(0.5 * samples, y) < 0.7).all()
    assert (coverage(2 * samples, y) > 0.97).all()
    assert (coverage(np.zeros_like(samples), y) == 0).all()
    assert (coverage(samples[::-1], y) == coverage(samples, y)).all()


def test_too_few_samples_for_a_level_are_refused():
    assert widest_level(19) == pytest.approx(0.9)
    samples, y = exchangeable(18, 10)
    with pytest.raises(InputError, match=r"0.9 from 18 samples; expected in \(0, 0.895\]"):
        coverage(samples, y)
    assert coverage(samples, y, widest_level(18)).shape == (2,)
    for level in (0.0, 1.0, -1, float("nan")):
        with pytest.raises(InputError, match="level"):
            coverage(samples, y, level)


def test_variance_ratio_is_one_for_exchangeable_samples():
    for num_samples in (2, 3, 20):
        samples, y = exchangeable(num_samples)
        np.testing.assert_allclose(variance_ratio(samples, y), 1, atol=0.05)


def test_variance_ratio_scales_as_it_should():
    samples, y = exchangeable(5)
    np.testing.assert_allclose(variance_ratio(3 * samples + 1, y), 9 * variance_ratio(samples, y))
    np.testing.assert_allclose(variance_ratio(np.stack([y, 2 * y]), y), (1 + 4) / 2)


def test_constant_series_have_defined_scores():
    samples, _ = exchangeable(3, 10)
    assert (variance_ratio(samples, np.full((10, 2), 0.1)) == 0).all()


@pytest.mark.parametrize("function", [crps, coverage, variance_ratio])
def test_bad_input_is_named(function):
    samples, y = exchangeable(20, 10)
    with pytest.raises(InputError, match=r"samples: found shape \[20, 9, 2\]"):
        function(samples[:, :9], y)
    with pytest.raises(InputError, match="at least two samples"):
        function(samples[:1], y)
    with pytest.raises(InputError, match=r"expected \[S, N, region\]"):
        function(samples[0], y)
    with pytest.raises(InputError, match="NaN"):
        function(np.where(samples > 1, np.nan, samples), y)


@pytest.mark.parametrize(("rho", "better"), [(0.613, False), (0.69, False), (0.72, True), (0.9, True)])
def test_a_calibrated_sample_has_less_error_than_the_mean_only_above_the_root_of_a_half(rho, better):
    """In a Gaussian world: the EEG determines a share rho^2 of the measured variance, and samples draw the rest."""
    random = np.random.default_rng(0)
    known, rest, drawn = random.standard_normal((3, 200_000, 1))
    measured = rho * known + np.sqrt(1 - rho**2) * rest
    sample = rho * known + np.sqrt(1 - rho**2) * drawn
    assert variance_ratio(np.stack([sample, sample]), measured) == pytest.approx(1, abs=0.02)
    assert temporal_correlation(sample, measured)[0] == pytest.approx(rho**2, abs=0.01)
    error = ((sample - measured) ** 2).mean()
    assert error == pytest.approx(2 * (1 - rho**2), abs=0.02)
    assert (error < (measured**2).mean()) == better
    assert ((rho * known - measured) ** 2).mean() == pytest.approx(1 - rho**2, abs=0.01)  # the mean of many samples
