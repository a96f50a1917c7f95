"""A dataset prepared with the processors of a published pipeline: its electrodes, its grid, its statistics."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from eeg2fmri import EEGProcessor, PairedDataset, VolumeProcessor
from eeg2fmri.data.pairs import build_pairs
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.schemes import make_schemes
from eeg2fmri.data.simulation import PRESETS, simulate_dataset
from eeg2fmri.errors import InputError, RecordingError
from tiny_pairs import TINY_VOLUME, contents, same_arrays, tiny_processors, tiny_study, train_on

NUM_VOLUMES = 60


def build(runs, output, processors, **options):
    eeg, volume = processors
    return build_pairs(runs, output, eeg_processor=eeg, volume_processor=volume, split=train_on("A", "B"), **options)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Processors fitted to the subjects A and B, and their pairs."""
    folder = tmp_path_factory.mktemp("published")
    runs = tiny_study(folder / "study", "AB", NUM_VOLUMES)
    pairs = build(runs, folder / "pairs", tiny_processors(space="mni"))
    dataset = PairedDataset(pairs)
    return runs, pairs, (dataset.eeg_processor, dataset.volume_processor)


def test_statistics_stay_the_pipelines_in_every_split(published, tmp_path):
    _, _, processors = published
    runs = tiny_study(tmp_path / "study", "ABCD", NUM_VOLUMES)
    path = build(runs[:3], tmp_path / "pairs", processors, keep_statistics=True)
    make_schemes(path, "subjects", "other", num_validation=0, num_test=1)
    for scheme in ("default", "other"):
        dataset = PairedDataset(path, scheme=scheme)
        for own, found in zip(processors, (dataset.eeg_processor, dataset.volume_processor), strict=True):
            assert same_arrays(own, found)
            assert own.checksum() == found.checksum()


def test_the_subjects_that_the_processors_were_fitted_to_become_the_same_pairs(published, tmp_path):
    runs, pairs, processors = published
    again = build(runs, tmp_path / "pairs", processors, keep_statistics=True)
    one, two = PairedDataset(pairs), PairedDataset(again)
    for i in (0, len(one) - 1):
        for name, tensor in one[i].items():
            np.testing.assert_array_equal(tensor, two[i][name], err_msg=name)


def test_another_grid_is_resampled_to_the_pipelines(published, tmp_path):
    """A run on a grid that is one voxel longer holds the same brain."""
    runs, pairs, processors = published
    longer = dataclasses.replace(runs[0], bold=tmp_path / "longer.nii.gz")
    write_longer(runs[0].bold, longer.bold)
    with pytest.raises(RecordingError, match="another grid"):
        build([longer, runs[1]], tmp_path / "own", tiny_processors(space="mni"))
    path = build([longer, runs[1]], tmp_path / "pairs", processors, keep_statistics=True)
    one, two = PairedDataset(pairs), PairedDataset(path)
    assert two[5]["volume"].shape[1:] == tuple(TINY_VOLUME["sample_size"])
    np.testing.assert_allclose(two[5]["volume"], one[5]["volume"], atol=5e-2)


def write_longer(source: Path, target: Path) -> None:
    import nibabel

    image = nibabel.load(source)
    data = np.pad(np.asarray(image.dataobj), ((0, 1), (0, 0), (0, 0), (0, 0)), mode="edge")
    nibabel.save(nibabel.Nifti1Image(data, image.affine, image.header), target)


def test_a_group_with_another_montage_and_repetition_time(tmp_path):
    """Missing electrodes are interpolated; windows are seconds before each volume, whatever the repetition time."""
    mini, other = PRESETS["mini"], PRESETS["mini-24"]
    root = simulate_dataset(tmp_path / "bids", preset="mini-24", num_subjects=1, num_volumes=30)
    eeg = EEGProcessor(
        electrodes=mini.electrodes, mode="log_power", sampling_rate=128.0, num_frequencies=8, num_windows=4,
        window_start=-8.0,
    )  # fmt: skip
    volume = VolumeProcessor(
        mode="minmax_volume", sample_size=(16, 32, 32), grid_shape=(32, 32, 16), repetition_time=2.0
    )
    path, (remark,) = prepare_dataset(root, tmp_path / "pairs", processors=(eeg, volume), num_validation=0, num_test=0)
    assert remark.kind == "remark"
    assert "a repetition time of 1.5 s where the pipeline's is 2 s" in remark.reason
    dataset = PairedDataset(path)
    assert set(mini.electrodes) - set(other.electrodes) == {"F7", "F8", "O1", "O2"}
    assert dataset[0]["eeg"].shape == (1, 16, 8, 4)
    (run,) = dataset.runs
    np.testing.assert_allclose(np.diff(run["onsets"]), 1.5)
    assert run["volumes"][0] == np.ceil((8.0 - other.lead_in) / 1.5)


def test_a_recipe_beside_the_pipelines_processors_is_refused(published, tmp_path):
    with pytest.raises(InputError, match="beside a pipeline's processors"):
        prepare_dataset(tmp_path, tmp_path / "pairs", recipe="recipe.yaml", processors=published[2])


def test_a_build_of_other_statistics_is_not_continued(published, tmp_path):
    """What is stored depends on the template: equal settings with another one are another dataset."""
    runs, _, processors = published
    one = build(runs, tmp_path / "one", processors, keep_statistics=True)
    two = build(runs, tmp_path / "two", processors)
    assert contents(one)["index.json"] != contents(two)["index.json"]
