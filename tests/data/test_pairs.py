import contextlib
import dataclasses
import itertools
import json
import pickle
import shutil

import distributed
import joblib
import nibabel
import numpy as np
import pytest
import torch

import eeg2fmri.data.paired_dataset as paired_dataset_module
import eeg2fmri.data.pairs as pairs_module
from eeg2fmri import EEGProcessor, PairedDataset, VolumeProcessor, read_bold, read_eeg
from eeg2fmri.data.alignment import Timing, volume_onsets
from eeg2fmri.data.pairs import build_pairs
from eeg2fmri.data.splits import split_subjects
from eeg2fmri.data.stored_run import run_arrays
from eeg2fmri.errors import FileError, InputError, RecordingError
from eeg2fmri.files import sha256
from eeg2fmri.recordings.layouts import find_bids_runs
from tiny_files import write_eeg
from tiny_pairs import EEG, GRID, contents, tiny_processors, tiny_run, tiny_study, train_on


def processors():
    return EEGProcessor(**EEG), VolumeProcessor(mode="change", space="mni", **GRID)


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


def build(runs, output, split=None, **options):
    eeg, volume = tiny_processors()
    split = train_on(*sorted({run.subject for run in runs})) if split is None else split
    return build_pairs(runs, output, eeg_processor=eeg, volume_processor=volume, split=split, **options)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return tiny_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def tiny(study, tmp_path_factory):
    return build(study, tmp_path_factory.mktemp("tiny") / "pairs")


def test_equal_inputs_give_equal_files_whatever_the_number_of_processes(study, tiny, tmp_path):
    again = build(study, tmp_path / "again", num_jobs=2)
    assert contents(again) == contents(tiny)
    assert list(tmp_path.iterdir()) == [again]


def test_a_local_dask_cluster_builds_the_same_files(study, tiny, tmp_path):
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        assert contents(build(study, tmp_path / "pairs", num_jobs=2)) == contents(tiny)


def test_every_source_file_is_named_from_the_root_with_its_checksum(study, tmp_path):
    folder = build(study, tmp_path / "pairs", source={"root": str(study[0].eeg.parent), "layout": "table"})
    index = json.loads((folder / "index.json").read_text())
    assert (index["source"]["layout"], index["timing"]["preset"]) == ("table", "aligned")
    assert index["eeg_processor"]["mode"] == "log_power"
    run = index["runs"][1]
    assert [run[name] for name in ("name", "subject", "session", "task", "run", "eeg", "bold")] == [
        *("sub-B_task-rest", "B", None, "rest", None, "B.vhdr", "B.nii.gz")
    ]
    assert [source["path"] for source in run["sources"]] == ["B.vhdr", "B.eeg", "B.vmrk", "B.nii.gz"]
    for source in run["sources"]:
        path = study[0].eeg.parent / source["path"]
        assert (path.stat().st_size, sha256(path)) == (source["bytes"], source["sha256"])


def killed_after(count, monkeypatch):
    """Let a builder die like a killed process after so many runs: without any clean-up."""
    made = []

    def dying(*arguments):
        if len(made) == count:
            raise KeyboardInterrupt
        made.append(arguments[0].recording.source)
        return run_arrays(*arguments)

    monkeypatch.setattr(pairs_module, "run_arrays", dying)
    return made


def test_a_killed_build_goes_on_with_the_runs_that_are_left(study, tiny, tmp_path, monkeypatch):
    killed_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        build(study, tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()
    made = killed_after(3, monkeypatch)
    assert contents(build(study, tmp_path / "pairs")) == contents(tiny)
    assert made == [str(study[2].eeg)]
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


@pytest.mark.parametrize("change", ["source", "settings", "damage"])
def test_what_a_killed_build_left_is_not_used_when_anything_has_changed(tmp_path, monkeypatch, change):
    runs = tiny_study(tmp_path / "study", "AB")
    killed_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        build(runs, tmp_path / "pairs")
    options = {}
    if change == "source":
        tiny_run(tmp_path / "study", "A", seed=77)
    elif change == "settings":
        options["timing"] = Timing(marker="R128")
    else:
        (stored,) = (tmp_path / ".pairs.partial").glob("*.safetensors")
        stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    made = killed_after(9, monkeypatch)
    resumed = build(runs, tmp_path / "pairs", **options)
    assert len(made) == 2
    assert contents(resumed) == contents(build(runs, tmp_path / "fresh", **options))


def test_markers_of_another_recording_are_a_source_too(tmp_path, monkeypatch):
    """The raw recording gives every onset of preprocessed EEG: with other markers nothing that was made holds."""
    run = tiny_run(tmp_path, "A")
    raw = write_eeg(tmp_path / "raw.vhdr", [(1.5 + k, "Response/R128") for k in range(30)])
    run = dataclasses.replace(run, markers_from=raw, markers_shift=-1.0)
    killed_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        build([run, dataclasses.replace(run, name="sub-A_task-other")], tmp_path / "pairs")
    raw.with_suffix(".vmrk").write_text(raw.with_suffix(".vmrk").read_text() + "\n")
    made = killed_after(9, monkeypatch)
    folder = build([run], tmp_path / "pairs")
    assert len(made) == 1
    (entry,) = json.loads((folder / "index.json").read_text())["runs"]
    names = [source["path"].rpartition("/")[2] for source in entry["sources"]]
    assert names == ["A.vhdr", "A.eeg", "A.vmrk", "raw.vhdr", "raw.vmrk", "A.nii.gz"]


def test_who_waited_uses_the_finished_dataset_or_says_that_it_is_another(study, tiny, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def finished_meanwhile(path):
        shutil.copytree(tiny, path)
        yield None

    monkeypatch.setattr(pairs_module, "resumable_folder", finished_meanwhile)
    assert build(study, tmp_path / "same") == tmp_path / "same"
    with pytest.raises(FileError, match="another dataset, which was finished while this process waited"):
        build(study, tmp_path / "other", split=train_on("A"))


def test_what_float16_can_t_hold_is_refused(study, tmp_path, monkeypatch):
    original = EEGProcessor.spectra
    monkeypatch.setattr(EEGProcessor, "spectra", lambda self, *arguments: original(self, *arguments) * 1e5)
    with pytest.raises(RecordingError, match=r"spectra, in uV or ln uV\^2, of up to .*65504"):
        build(study, tmp_path / "pairs")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("damage", "words"), [("cut", "bytes; expected"), ("gone", "found nothing")])
def test_a_file_that_is_gone_or_cut_is_named_at_once(tiny, tmp_path, damage, words):
    folder = shutil.copytree(tiny, tmp_path / "pairs")
    path = folder / "sub-B_task-rest.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    if damage == "gone":
        path.unlink()
    with pytest.raises(FileError, match=f"sub-B_task-rest.safetensors: .*{words}"):
        PairedDataset(folder)


def test_a_changed_file_is_found_by_its_checksum(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "pairs")
    PairedDataset(folder).verify()
    path = folder / "sub-B_task-rest.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"sub-B_task-rest.safetensors: found the checksum"):
        PairedDataset(folder).verify()
    path.write_bytes(b"\xff" * len(content))
    with pytest.raises(FileError, match="no readable run"):
        PairedDataset(folder)[40]


def test_worker_processes_read_the_same(tiny):
    dataset = PairedDataset(tiny)
    first = dataset[3]
    copy = pickle.loads(pickle.dumps(dataset))
    assert all(torch.equal(first[name], copy[3][name]) for name in first)


def test_a_batch_is_its_items(tiny):
    dataset = PairedDataset(tiny)
    order = [5, 60, 5, len(dataset) - 1]
    expected = torch.utils.data.default_collate([dataset[i] for i in order])
    (batch,) = torch.utils.data.DataLoader(dataset, sampler=[order], batch_size=None)
    assert batch.keys() == expected.keys() == {"eeg", "volume", "condition"}
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert all(tensor.is_contiguous() and tensor.dtype == torch.float32 for tensor in batch.values())


def test_a_small_cache_changes_nothing(tiny, monkeypatch):
    items = list(PairedDataset(tiny))
    monkeypatch.setattr(paired_dataset_module, "CACHE_BYTES", 1)
    dataset = PairedDataset(tiny)
    order = np.random.default_rng(0).permutation(len(dataset))
    assert all(torch.equal(dataset[i][name], items[i][name]) for i in order for name in items[i])
    assert len(dataset._open_runs) == 1


def test_runs_of_another_space_are_named(study, tmp_path):
    """In MNI space all runs share a grid: here the last one's image lies elsewhere."""
    image = nibabel.load(study[2].bold)
    moved = tmp_path / "moved.nii.gz"
    affine = image.affine + np.array([[0, 0, 0, 9.0], *np.zeros((3, 4))])
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine, image.header), moved)
    runs = [*study[:2], dataclasses.replace(study[2], bold=moved)]
    eeg, volume = tiny_processors(space="mni")
    with pytest.raises(RecordingError, match=r"sub-C_task-rest: sub-C_task-rest: found the affine"):
        build_pairs(runs, tmp_path / "p", eeg_processor=eeg, volume_processor=volume, split=train_on("A", "B", "C"))


def test_a_run_that_is_stored_mirrored_is_named(study, tmp_path):
    """In native space no grid is shared, but left must be left in all runs."""
    image = nibabel.load(study[1].bold)
    mirrored = tmp_path / "mirrored.nii.gz"
    affine = image.affine @ np.diag([-1, 1, 1, 1]) + np.array([[0, 0, 0, 42.0], *np.zeros((3, 4))])
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], affine, image.header), mirrored)
    runs = [study[0], dataclasses.replace(study[1], bold=mirrored), study[2]]
    with pytest.raises(RecordingError, match=r"sub-B_task-rest: found voxel axes in the order LAS; expected RAS"):
        build(runs, tmp_path / "pairs")
    skipped = build(runs, tmp_path / "skipped", skip_invalid=True, split=train_on("A", "C"))
    assert PairedDataset(skipped).subjects == ["A", "C"]
