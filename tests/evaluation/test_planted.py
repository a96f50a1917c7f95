"""Models planted in a real evaluation: the verdict calls each by its name."""

import numpy as np
import pytest

from eeg2fmri import PairedDataset
from eeg2fmri.baselines.means import TrainingMean
from eeg2fmri.baselines.oracle import Oracle
from eeg2fmri.evaluation import protocol
from eeg2fmri.evaluation.runs import DatasetRun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    """The verdict is asked here; that a report is drawn, test_protocol.py shows."""
    monkeypatch.setattr(protocol, "write_report", lambda report, results, runs, path: path.write_text(""))


def oracle(run):
    (volumes,) = Oracle().fit([]).predict(run).samples
    return volumes


def judged(place, tmp_path, predict):
    """The verdict on a model that predicts a run by this function."""
    for run in place.runs():
        place.write(run, predict(run), tmp_path / "planted")
    return place.evaluate(tmp_path / "out", predictions=tmp_path / "planted")["verdict"]


def says(verdict, words):
    return any(words in sentence for sentence in verdict["sentences"])


def test_what_the_eeg_drives_is_found(place, tmp_path):
    verdict = judged(place, tmp_path, oracle)
    assert verdict["eeg_information"]
    assert verdict["headline"] == "EEG information: yes"


def test_a_model_in_shuffled_order_of_time_is_called_out(place, tmp_path):
    rng = np.random.default_rng(0)

    def shuffled(run):
        volumes = oracle(run)
        return volumes[rng.permutation(len(volumes))]

    verdict = judged(place, tmp_path, shuffled)
    assert not verdict["eeg_information"]
    assert "no EEG information" in verdict["headline"]
    assert says(verdict, "it is inside this null")
    assert says(verdict, "anatomy, not EEG")


@pytest.mark.parametrize("mean", ["own", "training"])
def test_a_model_of_anatomy_alone_is_called_out(place, tmp_path, mean):
    training = PairedDataset(place.pairs, "train")
    fitted = TrainingMean().fit([DatasetRun(training, entry, place.sim) for entry in training.runs])

    def still(run):
        volume = run.own_mean if mean == "own" else fitted.mean
        return np.broadcast_to(volume, (len(run.onsets), *volume.shape))

    verdict = judged(place, tmp_path, still)
    assert not verdict["eeg_information"]
    assert "no EEG information" in verdict["headline"]
    assert says(verdict, "it shows anatomy only")
    assert says(verdict, "anatomy, not EEG")


def test_anatomy_with_noise_on_top_is_called_out(place, tmp_path):
    rng = np.random.default_rng(1)

    def noisy(run):
        noise = rng.standard_normal((len(run.onsets), *run.own_mean.shape))
        return (run.own_mean * (1 + 0.01 * noise)).astype(np.float32)

    verdict = judged(place, tmp_path, noisy)
    assert not verdict["eeg_information"]
    assert says(verdict, "anatomy, not EEG")
