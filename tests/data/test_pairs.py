import itertools
import json

import numpy as np
import pytest
import torch

from eeg2fmri import EEGProcessor, PairedDataset, VolumeProcessor, read_bold, read_eeg
from eeg2fmri.data.alignment import Timing, volume_onsets
from eeg2fmri.data.pairs import build_pairs
from eeg2fmri.data.splits import split_subjects
from eeg2fmri.errors import FileError, InputError, RecordingError
from eeg2fmri.recordings.layouts import find_bids_runs

SETTINGS = {
    "electrodes": ["Fp1", "Fp2", "C3", "Cz", "C4", "P3", "P4", "Oz"],
    "mode": "log_power",
    "sampling_rate": 128.0,
    "num_frequencies": 10,
    "bins_per_frequency": 4,
    "num_windows": 5,
    "window_start": -10.0,
    "normalization": "training",
}


def processors():
    volume = VolumeProcessor(
        mode="change", sample_size=(16, 32, 32), grid_shape=(32, 32, 16), repetition_time=2.0, space="mni"
    )
    return EEGProcessor(**SETTINGS), volume


@pytest.fixture(scope="module")
def pairs(simulated, tmp_path_factory):
    output = tmp_path_factory.mktemp("pairs") / "pairs"
    eeg, volume = processors()
    runs = find_bids_runs(simulated)
    split = split_subjects([run.subject for run in runs], 1, 1, seed=0)
    return build_pairs(runs, output, eeg_processor=eeg, volume_processor=volume, split=split)


def test_every_pair_is_what_the_processors_make_of_the_files(simulated, pairs):
    dataset = PairedDataset(pairs, "train")
    (run,) = [run for run in find_bids_runs(simulated) if run.subject == dataset.runs[0]["subject"]]
    recording, bold = read_eeg(run.eeg), read_bold(run.bold)
    onsets = volume_onsets(recording, bold.num_volumes, bold.repetition_time)
    kept = onsets >= 10.0
    assert len(dataset) == kept.sum() < bold.num_volumes
    windows = dataset.eeg_processor(recording, onsets=onsets[kept]).windows
    volumes = dataset.volume_processor.preprocess(bold)[kept]
    for i in (0, 7, len(dataset) - 1):
        item = dataset[i]
        torch.testing.assert_close(item["eeg"], torch.from_numpy(windows[i]), atol=0.01, rtol=2e-3)
        torch.testing.assert_close(item["volume"], torch.from_numpy(volumes[i]), atol=0.01, rtol=2e-3)
    assert item["condition"].shape == (1, 16, 32, 32)


def test_splits_share_no_subject_and_lose_none(pairs):
    subjects = [PairedDataset(pairs, split).subjects for split in ("train", "validation", "test")]
    assert sorted(itertools.chain(*subjects)) == ["001", "002", "003"]
    assert [len(names) for names in subjects] == [1, 1, 1]


def test_statistics_come_from_the_training_subjects_alone(simulated, pairs):
    dataset = PairedDataset(pairs, "train")
    eeg, _ = processors()
    (run,) = [run for run in find_bids_runs(simulated) if run.subject in dataset.subjects]
    recording, bold = read_eeg(run.eeg), read_bold(run.bold)
    onsets = volume_onsets(recording, bold.num_volumes, bold.repetition_time)
    eeg.fit([(recording, onsets[onsets >= 10.0])])
    np.testing.assert_array_equal(dataset.eeg_processor.mean, eeg.mean)


def test_the_index_says_where_everything_comes_from(pairs):
    index = json.loads((pairs / "index.json").read_text())
    assert {run["subject"] for run in index["runs"]} == {"001", "002", "003"}
    for run in index["runs"]:
        assert len(run["onsets"]) == len(run["volumes"]) == run["num_pairs"]
        assert np.allclose(np.diff(run["onsets"]), 2.0, atol=0.01)
        assert len(run["sha256"]) == 64


def test_a_run_that_does_not_fit_leaves_no_dataset(simulated, tmp_path):
    eeg, volume = processors()
    runs = find_bids_runs(simulated)
    with pytest.raises(RecordingError, match="fitting markers"):
        build_pairs(
            runs,
            tmp_path / "pairs",
            eeg_processor=eeg,
            volume_processor=volume,
            split=split_subjects([run.subject for run in runs], 1, 1, seed=0),
            timing=Timing(marker="no such marker"),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_dataset_is_named(tmp_path):
    with pytest.raises(FileError, match=r"index\.json.*eeg2fmri prepare"):
        PairedDataset(tmp_path)


def test_an_unknown_split_is_named(pairs):
    with pytest.raises(InputError, match=r"split.*'holdout'"):
        PairedDataset(pairs, "holdout")


def test_another_format_version_is_refused(pairs, tmp_path):
    index = json.loads((pairs / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**index, "format_version": 99}))
    with pytest.raises(FileError, match="format version 99"):
        PairedDataset(tmp_path)


def test_a_split_needs_a_subject_to_train_on():
    with pytest.raises(InputError, match="2 subjects for 1 validation and 1 test"):
        split_subjects(["a", "b", "a"], 1, 1, seed=0)
    assert split_subjects(list("abcdef"), 2, 1, seed=3) == split_subjects(list("fedcbaa"), 2, 1, seed=3)
