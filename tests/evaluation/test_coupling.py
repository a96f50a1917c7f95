import numpy as np
import pytest

from eeg2fmri.errors import InputError
from eeg2fmri.evaluation.coupling import Networks, TestRun, _read_truth, _score
from eeg2fmri.recordings.layouts import find_bids_runs


def smooth(rng, *shape):
    noise = rng.standard_normal((shape[0] + 8, *shape[1:]))
    return sum(noise[i : i + shape[0]] for i in range(9)) / 3


def planted(mix, seed=0, subjects=8):
    """Runs, and predictions that share `mix` of the standard deviation with what was measured."""
    rng = np.random.default_rng(seed)
    measured = [smooth(rng, 140, 5) for _ in range(subjects)]
    runs = [TestRun(windows=np.empty(0), measured=m, coupled=m, repetition_time=2.0) for m in measured]
    return runs, [mix * m + np.sqrt(1 - mix**2) * smooth(rng, 140, 5) for m in measured]


def test_a_model_that_uses_the_eeg_stands_out_of_every_control():
    runs, predicted = planted(0.6)
    row = _score(predicted, runs, np.random.default_rng(0))
    assert 0.5 < row["r"]["low"] < row["r"]["mean"] < row["r"]["high"] < 0.7
    assert row["r_shifted_eeg_95th_percentile"] < 0.2
    assert row["p_shifted_eeg"] < 0.02
    assert abs(row["r_other_subject"]["mean"]) < 0.1
    assert len(row["r_per_subject"]) == 8


def test_a_model_that_does_not_use_the_eeg_does_not():
    ps = []
    for seed in range(12):
        runs, predicted = planted(0.0, seed)
        ps.append(_score(predicted, runs, np.random.default_rng(0))["p_shifted_eeg"])
    assert np.mean(np.array(ps) < 0.05) < 0.3
    assert 0.25 < np.mean(ps) < 0.75


def test_eeg_shifted_in_time_is_called_out():
    runs, predicted = planted(0.6)
    row = _score([np.roll(p, 40, axis=0) for p in predicted], runs, np.random.default_rng(0))
    assert row["r"]["mean"] < 0.1


def test_eeg_of_another_subject_is_called_out():
    runs, predicted = planted(0.6)
    row = _score([*predicted[1:], predicted[0]], runs, np.random.default_rng(0))
    assert row["r"]["mean"] < 0.1


def test_a_global_prediction_scores_nothing_net_of_the_global_signal():
    rng = np.random.default_rng(1)
    runs, _ = planted(0.0)
    only_global = [run.measured.mean(1, keepdims=True) + 1e-3 * smooth(rng, 140, 5) for run in runs]
    row = _score(only_global, runs, rng)
    assert row["r"]["mean"] > 0.3
    assert abs(row["r_net_of_global"]["mean"]) < 0.1


def test_network_series_are_means_over_their_voxels():
    maps = np.zeros((2, 2, 3, 4), bool)
    maps[0, 0], maps[1, 1, 2] = True, True
    volumes = np.random.default_rng(0).standard_normal((7, 1, 2, 3, 4))
    expected = np.stack([volumes[:, 0, 0].mean((1, 2)), volumes[:, 0, 1, 2].mean(1)], axis=1)
    np.testing.assert_allclose(Networks(("a", "b"), maps).series(volumes), expected)


def test_a_dataset_without_truth_is_named(simulated, tmp_path):
    with pytest.raises(InputError, match="derivatives/truth"):
        _read_truth(tmp_path, find_bids_runs(simulated)[0])
