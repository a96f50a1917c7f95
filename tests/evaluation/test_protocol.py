"""The whole protocol on six simulated subjects: its outputs, the same bits again, and going on after a stop."""

import numpy as np
import pytest

from eeg2fmri.baselines.means import TrainingMean, Zeros
from eeg2fmri.errors import FileError, InputError
from eeg2fmri.evaluation import protocol
from eeg2fmri.evaluation.model_rows import DiffusionModel
from eeg2fmri.evaluation.outside import NIfTIPredictions
from eeg2fmri.evaluation.rows import Row

SAMPLING = {"num_samples": 2, "num_inference_steps": 1}


class Stop:
    """Stands in for a function, and stops the process instead, from the given call on."""

    def __init__(self, function, after=0):
        self.function, self.left = function, after

    def __call__(self, *arguments):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self.function(*arguments)


def test_where_no_row_reads_the_eeg_the_others_are_reported(place, tmp_path, monkeypatch):
    """Measured data with a single training subject have no ridge."""
    still = [
        Row("zeros", "zeros", "nothing", Zeros()),
        Row("training_mean", "training mean", "nothing", TrainingMean()),
    ]
    monkeypatch.setattr(protocol, "baseline_rows", lambda: still)
    report = place.evaluate(tmp_path / "out", "none")
    assert report["verdict"]["headline"] == "No row reads the EEG."
    text = (tmp_path / "out" / "report.html").read_text()
    assert "training mean" in text
    assert "Time courses" not in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_output_is_there_and_an_interrupted_evaluation_goes_on(place, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(protocol, "score_rows", Stop(protocol.score_rows))
        with pytest.raises(KeyboardInterrupt):
            place.evaluate(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]

    def again(self, run):
        raise AssertionError("what was finished is computed anew")

    with monkeypatch.context() as patch:
        patch.setattr(NIfTIPredictions, "predict", again)
        report = place.evaluate(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    names = ["model_index.yml", "report.html", "results.csv", "results.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert report["verdict"]["eeg_information"]
    planted, oracle = (report["rows"][name]["scores"]["r"]["mean"] for name in ("model", "oracle"))
    assert planted == pytest.approx(oracle, abs=1e-4)
    assert "spatial_filter_ridge" in report["not_available"]
    text = (tmp_path / "out" / "report.html").read_text()
    assert "EEG information: yes" in text
    assert "http" not in text.replace("data:image", "")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_pipeline_gives_the_same_bits_again_though_it_was_interrupted(place, tmp_path, monkeypatch):
    model = place.model(tmp_path / "model")
    report = place.evaluate(tmp_path / "whole", model, **SAMPLING)
    assert report["rows"]["model"]["samples"] == 2
    assert not report["verdict"]["eeg_information"]
    with monkeypatch.context() as patch:
        stop = Stop(DiffusionModel._guidance, after=20)
        patch.setattr(DiffusionModel, "_guidance", lambda *arguments: stop(*arguments))
        with pytest.raises(KeyboardInterrupt):
            place.evaluate(tmp_path / "resumed", model, **SAMPLING)
    assert list((tmp_path / ".resumed.partial").glob("*/model/*.npz"))
    place.evaluate(tmp_path / "resumed", model, **SAMPLING)
    assert place.without_times(tmp_path / "resumed") == place.without_times(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_baselines_alone_are_scored_and_the_ridge_is_judged(place, tmp_path):
    report = place.evaluate(tmp_path / "out", "none")
    assert not any(name.startswith("model") for name in report["rows"])
    assert report["verdict"]["row"] == "sensor_ridge"
    assert report["verdict"]["headline"].startswith("No model was scored.")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "results.csv", "results.json"]


def test_two_models_are_compared_on_the_same_runs_alone(place, tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "baseline_rows", lambda: [Row("training_mean", "mean", "nothing", TrainingMean())])
    for run in place.runs():
        noise = np.random.default_rng(0).standard_normal((len(run.onsets), *run.mean.shape))
        place.write(run, (run.mean * (1 + 0.01 * noise)).astype(np.float32), tmp_path / "noise")
    first = place.evaluate(tmp_path / "first", predictions=tmp_path / "noise")
    report = place.evaluate(tmp_path / "second", against=tmp_path / "first")
    compared = report["against"]
    assert first["against"] is None
    assert compared["model"] == "planted"
    own, other = (one["rows"]["model"]["scores"] for one in (report, first))
    for score in ("r", "rmse_brain"):
        expected = np.mean(own[score]["per_subject"]) - np.mean(other[score]["per_subject"])
        assert compared["scores"][score]["mean"] == pytest.approx(expected)
    assert compared["scores"]["r"]["p"] == 2 / 2**6
    assert compared["scores"]["r"]["low"] > 0
    assert "Minus planted" in (tmp_path / "second" / "report.html").read_text()
    with pytest.raises(InputError, match="against: found an evaluation with other image volumes per run"):
        place.evaluate(tmp_path / "third", against=tmp_path / "first", protocol="full")
    results = tmp_path / "first" / "results.json"
    results.write_text(results.read_text().replace(first["dataset"]["runs"][place.runs()[0].name], "another"))
    with pytest.raises(InputError, match="against: found an evaluation with other runs"):
        place.evaluate(tmp_path / "third", against=tmp_path / "first")
    with pytest.raises(FileError, match="no readable results"):
        place.evaluate(tmp_path / "third", against=tmp_path)
