"""The whole protocol on six simulated subjects, with an outside model whose files are planted."""

import json

import numpy as np
import pytest

from eeg2fmri import PairedDataset
from eeg2fmri.baselines.oracle import Oracle
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.simulation import simulate_dataset
from eeg2fmri.errors import FileError, InputError, RecordingError
from eeg2fmri.evaluation import protocol
from eeg2fmri.evaluation.outside import NIfTIPredictions
from eeg2fmri.evaluation.runs import DatasetRun, root_of
from eeg2fmri.recordings.bold import bold_image, write_bold

RECIPE = {
    "eeg_processor": {
        "electrodes": ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"],
        "mode": "log_power",
        "sampling_rate": 128.0,
        "num_frequencies": 11,
        "bins_per_frequency": 8,
        "num_windows": 5,
        "window_start": -10.0,
        "window_stop": 0.0,
        "baseline": "recording",
        "normalization": "training",
    },
    "volume_processor": {
        "mode": "change",
        "sample_size": [16, 32, 32],
        "grid_shape": [32, 32, 16],
        "repetition_time": 2.0,
        "space": "mni",
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocol")
    simulate_dataset(folder / "sim", level="easy", num_subjects=9, num_volumes=70)
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    prepare_dataset(
        folder / "sim", folder / "pairs", recipe=folder / "recipe.json", num_validation=1, num_test=6, seed=1
    )
    dataset = PairedDataset(folder / "pairs", "test")
    for entry in dataset.runs:
        run = DatasetRun(dataset, entry, folder / "sim")
        (volumes,) = Oracle().fit([]).predict(run).samples
        image = bold_image(np.ascontiguousarray(volumes.T), run.affine, run.repetition_time, space="mni")
        write_bold(image, folder / "good" / f"{run.name}.nii.gz")
    return folder


def evaluate(place, output, **options):
    settings = {"protocol": "quick", "predictions": place / "good", "root": place / "sim", **options}
    return protocol.evaluate("planted", place / "pairs", output, **settings)


def without_times(folder):
    rows = json.loads((folder / "results.json").read_text())["rows"]
    return {name: {key: value for key, value in row.items() if "seconds" not in key} for name, row in rows.items()}


@pytest.mark.slow
def test_every_output_is_there_and_an_interrupted_evaluation_goes_on(place, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(protocol, "score_rows", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate(place, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]

    def again(self, run):
        raise AssertionError("what was finished is computed anew")

    with monkeypatch.context() as patch:
        patch.setattr(NIfTIPredictions, "predict", again)
        report = evaluate(place, tmp_path / "out")
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
    evaluate(place, tmp_path / "again")
    assert without_times(tmp_path / "again") == without_times(tmp_path / "out")


@pytest.mark.parametrize("change", ["shape", "affine", "repetition time", "number of volumes"])
def test_predictions_that_do_not_fit_are_refused(place, tmp_path, change):
    dataset = PairedDataset(place / "pairs", "test")
    run = DatasetRun(dataset, dataset.runs[0], place / "sim")
    volumes, affine, time = np.ones((*run.mean.shape[::-1], len(run.onsets)), np.float32), run.affine.copy(), 2.0
    if change == "shape":
        volumes = volumes[:-1]
    if change == "affine":
        affine[0, 3] += 1
    if change == "repetition time":
        time = 2.5
    if change == "number of volumes":
        volumes = volumes[..., :-1]
    write_bold(bold_image(volumes, affine, time, space="mni"), tmp_path / f"{run.name}.nii.gz")
    with pytest.raises(RecordingError, match=f"found the {change}"):
        NIfTIPredictions(tmp_path, [run]).predict(run)


def test_missing_predictions_are_named(place, tmp_path):
    with pytest.raises(FileError, match="no prediction of sub-"):
        evaluate(place, tmp_path / "out", predictions=tmp_path)
    assert not list(tmp_path.iterdir())


def test_bad_arguments_are_refused_before_anything_is_read(place, tmp_path):
    with pytest.raises(InputError, match="protocol: found 'fast'"):
        evaluate(place, tmp_path / "out", protocol="fast")
    with pytest.raises(InputError, match="samples: found 0"):
        evaluate(place, tmp_path / "out", num_samples=0)
    with pytest.raises(FileError, match="something already there"):
        evaluate(place, tmp_path)
    with pytest.raises(FileError, match="no folder"):
        root_of(PairedDataset(place / "pairs", "test"), tmp_path / "nowhere")
