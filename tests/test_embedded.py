"""The pipeline that everyone tries first, on the recordings that users have."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from huggingface_hub import ModelCard
from nilearn import plotting

from eeg2fmri import EEG2fMRIPipeline
from eeg2fmri.cards import update_metadata
from eeg2fmri.errors import RecordingError
from eeg2fmri.evaluation.tables import markdown
from eeg2fmri.files import sha256
from eeg2fmri.generation import generate_files, write_demo_recording
from eeg2fmri.hub import read_training_record, resolve_model

NAME = "eeg2fmri-sim-small"
MAXIMUM_BYTES = 12e6
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pipe():
    pipe = EEG2fMRIPipeline.from_pretrained(resolve_model(NAME))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_it_is_small_and_safe():
    files = [path for path in resolve_model(NAME).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors", ".py"}
    assert sum(path.stat().st_size for path in files if path.suffix == ".safetensors") < MAXIMUM_BYTES


def test_its_files_are_in_the_layout_of_the_hub():
    folder = resolve_model(NAME)
    index = json.loads((folder / "model_index.json").read_text())
    components = {name for name, value in index.items() if isinstance(value, list)}
    assert components == {"eeg_encoder", "unet", "scheduler", "eeg_processor", "volume_processor", "prior"}
    assert components | {"model_index.json", "pipeline.py", "training.json"} == {
        path.name for path in folder.iterdir()
    }


@pytest.mark.parametrize("document", ["README.md", f"model_cards/{NAME}.md"])
def test_the_table_is_that_of_the_measurements(document):
    table = markdown(json.loads((REPOSITORY / "model_cards" / f"{NAME}.results.json").read_text()))
    assert f"<!-- results -->\n{table}\n<!-- /results -->" in (REPOSITORY / document).read_text()


def test_the_card_tells_the_hub_the_same_beside_its_controls(tmp_path):
    results = json.loads((REPOSITORY / "model_cards" / f"{NAME}.results.json").read_text())
    card = REPOSITORY / "model_cards" / f"{NAME}.md"
    shutil.copyfile(card, tmp_path / "card.md")
    update_metadata(tmp_path / "card.md", results)
    assert (tmp_path / "card.md").read_text() == card.read_text()
    told = {entry.metric_name: entry.metric_value for entry in ModelCard.load(card).data.eval_results}
    for name, row in (("r", "model"), ("r, control: sensor ridge", "sensor_ridge")):
        assert told[name] == pytest.approx(results["rows"][row]["scores"]["r"]["mean"], rel=1e-3)
    assert not {"ssim_3d", "ssim_2d", "psnr", "rmse"} & told.keys(), "a mean volume has them without any EEG"


def test_it_does_what_it_is_there_for():
    results = json.loads((REPOSITORY / "model_cards" / f"{NAME}.results.json").read_text())
    model = results["rows"]["model"]
    assert results["settings"]["samples"] == 32
    assert len(results["dataset"]["test_subjects"]) >= 8
    assert results["verdict"]["eeg_information"]
    assert model["scores"]["r"]["mean"] > 0.45
    assert model["scores"]["r_net_of_global"]["mean"] > 0.25
    for score in ("beyond_ridge", "net_beyond_ridge"):
        assert model[score]["low"] > 0
        assert model[score]["p"] < 0.05
    assert 0.8 < model["scores"]["variance_ratio"]["mean"] < 1.25
    assert 0.85 < model["scores"]["coverage_90"]["mean"] < 0.95


def test_the_measurements_are_of_these_weights_and_no_test_subject_was_trained_on():
    record = read_training_record(resolve_model(NAME))
    results = json.loads((REPOSITORY / "model_cards" / f"{NAME}.results.json").read_text())
    assert not set(record["training_subjects"]) & set(results["dataset"]["test_subjects"])
    for name, checksum in results["model"]["files"]["eight"].items():
        assert sha256(resolve_model(NAME) / name) == checksum


def test_the_real_recording_gives_one_volume_for_every_repetition_time(shared_data, tmp_path):
    recording = shared_data / "eeg" / "eegmmidb_64ch_128Hz_124s.edf"
    nifti, sidecar, picture = generate_files(recording, tmp_path, model=NAME, num_inference_steps=2)
    image = nib.load(nifti)
    content = json.loads(sidecar.read_text())
    # 124 s of EEG, the first volume after 24 s of it, one every 2 s.
    assert image.shape[3] == (124 - 24) // 2 + 1
    assert content["RepetitionTime"] == image.header["pixdim"][4] == 2.0
    assert content["FirstVolumeTime"] == 24.0
    assert np.isfinite(image.get_fdata()).all()
    plotting.plot_epi(nib.Nifti1Image(image.get_fdata().mean(-1), image.affine), output_file=tmp_path / "mean.png")
    assert (tmp_path / "mean.png").stat().st_size > 10_000
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bv_dig_test.vhdr", r"too short: 1\.\d+ s of EEG; expected at least 24\.000 s"),
        ("testbva.vhdr", r"too short: 10\.\d+ s of EEG; expected at least 24\.000 s"),
        ("test_raw_chanloc.set", r"too short: 3\.\d+ s of EEG; expected at least 24\.000 s"),
    ],
)
def test_real_recordings_that_are_too_short_say_so(shared_data, pipe, name, words):
    with pytest.raises(RecordingError, match=words):
        pipe(shared_data / "eeg" / name)


def test_the_demo_runs_on_a_subject_that_training_never_saw(tmp_path):
    recording = write_demo_recording(tmp_path, seed=42)
    nifti, *_ = generate_files(recording, tmp_path, model=NAME, num_inference_steps=1)
    assert nib.load(nifti).shape == (32, 32, 16, 61)
    assert (tmp_path / "simulated" / "sub-demo" / "func" / "sub-demo_task-rest_bold.nii.gz").is_file()
