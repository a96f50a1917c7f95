"""Named splits: statistics as of a direct fit on the training part, and of nothing else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eeg2fmri import BOLDRun, EEGProcessor, PairedDataset, VolumeProcessor
from eeg2fmri.data.alignment import align_run
from eeg2fmri.data.pairs import build_pairs
from eeg2fmri.data.schemes import make_schemes
from eeg2fmri.errors import FileError, InputError
from tiny_pairs import contents, same_arrays, tiny_processors, tiny_run, tiny_study, train_on

NUM_VOLUMES = 200


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tiny_study(tmp_path_factory.mktemp("study"), num_volumes=NUM_VOLUMES)


def build(runs, output, split, **volume):
    eeg, volume = tiny_processors(**volume)
    return build_pairs(runs, output, eeg_processor=eeg, volume_processor=volume, split=split)


@pytest.fixture(scope="module")
def pairs(runs, tmp_path_factory):
    return build(runs, tmp_path_factory.mktemp("pairs") / "pairs", train_on("A", "B", "C"))


def fitted(aligned, eeg, volume):
    """The direct way: both processors fitted on recordings."""
    eeg.fit([(one.recording, one.onsets) for one in aligned])
    volume.fit([one.bold for one in aligned])
    return eeg, volume


@pytest.mark.parametrize("mode", ["change", "minmax_run", "minmax_volume"])
def test_statistics_are_those_of_a_direct_fit_on_the_training_subjects(runs, tmp_path, mode):
    path = build(runs, tmp_path / "pairs", train_on("A"), mode=mode)
    make_schemes(path, "leave-one-out", "loo", num_validation=0)
    for test in "ABC":
        dataset = PairedDataset(path, scheme=f"loo-{test}")
        assert dataset.subjects == sorted(set("ABC") - {test})
        eeg, volume = tiny_processors(mode=mode)
        training = [align_run(run, eeg) for run in runs if run.subject != test]
        eeg, volume = fitted(training, eeg, volume)
        assert same_arrays(dataset.eeg_processor, eeg)
        assert same_arrays(dataset.volume_processor, volume)


def test_other_subjects_data_change_nothing_in_what_training_sees(runs, pairs, tmp_path):
    other = [*runs[:2], tiny_run(tmp_path / "other", "C", NUM_VOLUMES, seed=999)]
    one, two = (build(some, tmp_path / name, train_on("A", "B")) for some, name in ((runs, "one"), (other, "two")))
    assert (one / f"{runs[2].name}.safetensors").read_bytes() != (two / f"{runs[2].name}.safetensors").read_bytes()
    for name in ("splits/default", runs[0].name, runs[1].name):
        paths = [folder / name for folder in (one, two)]
        first, second = (
            contents(path) if path.is_dir() else path.with_suffix(".safetensors").read_bytes() for path in paths
        )
        assert first == second


def part_of(run, eeg, volumes):
    """A run as if only some of its volumes were there."""
    aligned = align_run(run, eeg)
    bold = aligned.bold
    kept = np.isin(aligned.volumes, volumes)
    return aligned.recording, aligned.onsets[kept], BOLDRun(bold.volumes[..., volumes], bold.affine, 1.0, run.name)


@pytest.mark.parametrize("mode", ["change", "minmax_run", "minmax_volume"])
def test_parts_within_runs_are_relative_to_the_training_part_alone(runs, tmp_path, mode):
    path = build(runs, tmp_path / "pairs", train_on("A"), mode=mode)
    make_schemes(path, "within-run", "within", validation_share=0.0, test_share=0.3)
    train, test = (PairedDataset(path, part, "within") for part in ("train", "test"))
    assert train.subjects == test.subjects == ["A", "B", "C"]
    eeg, volume = tiny_processors(mode=mode)
    parts = [part_of(run, eeg, entry["volumes"]) for run, entry in zip(runs, train.runs, strict=True)]
    eeg.fit([(recording, onsets) for recording, onsets, _ in parts])
    volume.fit([bold for _, _, bold in parts])
    np.testing.assert_allclose(train.eeg_processor.mean, eeg.mean, atol=2e-3)
    np.testing.assert_allclose(train.eeg_processor.scale, eeg.scale, rtol=2e-3)
    np.testing.assert_allclose(train.volume_processor.template_mean, volume.template_mean, rtol=1e-3, atol=0.2)
    np.testing.assert_array_equal(train.volume_processor.template_mask, volume.template_mask)
    recording, onsets, bold = parts[0]
    item, reference = train[0], volume.reference(bold)
    np.testing.assert_allclose(item["volume"], volume.preprocess(bold, reference)[0], atol=0.01)
    np.testing.assert_allclose(item["eeg"], eeg(recording, onsets=onsets).windows[0], atol=0.02)
    last = align_run(runs[0], eeg).bold
    expected = volume.preprocess(last, reference)[test.runs[0]["volumes"][0]]
    np.testing.assert_allclose(test[0]["volume"], expected, atol=0.01)


def test_what_lies_behind_the_gap_changes_nothing_before_it(runs, tmp_path):
    """The test part's volumes and EEG are replaced; reference and statistics of the training part stay."""
    path = build(runs, tmp_path / "pairs", train_on("A"))
    (scheme,) = make_schemes(path, "within-run", "within", validation_share=0.0, test_share=0.3)
    index = json.loads((path / "index.json").read_text())
    first, stop = json.loads((scheme / "split.json").read_text())["parts"]["train"][runs[0].name]
    assert first == 0
    from eeg2fmri.data.run_reference import measure_part
    from eeg2fmri.data.stored_run import open_run

    eeg, volume = tiny_processors()
    stored = open_run(path, index["runs"][0])
    moments, reference = measure_part(stored, slice(0, stop), 1.0, eeg, volume)
    stored.volumes[stop:] = 7.0
    stored.spectra[stored.index[stop:].min() :][4:] = 7.0
    again, changed = measure_part(stored, slice(0, stop), 1.0, eeg, volume)
    np.testing.assert_array_equal(moments.total, again.total)
    np.testing.assert_array_equal(reference.volume.mean, changed.volume.mean)
    np.testing.assert_array_equal(reference.volume.scale, changed.volume.scale)


def test_the_kinds_of_schemes_and_their_names(pairs, tmp_path):
    folder = shutil.copytree(pairs, tmp_path / "pairs")
    assert [path.name for path in make_schemes(folder, "subjects", "one", num_validation=1, num_test=1)] == ["one"]
    assert [path.name for path in make_schemes(folder, "k-fold", "cv", num_folds=3)] == ["cv-1", "cv-2", "cv-3"]
    dataset = PairedDataset(folder, "test", "cv-2")
    assert len(dataset.subjects) == 1
    assert isinstance(dataset.eeg_processor, EEGProcessor)
    assert isinstance(dataset.volume_processor, VolumeProcessor)
    assert {path.name for path in (folder / "splits").iterdir()} == {"default", "one", "cv-1", "cv-2", "cv-3"}


@pytest.mark.parametrize(
    ("kind", "name", "options", "error", "words"),
    [
        ("magic", "a", {}, InputError, "'magic'"),
        ("subjects", "../a", {}, InputError, "name.*letters"),
        ("subjects", "default", {}, FileError, "a scheme of that name"),
        ("subjects", "a", {"num_test": 3}, InputError, "3 subjects for 1 validation and 3 test"),
        ("subjects", "a", {"gap": 3}, InputError, "gap: found options that the kind 'subjects' does not have"),
        ("paper", "a", {}, InputError, "3 subjects of the layout ''"),
        ("within-run", "a", {"gap": 1.0}, InputError, "at least 36 s"),
    ],
)
def test_what_can_t_be_made_is_refused_and_leaves_nothing(pairs, kind, name, options, error, words):
    before = contents(pairs)
    with pytest.raises(error, match=words):
        make_schemes(pairs, kind, name, **options)
    assert contents(pairs) == before


def test_an_unknown_or_damaged_scheme_is_named(pairs, tmp_path):
    with pytest.raises(InputError, match=r"scheme: found 'other'.*default"):
        PairedDataset(pairs, scheme="other")
    folder = Path(shutil.copytree(pairs, tmp_path / "pairs"))
    (folder / "splits/default/split.json").write_text('{"parts": {"train": {"x": 3}}}')
    with pytest.raises(FileError, match=r"split\.json.*no readable split"):
        PairedDataset(folder)
