"""The verdict on planted models: coupled, shuffled, exchanged, and anatomy alone."""

import numpy as np
import pytest

from baselines.fake_runs import fake_run
from eeg2fmri.errors import InputError
from eeg2fmri.evaluation import scores
from eeg2fmri.evaluation.collect import IMAGE_SCORES, RunResult
from eeg2fmri.evaluation.figures import null_histograms
from eeg2fmri.evaluation.scores import check_subjects, check_timing, score_rows
from eeg2fmri.evaluation.verdict import judge
from eeg2fmri.metrics.statistics import circular_shift_null

NUM_SUBJECTS = 8


def smooth(rng, count=140, regions=5):
    noise = rng.standard_normal((count + 8, regions))
    return sum(noise[i : i + count] for i in range(9)) / 3


def runs():
    made = []
    for seed in range(NUM_SUBJECTS):
        run = fake_run(seed)
        run.series, run.task = smooth(np.random.default_rng(seed)), None
        run.voxels = np.ones(run.mean.shape, bool)
        made.append(run)
    return made


def result(series, missing=()):
    image = np.full((len(IMAGE_SCORES), 4), 0.5)
    image[[IMAGE_SCORES.index(score) for score in missing]] = np.nan
    empty = np.zeros((0, *series.shape))
    return RunResult(image, series, empty, np.full((2, 3, 4), 0.1), np.zeros((2, 3, 4)), np.array(0.01))


def verdict(predicted, own_runs, missing=(), **changes):
    zeros = [np.zeros_like(run.series) for run in own_runs]
    ridge = [0.3 * run.series + smooth(np.random.default_rng(50 + i)) for i, run in enumerate(own_runs)]
    rows = {"training_mean": zeros, "sensor_ridge": ridge, "model": predicted, **changes}
    results = {name: [result(series, missing) for series in row] for name, row in rows.items()}
    table = score_rows(results, own_runs, seed=0)
    for name, row in table.items():
        row["title"] = name
    return judge(table, len(own_runs), True, "network"), table


def planted(own_runs, mix=0.7):
    return [mix * run.series + 0.7 * smooth(np.random.default_rng(90 + i)) for i, run in enumerate(own_runs)]


def test_a_model_that_uses_the_eeg_is_said_to():
    own_runs = runs()
    judged, table = verdict(planted(own_runs), own_runs)
    assert judged["eeg_information"]
    assert judged["headline"] == "EEG information: yes"
    assert table["model"]["null"]["p"] < 0.02
    assert any("The model is better than a ridge" in sentence for sentence in judged["sentences"])
    assert 0.5 < table["model"]["scores"]["spectrum_agreement"]["mean"] < 1
    assert {score for score, own in table["model"]["scores"].items() if own is not None and "p" in own} == {
        f"{score}_beyond_training_mean" for score in IMAGE_SCORES
    }
    assert table["model"]["scores"]["rmse_beyond_training_mean"]["p"] == 1


def test_a_shuffled_model_is_called_out():
    own_runs = runs()
    rng = np.random.default_rng(0)
    judged, _ = verdict([series[rng.permutation(len(series))] for series in planted(own_runs)], own_runs)
    assert not judged["eeg_information"]
    assert "no EEG information" in judged["headline"]
    assert any("inside this null" in sentence for sentence in judged["sentences"])


def test_exchanged_subjects_are_called_out():
    own_runs = runs()
    predicted = planted(own_runs)
    judged, _ = verdict([*predicted[1:], predicted[0]], own_runs)
    assert not judged["eeg_information"]


def test_a_course_that_all_subjects_share_is_no_eeg_information():
    """As a paradigm does: it follows the measurement, but every other subject's as well."""
    own_runs = runs()
    shared = smooth(np.random.default_rng(7))
    for run in own_runs:
        run.series = run.series + shared
    judged, table = verdict([shared + 0.1 * series for series in planted(own_runs, 0.0)], own_runs)
    assert table["model"]["null"]["p"] < 0.05
    assert not judged["eeg_information"]


def test_anatomy_alone_is_called_out():
    own_runs = runs()
    judged, table = verdict([np.zeros_like(run.series) for run in own_runs], own_runs)
    assert not judged["eeg_information"]
    assert table["model"]["scores"]["r"] is None
    assert any("anatomy only" in sentence for sentence in judged["sentences"])
    assert any("anatomy, not EEG" in sentence for sentence in judged["sentences"])


@pytest.mark.parametrize(("missing", "mentioned"), [(("ssim_3d", "ssim_3d_brain"), 1), (IMAGE_SCORES[:4], 0)])
def test_a_grid_without_room_for_a_window_is_judged_by_what_fits(missing, mentioned):
    own_runs = runs()
    judged, table = verdict(planted(own_runs), own_runs, missing)
    assert judged["eeg_information"]
    assert table["model"]["scores"]["ssim_3d"] is None
    assert sum("SSIM is 0.500" in sentence for sentence in judged["sentences"]) == mentioned


@pytest.mark.parametrize("name", ["model", "sensor_ridge", "oracle"])
def test_one_constant_run_of_several_follows_nothing(name):
    own_runs = runs()
    changed = planted(own_runs)
    changed[2] = np.zeros_like(changed[2])
    judged, table = verdict(planted(own_runs), own_runs, **({} if name == "model" else {name: changed}))
    if name == "model":
        judged, table = verdict(changed, own_runs)
    found = table[name]["scores"]
    assert found["r"]["per_subject"][2] == found["r_net_of_global"]["per_subject"][2] == 0
    assert found["identification"]["per_subject"][2] == pytest.approx(1 / 20)
    assert not table[name]["constant"]
    assert judged["eeg_information"]
    null_histograms(table)


def test_the_null_of_shifts_averages_as_r_does(monkeypatch):
    """Within subjects, who have several runs, then through Fisher's z."""
    own_runs = runs()
    for run in own_runs[:3]:
        run.subject = "000"
    nulls = []
    monkeypatch.setattr(
        scores,
        "circular_shift_null",
        lambda *own, **options: nulls.append(circular_shift_null(*own, **options)) or nulls[-1],
    )
    series = [(1 + i) * run.series + 4 * smooth(np.random.default_rng(i)) for i, run in enumerate(own_runs)]
    rows = {"training_mean": [0 * one for one in series], "model": series}
    table = score_rows({name: [result(one) for one in row] for name, row in rows.items()}, own_runs, seed=0)
    assert nulls[0].observed == pytest.approx(table["model"]["scores"]["r"]["mean"], abs=1e-12)


def test_a_model_as_good_without_its_eeg_does_not_use_it():
    own_runs = runs()
    predicted = planted(own_runs)
    judged, _ = verdict(predicted, own_runs, model_zeroed=predicted)
    assert not judged["eeg_information"]
    judged, _ = verdict(predicted, own_runs, model_zeroed=planted(own_runs, 0.0))
    assert judged["eeg_information"]


def test_a_prediction_beyond_the_oracle_is_suspected_of_a_leak():
    own_runs = runs()
    judged, _ = verdict([run.series for run in own_runs], own_runs, oracle=planted(own_runs))
    assert any("Look for a leak" in sentence for sentence in judged["sentences"])


def test_too_few_subjects_are_refused():
    check_subjects(list("abcdef"))
    with pytest.raises(InputError, match="test subjects: found 5"):
        check_subjects(list("abcdea"))


def test_runs_of_several_repetition_times_are_named():
    own_runs = runs()
    check_timing(own_runs)
    own_runs[3].repetition_time = 1.0
    with pytest.raises(InputError, match=r"run-0 with a volume every 2 s, and run-3 with one every 1 s"):
        check_timing(own_runs)
