import numpy as np
import pytest

from eeg2fmri.baselines.ridge import SensorRidge
from eeg2fmri.errors import InputError
from eeg2fmri.metrics.temporal import temporal_correlation


def runs(count, noise=0.2, coupled=True, seed=0):
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(99).standard_normal((1 * 3 * 4 * 5, 2)) if coupled else np.zeros((60, 2))
    made = []
    for _ in range(count):
        windows = rng.standard_normal((80, 1, 3, 4, 5)) + rng.standard_normal((1, 1, 3, 4, 5))
        series = windows.reshape(80, -1) @ weights + noise * 8 * rng.standard_normal((80, 2)) + 7.0
        made.append((windows, series))
    return made


def test_a_linear_coupling_is_found_and_carries_over_to_new_runs():
    ridge = SensorRidge().fit(iter(runs(10)))
    scores = [temporal_correlation(ridge.predict(x), y).mean() for x, y in runs(5, seed=1)]
    assert np.mean(scores) > 0.85


def test_without_coupling_nothing_is_found():
    ridge = SensorRidge().fit(runs(10, coupled=False))
    scores = [temporal_correlation(ridge.predict(x), y).mean() for x, y in runs(20, coupled=False, seed=1)]
    assert abs(np.mean(scores)) < 0.06


def test_levels_of_a_run_do_not_matter():
    ridge = SensorRidge().fit(runs(10))
    windows = runs(1, seed=3)[0][0]
    np.testing.assert_allclose(ridge.predict(windows + 5.0), ridge.predict(windows), atol=1e-9)


def test_too_few_runs_are_refused():
    with pytest.raises(InputError, match="runs: found 4; expected at least 5"):
        SensorRidge().fit(runs(4))
