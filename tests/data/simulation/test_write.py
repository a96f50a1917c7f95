"""Files of a simulated data set: read back, identical whoever writes them, all or nothing."""

import dataclasses
import json
from pathlib import Path

import mne
import nibabel
import numpy as np
import pytest
from safetensors.numpy import load_file

from eeg2fmri.data.simulation import dataset, simulate_dataset, simulate_run, write_run
from eeg2fmri.errors import FileError, InputError
from eeg2fmri.files import sha256
from eeg2fmri.recordings.bold import read_bold
from eeg2fmri.recordings.eeg import read_eeg

NUM_VOLUMES = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return simulate_dataset(tmp_path_factory.mktemp("simulated") / "set", num_subjects=2, num_volumes=NUM_VOLUMES)


@pytest.fixture(scope="module")
def run():
    return simulate_run(subject=1, num_volumes=NUM_VOLUMES)


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): sha256(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_eeg_comes_back_within_quantisation(root, run):
    raw = mne.io.read_raw_brainvision(root / "sub-002/eeg/sub-002_task-rest_eeg.vhdr", preload=True, verbose="ERROR")
    assert raw.ch_names == [*run.electrodes, "ECG"]
    assert raw.info["sfreq"] == 128.0
    # Half a step of 0.1 microvolts.
    assert np.abs(raw.get_data() - np.vstack([run.eeg, run.ecg])).max() <= 0.0501e-6
    onsets = raw.annotations.onset[raw.annotations.description == "Response/R128"]
    np.testing.assert_allclose(onsets, run.volume_onsets)
    pulses = raw.annotations.onset[raw.annotations.description == "Pulse Artifact/R"]
    np.testing.assert_allclose(pulses, run.pulse_onsets, atol=0.5 / 128 + 1e-6)


def test_our_readers_accept_the_files(root, run):
    recording = read_eeg(root / "sub-002/eeg/sub-002_task-rest_eeg.vhdr")
    assert recording.electrodes == run.electrodes
    assert sum(marker.description.endswith("R128") for marker in recording.markers) == NUM_VOLUMES
    bold = read_bold(root / "sub-002/func/sub-002_task-rest_bold.nii.gz")
    assert bold.repetition_time == 2.0
    np.testing.assert_allclose(bold.affine, run.affine)


def test_bold_comes_back_within_quantisation(root, run):
    image = nibabel.load(root / "sub-002/func/sub-002_task-rest_bold.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert image.header.get_zooms() == (5.5, 6.5, 10.0, 2.0)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    step = np.ptp(run.bold) / 65534
    assert np.abs(image.get_fdata() - run.bold).max() <= 0.51 * step


def test_truth_is_saved_with_its_config(root, run):
    folder = root / "derivatives/truth/sub-002"
    truth = load_file(folder / "sub-002_task-rest_truth.safetensors")
    for name, values in truth.items():
        np.testing.assert_array_equal(values, run.truth[name].astype(np.float32))
    assert set(truth) == set(run.truth) - {"network_names", "band_names"}
    config = json.loads((folder / "sub-002_task-rest_truth.json").read_text())
    assert config["level"]["coupling"] == 0.8
    assert config["network_names"] == list(run.truth["network_names"])
    assert (config["eeg_front"], config["dropped_markers"], config["first_volume_onset"]) == (0.0, [], 4.0)


def test_sidecars_agree_with_the_files(root):
    assert json.loads((root / "sub-001/func/sub-001_task-rest_bold.json").read_text()) == {
        "TaskName": "rest",
        "RepetitionTime": 2.0,
    }
    described = json.loads((root / "sub-001/eeg/sub-001_task-rest_eeg.json").read_text())
    assert described["RecordingDuration"] == 4 + 2 * NUM_VOLUMES
    channels = (root / "sub-001/eeg/sub-001_task-rest_channels.tsv").read_text().splitlines()
    assert len(channels) == 1 + described["EEGChannelCount"] + described["ECGChannelCount"]
    assert (root / "participants.tsv").read_text().split() == [
        *("participant_id", "group"),
        *("sub-001", "simulated", "sub-002", "simulated"),
    ]


def test_a_subject_alone_is_the_same_as_in_a_set(root, tmp_path):
    alone = simulate_dataset(tmp_path / "alone", num_subjects=1, first_subject=1, num_volumes=NUM_VOLUMES)
    of_subject = {name: digest for name, digest in contents(root).items() if "sub-002" in name}
    assert {name: digest for name, digest in contents(alone).items() if "sub-002" in name} == of_subject
    assert not list(alone.rglob("sub-001*"))


def test_number_of_jobs_changes_nothing(root, tmp_path):
    parallel = simulate_dataset(tmp_path / "parallel", num_subjects=2, num_volumes=NUM_VOLUMES, num_jobs=2)
    assert contents(parallel) == contents(root)


def test_existing_output_is_left_alone(root):
    before = contents(root)
    with pytest.raises(FileError):
        simulate_dataset(root, num_subjects=1, num_volumes=10)
    assert contents(root) == before


def test_nothing_is_left_when_a_subject_fails(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset, "export_run", fail)
    with pytest.raises(FileError, match="No space left"):
        simulate_dataset(tmp_path / "set", num_subjects=1, num_volumes=10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_subjects": 0},
        {"num_subjects": 1, "num_jobs": 0},
        {"num_subjects": 1, "first_subject": -1},
        {"num_subjects": 1, "num_volumes": 0},
        {"num_subjects": 1, "level": "hard"},
        {"num_subjects": 1, "seed": "42"},
        {"num_subjects": 1, "eeg_front": -1e3},
        {"num_subjects": 1, "dropped_markers": 149},
        {"num_subjects": 1, "num_volumes": 20, "dropped_markers": 19},
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(arguments, tmp_path):
    with pytest.raises(InputError):
        simulate_dataset(tmp_path / "set", **arguments)
    assert not list(tmp_path.iterdir())


def test_labels_name_the_files(run, tmp_path):
    paths = write_run(run, tmp_path, "07", "02")
    of_all_runs = {"sub-07_electrodes.tsv", "sub-07_coordsystem.json"}
    assert all(path.is_file() for path in paths)
    others = {path.name for path in paths if not path.name.startswith("sub-07_task-rest_run-02_")}
    assert others == of_all_runs
    for label in ("../x", "", "a_b"):
        with pytest.raises(InputError):
            write_run(run, tmp_path / "none", label)
    assert not (tmp_path / "none").exists()


def test_signals_beyond_16_bits_are_refused(run, tmp_path):
    loud = dataclasses.replace(run, eeg=run.eeg * 1e3)
    with pytest.raises(InputError, match="mV"):
        write_run(loud, tmp_path, "001")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
