import numpy as np
import pytest

from baselines.fake_runs import fake_run
from eeg2fmri.baselines.features import alpha_features, latent_features, sensor_features
from eeg2fmri.baselines.ridge import PENALTIES, Ridge, standardised
from eeg2fmri.baselines.run import NotAvailable
from eeg2fmri.metrics.temporal import temporal_correlation


def mean_r(ridge, runs):
    return np.mean([temporal_correlation(ridge.predict(run).series, run.series).mean() for run in runs])


def test_a_linear_coupling_is_found_and_carries_over_to_new_subjects():
    ridge = Ridge(sensor_features).fit([fake_run(seed) for seed in range(12)])
    assert mean_r(ridge, [fake_run(seed) for seed in range(50, 54)]) > 0.85


def test_without_coupling_nothing_is_found_and_the_strongest_penalties_win():
    ridge = Ridge(sensor_features).fit([fake_run(seed, coupling=0.0) for seed in range(12)])
    assert abs(mean_r(ridge, [fake_run(seed, coupling=0.0) for seed in range(50, 60)])) < 0.06


def test_the_solution_is_that_of_the_stacked_data():
    runs = [fake_run(seed) for seed in range(6)]
    ridge = Ridge(sensor_features).fit(runs)
    x = np.concatenate([standardised(sensor_features(run)) for run in runs])
    y = np.concatenate([run.series for run in runs])
    assert ridge.penalty in PENALTIES
    expected = np.linalg.solve(x.T @ x + ridge.penalty * np.eye(x.shape[1]), x.T @ y)
    np.testing.assert_allclose(ridge.weights, expected, atol=1e-8)


def test_its_volumes_are_the_training_mean_changed_by_parcel():
    runs = [fake_run(seed) for seed in range(4)]
    ridge = Ridge(sensor_features).fit(runs)
    prediction = ridge.predict(runs[0])
    (volumes,) = prediction.samples
    mean = np.mean([run.mean for run in runs], axis=0)
    change = 100 * (volumes / mean - 1)
    np.testing.assert_allclose(
        change[:, 0], np.broadcast_to(prediction.series[:, 3, None, None], (80, 3, 4)), atol=1e-3
    )
    np.testing.assert_allclose(
        change[:, 1], np.broadcast_to(prediction.series[:, 4, None, None], (80, 3, 4)), atol=1e-3
    )


def test_levels_of_a_run_do_not_matter():
    ridge = Ridge(sensor_features).fit([fake_run(seed) for seed in range(4)])
    run, louder = fake_run(9), fake_run(9)
    louder.stored = louder.stored + 3.0
    np.testing.assert_allclose(ridge.predict(louder).series, ridge.predict(run).series, atol=1e-6)


def test_one_subject_is_not_enough():
    with pytest.raises(NotAvailable, match="training subjects: found 1"):
        Ridge(sensor_features).fit([fake_run(0)])


def test_alpha_is_posterior_power_through_the_response():
    run = fake_run(0)
    features = alpha_features(run)
    assert features.shape == (80, 1)
    changed = fake_run(0)
    changed.stored = changed.stored.copy()
    changed.stored[:, :, :5] = 0  # every electrode that isn't occipital
    np.testing.assert_allclose(alpha_features(changed), features)


def test_latents_of_measured_data_are_not_known():
    with pytest.raises(NotAvailable, match="latents"):
        latent_features(fake_run(0))
