"""A regression pipeline as rows: what each control changes, and the whole protocol on a tiny one."""

import numpy as np
import pytest
import torch

import tiny_networks
from eeg2fmri import CNNPlusModel, EEG2fMRIRegressionPipeline, PairedDataset
from eeg2fmri.data.leaks import training_record
from eeg2fmri.errors import InputError
from eeg2fmri.evaluation.regression_rows import TITLES, RegressionModel, regression_rows
from eeg2fmri.hub import save_for_hub, write_training_record
from eeg2fmri.pipeline_inputs import window_shape


def samples(pipe, runs, control):
    model = RegressionModel(pipe, runs, batch_size=16, seed=3, control=control)
    return list(model.fit([]).predict(runs[0]).samples)


def test_controls_change_the_eeg_and_nothing_else():
    pipe = tiny_networks.pipeline()
    runs = [tiny_networks.run(number, pipe) for number in range(3)]
    made = {control: samples(pipe, runs, control) for control in TITLES}
    assert {len(volumes) for volumes in made.values()} == {1}
    for control in list(TITLES)[1:]:
        assert not np.allclose(made[control][0], made["none"][0]), control
    expected = pipe(torch.from_numpy(runs[0].windows(None)), output_type="np").volumes[0].transpose(0, 3, 2, 1)
    np.testing.assert_allclose(made["none"][0], expected, rtol=1e-5)
    zeroed = made["zeroed"][0]
    np.testing.assert_allclose(zeroed, np.broadcast_to(zeroed[:1], zeroed.shape), rtol=1e-5)


def test_the_rows_are_the_model_and_its_controls_without_the_unconditional_one():
    rows = regression_rows(tiny_networks.pipeline(), [], batch_size=4, seed=0)
    assert [row.name for row in rows] == ["model", "model_shifted", "model_other_subject", "model_zeroed"]
    assert {(row.num_samples, row.num_steps) for row in rows} == {(1, 1)}


@pytest.fixture
def model(place, tmp_path):
    """An untrained CNN+ that says that it was trained on the training subjects."""
    dataset = PairedDataset(place.pairs, "train")
    in_channels, *sample_size = window_shape(dataset.eeg_processor)
    network = tiny_networks.network(
        CNNPlusModel, in_channels=in_channels, sample_size=tuple(sample_size), volume_size=(16, 32, 32)
    )
    folder = tmp_path / "model"
    save_for_hub(EEG2fMRIRegressionPipeline(network, dataset.eeg_processor, dataset.volume_processor), folder)
    write_training_record(folder, training_record(dataset))
    return folder


@pytest.mark.slow
def test_the_protocol_scores_it_and_finds_no_eeg_in_an_untrained_one(place, model, tmp_path):
    report = place.evaluate(tmp_path / "out", model)
    rows = [name for name in report["rows"] if name.startswith("model")]
    assert rows == ["model", "model_shifted", "model_other_subject", "model_zeroed"]
    assert report["rows"]["model"]["network_calls_per_volume"] == 1
    assert report["rows"]["model_zeroed"]["constant"]
    assert report["rows"]["model_shifted"]["model_beyond_control"] is not None
    settings = report["settings"]
    assert (settings["samples"], settings["steps"], settings["sampler"]) == (1, None, None)
    assert not report["verdict"]["eeg_information"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "model_index.yml",
        "report.html",
        "results.csv",
        "results.json",
    ]


@pytest.mark.slow
def test_a_test_subject_seen_in_training_is_refused(place, model, tmp_path):
    write_training_record(model, training_record(PairedDataset(place.pairs, "test")))
    with pytest.raises(InputError, match="train"):
        place.evaluate(tmp_path / "out", model)
