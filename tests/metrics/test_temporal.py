import numpy as np
import pytest
import torch

from eeg2fmri.errors import InputError
from eeg2fmri.metrics.temporal import (
    identification,
    r_squared,
    temporal_correlation,
    without_global,
    without_regressors,
)


@pytest.fixture
def series():
    return np.random.default_rng(0).standard_normal((2, 60, 5))


def test_correlation_is_pearsons(series):
    x, y = series
    expected = [np.corrcoef(x[:, i], y[:, i])[0, 1] for i in range(5)]
    np.testing.assert_allclose(temporal_correlation(x, y), expected)
    np.testing.assert_allclose(temporal_correlation(torch.from_numpy(x), y), expected)


def test_correlation_ignores_scale_level_and_a_common_order_of_time(series):
    x, y = series
    expected, order = temporal_correlation(x, y), np.random.default_rng(1).permutation(60)
    np.testing.assert_allclose(temporal_correlation(3 * x + 100, 0.1 * y - 7), expected)
    np.testing.assert_allclose(temporal_correlation(-x, y), -expected)
    np.testing.assert_allclose(temporal_correlation(x[order], y[order]), expected)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e4 / 7, -1e-9 / 3])
def test_a_constant_series_scores_zero_whatever_its_rounding(series, value):
    constant = np.full((60, 5), value)
    assert (temporal_correlation(constant, series[1]) == 0).all()
    assert (temporal_correlation(series[0], constant) == 0).all()
    assert (r_squared(series[0], constant) == 0).all()
    assert (without_global(constant) == 0).all()


def test_the_global_signal_is_projected_out(series):
    mixed = series[0] + 3 * series[1][:, :1]
    rest, shared = without_global(mixed), (mixed - mixed.mean(0)).mean(1)
    np.testing.assert_allclose(rest.T @ shared, 0, atol=1e-9)
    np.testing.assert_allclose(rest.mean(1), 0, atol=1e-9)
    expected = [mixed[:, i] - np.polyval(np.polyfit(shared, mixed[:, i], 1), shared) for i in range(5)]
    np.testing.assert_allclose(rest.T, expected, atol=1e-9)
    np.testing.assert_allclose(without_global(rest), rest, atol=1e-9)
    assert (without_global(mixed[:, :1]) == 0).all()  # not rounding, whose correlation could be anything


def test_regressors_are_removed_as_least_squares_does(series):
    x, regressors = series[0], series[1][:, :2]
    design = np.column_stack([np.ones(60), regressors])
    expected = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    np.testing.assert_allclose(without_regressors(x, regressors), expected, atol=1e-9)
    redundant = np.column_stack([1e6 * regressors, regressors.sum(1), np.full(60, 0.1), np.zeros(60)])
    np.testing.assert_allclose(without_regressors(x, redundant), expected, atol=1e-9)


def test_a_pure_task_response_vanishes_without_the_task(series):
    task = np.repeat([0.0, 1.0], 30)[:, None]
    predicted, measured = task + 0 * series[0], task + 0.1 * series[1]
    assert temporal_correlation(predicted, measured).min() > 0.9
    assert (temporal_correlation(without_regressors(predicted, task), without_regressors(measured, task)) == 0).all()


def test_r_squared_has_its_closed_forms(series):
    _, y = series
    np.testing.assert_allclose(r_squared(y, y), 1)
    np.testing.assert_allclose(r_squared(y.mean(0) + 0 * y, y), 0, atol=1e-12)
    np.testing.assert_allclose(r_squared(y + 2 * y.std(0), y), -3)
    deviation = y - y.mean(0)
    # The best scaling of the deviation loses the square of what it leaves out.
    np.testing.assert_allclose(r_squared(y.mean(0) + 0.6 * deviation, y), 1 - 0.4**2)


def test_the_measurement_identifies_itself_and_a_constant_is_at_chance(series):
    y = series[1]
    assert identification(y, y, 20) == 1
    assert identification(5 * y + 3, y, 20) == 1
    np.testing.assert_allclose(identification(np.zeros_like(y), y, 20), 1 / 20)


@pytest.mark.parametrize("num_candidates", [2, 5, 20])
def test_chance_is_exactly_one_of_n_over_all_shifts(series, num_candidates):
    x, y = series
    length = 60 // num_candidates
    shares = [
        identification(np.roll(0.5 * x + y, length * k, axis=0), y, num_candidates) for k in range(num_candidates)
    ]
    np.testing.assert_allclose(np.mean(shares), 1 / num_candidates)
    assert shares[0] > np.mean(shares)


def test_regions_count_alike_and_the_rest_of_the_run_is_dropped(series):
    x, y = 0.6 * series[0] + series[1], series[1]
    assert identification(x * [1, 9, 1, 1, 70], y * [5, 1, 1, 3, 1], 12) == identification(x, y, 12)
    assert identification(x[:, ::-1], y[:, ::-1], 12) == identification(x, y, 12)


@pytest.mark.parametrize("function", [temporal_correlation, r_squared, identification])
def test_bad_pairs_are_named(series, function):
    x, y = series
    with pytest.raises(InputError, match=r"predicted: found shape \[60, 4\]; expected \[60, 5\]"):
        function(x[:, :4], y)
    with pytest.raises(InputError, match=r"predicted: found shape \[60\]"):
        function(x[:, 0], y[:, 0])
    with pytest.raises(InputError, match="at least 3"):
        function(x[:2], y[:2])
    broken = y.copy()
    broken[3, 2] = np.nan
    with pytest.raises(InputError, match="measured: found 1 values that are NaN"):
        function(x, broken)


def test_bad_regressors_and_candidates_are_named(series):
    x, y = series
    with pytest.raises(InputError, match="regressors"):
        without_regressors(x, y[:50])
    with pytest.raises(InputError, match="fewer than 59 of 60"):
        without_regressors(x, np.random.default_rng(0).standard_normal((60, 59)))
    for num_candidates in (1, 0, 61):
        with pytest.raises(InputError, match="num_candidates"):
            identification(x, y, num_candidates)
    with pytest.raises(InputError, match="num_candidates"):
        identification(x[:, :1], y[:, :1], 30)
