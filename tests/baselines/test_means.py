import numpy as np
import pytest

from baselines.fake_runs import fake_run
from eeg2fmri.baselines.means import OwnMean, PreviousVolume, TrainingMean, Zeros
from eeg2fmri.baselines.run import NotAvailable, percent_change


def predicted(predictor, run, training=()):
    (volumes,) = predictor.fit(list(training)).predict(run).samples
    return volumes


def test_each_predicts_what_it_is_named_after():
    run, others = fake_run(0), [fake_run(1), fake_run(2)]
    assert not predicted(Zeros(), run).any()
    np.testing.assert_allclose(predicted(TrainingMean(), run, others)[3], (others[0].mean + others[1].mean) / 2, 1e-5)
    np.testing.assert_allclose(predicted(OwnMean(), run)[7], run.own_mean)
    previous = predicted(PreviousVolume(), run)
    np.testing.assert_allclose(previous[1:], run.volumes()[:-1])
    np.testing.assert_allclose(previous[0], run.own_mean)


def test_a_mean_volume_has_no_time_course():
    run = fake_run(0)
    volumes = predicted(TrainingMean(), run, [fake_run(1)]).astype(np.float32)
    assert not run.regions.series(volumes, 2.0).any()


def test_the_training_mean_needs_training_runs():
    with pytest.raises(NotAvailable, match="training runs"):
        TrainingMean().fit([])


def test_percent_change_does_not_know_the_scanner_gain():
    signals = 100 + np.random.default_rng(0).standard_normal((60, 5))
    np.testing.assert_allclose(percent_change(7 * signals, 2.0), percent_change(signals, 2.0), atol=1e-4)
    np.testing.assert_allclose(percent_change(signals, 2.0).mean(0), 0, atol=1e-4)
    assert not percent_change(np.zeros((60, 2)), 2.0).any()
