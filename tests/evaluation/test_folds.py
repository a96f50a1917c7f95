"""Several folds in one evaluation: who is tested by whom, what is refused, and that pooling changes no score."""

import json
import shutil

import numpy as np
import pytest

from eeg2fmri import PairedDataset
from eeg2fmri.baselines.means import TrainingMean
from eeg2fmri.data.schemes import make_schemes
from eeg2fmri.errors import InputError
from eeg2fmri.evaluation.collect import IMAGE_SCORES, Measured
from eeg2fmri.evaluation.explanation import explain as explaining
from eeg2fmri.evaluation.folds import find_folds
from eeg2fmri.evaluation.protocol import PROTOCOLS
from eeg2fmri.evaluation.runs import DatasetRun
from eeg2fmri.hub import read_training_record, write_training_record


@pytest.fixture
def folds(own_pairs):
    make_schemes(own_pairs.pairs, "k-fold", "cv", num_folds=3)
    return own_pairs


def models(place, folder, splits=("cv-1", "cv-2", "cv-3")):
    for split in splits:
        place.model(folder / split, split)
    return folder / "{split}"


def test_folds_hold_every_subject_once(folds):
    found = find_folds(folds.pairs, "cv-*")
    assert [fold.name for fold in found] == ["cv-1", "cv-2", "cv-3"]
    tested = [subject for fold in found for subject in fold.test.subjects]
    assert sorted(tested) == [f"00{number}" for number in range(1, 10)]
    assert [fold.name for fold in find_folds(folds.pairs, "default")] == ["default"]


def test_a_subject_that_is_tested_twice_is_refused(folds):
    first = PairedDataset(folds.pairs, "test").subjects[0]
    with pytest.raises(InputError, match=rf"found {first} in the test of cv-\d and of default"):
        find_folds(folds.pairs, "*")


def test_a_split_within_runs_is_refused(folds):
    make_schemes(folds.pairs, "within-run", "time", validation_share=0.0)
    with pytest.raises(InputError, match=r"split time: found 001, 002, .* in training and test"):
        find_folds(folds.pairs, "time")


def test_an_unknown_split_is_answered_with_those_that_there_are(folds):
    with pytest.raises(InputError, match="cv-1, cv-2, cv-3, default"):
        find_folds(folds.pairs, "loo-*")


def test_a_model_of_another_fold_is_refused_by_its_subject(folds, tmp_path):
    model = models(folds, tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / "cv-2")
    shutil.copytree(tmp_path / "runs" / "cv-1", tmp_path / "runs" / "cv-2")
    seen = set(PairedDataset(folds.pairs, "train", "cv-1").subjects)
    leaked = ", ".join(sorted(seen & set(PairedDataset(folds.pairs, "test", "cv-2").subjects)))
    with pytest.raises(InputError, match=rf"found {leaked}, on which the model \S+cv-2 was trained"):
        folds.evaluate(tmp_path / "out", model, data_split="cv-*")


def test_one_model_for_all_folds_has_seen_test_subjects(folds, tmp_path):
    model = folds.model(tmp_path / "model", "cv-1")
    with pytest.raises(InputError, match="on which the model"):
        folds.evaluate(tmp_path / "out", model, data_split="cv-*")


def test_a_folds_model_is_explained_on_its_own_test_runs(folds, tmp_path, monkeypatch):
    class Passed(Exception):
        pass

    def load(folder):
        raise Passed

    monkeypatch.setattr(explaining, "load_pipeline", load)
    model = folds.model(tmp_path / "model", "cv-1")
    options = {"root": folds.sim}
    with pytest.raises(Passed):
        explaining.explain(str(model), folds.pairs, tmp_path / "out", data_split="cv-1", **options)
    with pytest.raises(InputError, match="on which the model was trained"):
        explaining.explain(str(model), folds.pairs, tmp_path / "out", data_split="cv-2", **options)


def test_models_of_different_datasets_are_refused(folds, tmp_path):
    model = models(folds, tmp_path / "runs")
    record = read_training_record(tmp_path / "runs" / "cv-3")
    elsewhere = {"training_subjects": ["x"], "training_runs": {"x": "1"}, "dataset_runs": ["1", "2"]}
    write_training_record(tmp_path / "runs" / "cv-3", {**record, **elsewhere})
    with pytest.raises(InputError, match="models: found those of cv-1 and cv-3, trained on different datasets"):
        folds.evaluate(tmp_path / "out", model, data_split="cv-*")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_fold_is_scored_with_its_own_training_subjects(folds, tmp_path):
    report = folds.evaluate(tmp_path / "out", "none", data_split="cv-*")
    assert set(report["dataset"]["folds"]) == {"cv-1", "cv-2", "cv-3"}
    subjects = report["dataset"]["test_subjects"]
    scores = report["rows"]["training_mean"]["scores"]["ssim_3d"]["per_subject"]
    for name, fold in report["dataset"]["folds"].items():
        training, test = (PairedDataset(folds.pairs, part, name) for part in ("train", "test"))
        assert fold == {"test_subjects": test.subjects, "num_training_subjects": len(training.subjects)}
        mean = TrainingMean().fit([DatasetRun(training, entry, folds.sim) for entry in training.runs])
        for entry in test.runs:
            run = DatasetRun(test, entry, folds.sim)
            alone, _ = Measured(run, PROTOCOLS["quick"].image_volumes_per_run).results(mean)
            expected = alone.image[IMAGE_SCORES.index("ssim_3d")].mean()
            assert scores[subjects.index(run.subject)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_leaving_one_out_pools_the_subjects_for_every_null(folds, tmp_path):
    """Also where a fold has a single test subject: another subject's EEG is then one of another fold."""
    make_schemes(folds.pairs, "leave-one-out", "loo")
    subjects = PairedDataset(folds.pairs, "train").subjects + PairedDataset(folds.pairs, "test").subjects
    splits = [path.name for path in sorted((folds.pairs / "splits").glob("loo-*"))]
    for split in splits[:2]:
        shutil.rmtree(folds.pairs / "splits" / split)  # seven folds are enough
    model = models(folds, tmp_path / "runs", splits[2:])
    report = folds.evaluate(tmp_path / "out", model, data_split="loo-*", num_samples=1, num_inference_steps=1)
    assert len(report["dataset"]["test_subjects"]) == 7 <= len(subjects)
    control = report["rows"]["model_other_subject"]
    assert np.isfinite(control["model_beyond_control"]["p"])
    assert len(report["rows"]["sensor_ridge"]["scores"]["r"]["per_subject"]) == 7
    assert "7 folds" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "results.json").read_text())["settings"]["data_split"] == "loo-*"
