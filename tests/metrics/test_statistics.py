import itertools

import numpy as np
import pytest

from eeg2fmri.errors import InputError
from eeg2fmri.metrics.statistics import (
    circular_shift_null,
    fisher_mean,
    fisher_mean_interval,
    mean_interval,
    paired_comparison,
    sign_flip_p,
)
from eeg2fmri.metrics.temporal import temporal_correlation


def rng(seed=0):
    return np.random.default_rng(seed)


def mean_r(x, y):
    return float(temporal_correlation(x, y).mean())


def smooth(generator, length, regions=4):
    noise = generator.standard_normal((length + 8, regions))
    return sum(noise[i : i + length] for i in range(9)) / 3


def test_the_interval_covers_the_mean_and_narrows_with_subjects():
    generator = rng()
    few, many = (fisher_mean_interval(0.3 + 0.1 * generator.standard_normal(n), generator) for n in (5, 500))
    assert many.low < 0.3 < many.high
    assert many.high - many.low < few.high - few.low


def test_the_interval_has_the_width_of_the_standard_error():
    values = rng().standard_normal(400)
    interval = mean_interval(values, rng(1))
    error = values.std() / 20
    np.testing.assert_allclose(
        [interval.low, interval.high], values.mean() + np.array([-1.96, 1.96]) * error, atol=0.01
    )
    assert interval.mean == pytest.approx(values.mean())


def test_fishers_mean_is_the_mean_of_z():
    values = np.array([0.1, 0.5, 0.9])
    assert fisher_mean_interval(values, rng()).mean == pytest.approx(np.tanh(np.arctanh(values).mean()))
    equal = fisher_mean_interval([0.4, 0.4], rng())
    np.testing.assert_allclose([equal.mean, equal.low, equal.high], 0.4)
    assert fisher_mean_interval([1.0, -1.0], rng()).mean == pytest.approx(0)


def test_the_same_generator_gives_the_same_bits():
    values = rng().standard_normal(20)
    assert mean_interval(values, rng(3)) == mean_interval(values, rng(3))
    assert sign_flip_p(values, rng(3)) == sign_flip_p(values, rng(3))


def test_the_exact_sign_flip_counts_every_flip():
    values = rng().standard_normal(7) + 0.4
    flips = np.array([np.dot(signs, values) for signs in itertools.product((1, -1), repeat=7)])
    assert sign_flip_p(values, rng()) == (flips >= values.sum() - 1e-9).mean()
    assert sign_flip_p(values, rng(), two_sided=True) == (np.abs(flips) >= abs(values.sum()) - 1e-9).mean()
    assert sign_flip_p(np.ones(5), rng()) == 1 / 32
    assert sign_flip_p(-np.ones(5), rng()) == 1
    assert sign_flip_p(np.full(6, 0.1), rng(), two_sided=True) == 2 / 64
    assert sign_flip_p(np.zeros(8), rng()) == 1


def test_random_flips_come_near_the_exact_test():
    values = rng().standard_normal(13) + 0.4
    exact = sign_flip_p(values, rng())
    random = sign_flip_p(np.append(values, 0.0), rng())  # a subject of 0 changes no sum
    assert random == pytest.approx(exact, abs=0.015)
    assert sign_flip_p(np.ones(40), rng()) == 1 / 10_001


def test_the_sign_flip_is_uniform_under_the_null():
    generator = rng()
    ps = np.array([sign_flip_p(generator.standard_normal(10), generator) for _ in range(600)])
    for level in (0.05, 0.3, 0.7):
        assert (ps <= level).mean() == pytest.approx(level, abs=0.06)


def test_paired_comparison_sees_what_subjects_share():
    shared, effect = 10 * rng().standard_normal(8), 0.2 + 0.05 * rng(1).standard_normal(8)
    comparison = paired_comparison(shared + effect, shared, rng())
    assert comparison.p == 2 / 256
    assert comparison.difference.low < comparison.difference.mean < comparison.difference.high
    assert comparison.difference.mean == pytest.approx(effect.mean())
    assert paired_comparison(shared, shared + effect, rng()).p == comparison.p
    assert paired_comparison(shared, shared, rng()).p == 1


def test_too_few_subjects_are_refused():
    for function, least in ((sign_flip_p, 5), (mean_interval, 2), (fisher_mean_interval, 2)):
        with pytest.raises(InputError, match=f"{least - 1} subjects; expected at least {least}"):
            function(np.full(least - 1, 0.5), rng())
    with pytest.raises(InputError, match="5 subjects; expected at least 6"):
        paired_comparison(np.ones(5), np.zeros(5), rng())
    with pytest.raises(InputError, match="7 subjects; expected 8"):
        paired_comparison(np.ones(7), np.zeros(8), rng())
    with pytest.raises(InputError, match="NaN"):
        mean_interval([0.1, np.nan], rng())
    with pytest.raises(InputError, match=r"found 1\.2"):
        fisher_mean_interval([0.1, 1.2], rng())


def test_shifts_destroy_a_true_coupling_and_nothing_else():
    generator = rng()
    measured = [smooth(generator, n) for n in (150, 140, 160)]
    predicted = [y + smooth(generator, len(y)) for y in measured]
    null = circular_shift_null(mean_r, predicted, measured, 2.0)
    assert null.observed == pytest.approx(np.mean([mean_r(x, y) for x, y in zip(predicted, measured, strict=True)]))
    assert null.p == 1 / 61
    assert null.observed > 0.5 > 0.3 > null.percentile_95
    constant = circular_shift_null(mean_r, [0 * x for x in predicted], measured, 2.0)
    assert constant.p == 1
    assert (constant.scores == 0).all()


def test_runs_are_averaged_as_asked():
    measured = [smooth(rng(seed), 120) for seed in range(3)]
    predicted = [y + seed * smooth(rng(9 + seed), 120) for seed, y in enumerate(measured)]
    null = circular_shift_null(mean_r, predicted, measured, 2.0, average=fisher_mean)
    each = [mean_r(x, y) for x, y in zip(predicted, measured, strict=True)]
    assert null.observed == pytest.approx(fisher_mean_interval(each, rng()).mean)
    assert null.scores.shape == (60,)


def test_no_shift_is_shorter_than_the_minimum():
    clock = np.arange(100.0)[:, None]
    lags = []

    def score(x, y):
        lags.append(int((x - y)[0, 0]) % 100)
        return 0.0

    null = circular_shift_null(score, [clock], [clock], 1.5)
    shifted = [lag for lag in lags if lag]
    assert min(shifted) == 27  # the first whole volume beyond 40 s
    assert max(shifted) == 73
    assert len(shifted) == len(set(shifted)) == len(null.scores) == 47  # no shift is counted twice
    assert len(circular_shift_null(score, [clock], [clock], 1.5, minimum_shift=75.0).scores) == 1


def test_the_shift_null_is_uniform_without_coupling():
    ps = []
    for seed in range(60):
        generator = rng(seed)
        ps.append(circular_shift_null(mean_r, [smooth(generator, 120)], [smooth(generator, 120)], 2.0).p)
    assert 0.35 < np.mean(ps) < 0.65
    assert np.mean(np.array(ps) < 0.1) < 0.25


def test_short_runs_and_other_mismatches_are_refused():
    x = smooth(rng(), 50)
    with pytest.raises(InputError, match=r"a run of 39 volumes of 2\.0 s; expected runs of at least 80 s"):
        circular_shift_null(mean_r, [x, x[:39]], [x, x[:39]], 2.0)
    for repetition_time in (0.0, -2.0, float("nan")):
        with pytest.raises(InputError, match="a run of 50 volumes"):
            circular_shift_null(mean_r, [x], [x], repetition_time)
    for predicted, measured in (([x], [x, x]), ([], [])):
        with pytest.raises(InputError, match="runs"):
            circular_shift_null(mean_r, predicted, measured, 2.0)
    with pytest.raises(InputError, match="that of measured"):
        circular_shift_null(mean_r, [x[:45]], [x], 2.0)
