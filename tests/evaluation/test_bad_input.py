"""What can't be scored is refused in one clear line, before anything is computed or written."""

import shutil

import nibabel as nib
import numpy as np
import pytest

from eeg2fmri import PairedDataset
from eeg2fmri.data.leaks import training_record
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.schemes import make_schemes
from eeg2fmri.errors import FileError, InputError, RecordingError
from eeg2fmri.evaluation.runs import DatasetRun, root_of
from eeg2fmri.hub import write_training_record
from eeg2fmri.recordings.bold import bold_image, write_bold


def refused(place, output, error, match, **options):
    with pytest.raises(error, match=match):
        place.evaluate(output / "out", **options)
    assert not [path for path in output.iterdir() if "out" in path.name]


@pytest.mark.parametrize("change", ["shape", "affine", "repetition time", "number of volumes"])
def test_predictions_that_do_not_fit(place, tmp_path, change):
    shutil.copytree(place.good, tmp_path / "bad")
    run = place.runs()[-1]
    path = tmp_path / "bad" / f"{run.name}.nii.gz"
    volumes, affine, time = np.asarray(nib.load(path).dataobj, np.float32), run.affine.copy(), 2.0
    if change == "shape":
        volumes = volumes[:-1]
    if change == "affine":
        affine[0, 3] += 1
    if change == "repetition time":
        time = 2.5
    if change == "number of volumes":
        volumes = volumes[..., :-1]
    path.unlink()
    write_bold(bold_image(volumes, affine, time, space="mni"), path)
    refused(place, tmp_path, RecordingError, rf"{path.name}.*found the {change}", predictions=tmp_path / "bad")


def test_predictions_with_nan(place, tmp_path):
    shutil.copytree(place.good, tmp_path / "bad")
    path = tmp_path / "bad" / f"{place.runs()[0].name}.nii.gz"
    image = nib.load(path)
    volumes = np.asarray(image.dataobj, np.float32)
    volumes[3, 4, 5, 6] = np.nan
    nib.save(nib.Nifti1Image(volumes, image.affine, image.header), path)
    refused(place, tmp_path, RecordingError, rf"{path.name}.*NaN", predictions=tmp_path / "bad")


@pytest.mark.parametrize("units", ["z-scores", "percent change"])
def test_predictions_without_a_mean(place, tmp_path, units):
    shutil.copytree(place.good, tmp_path / "bad")
    run = place.runs()[0]
    path = tmp_path / "bad" / f"{run.name}.nii.gz"
    volumes = np.asarray(nib.load(path).dataobj, np.float32).T
    changes = volumes - volumes.mean(axis=0)
    scale = np.maximum(volumes.std(axis=0), 1e-6) if units == "z-scores" else np.maximum(volumes.mean(axis=0), 1) / 100
    place.write(run, changes / scale + np.float32(0.1), tmp_path / "bad")
    refused(place, tmp_path, RecordingError, rf"{path.name}.*expected BOLD units", predictions=tmp_path / "bad")


def test_missing_predictions_are_named(place, tmp_path):
    (tmp_path / "none").mkdir()
    refused(place, tmp_path, FileError, "no prediction of sub-", predictions=tmp_path / "none")


@pytest.mark.parametrize("change", ["shape", "affine", "repetition time", "number of volumes"])
def test_a_measurement_that_changed_since_it_was_paired(place, tmp_path, change):
    shutil.copytree(place.sim, tmp_path / "sim")
    entry = PairedDataset(place.pairs, "test").runs[0]
    path = tmp_path / "sim" / entry["bold"]
    image = nib.load(path)
    volumes, affine, header = np.asarray(image.dataobj), image.affine.copy(), image.header.copy()
    if change == "shape":
        volumes = volumes[:-1]
    if change == "affine":
        affine[0, 3] += 1
    if change == "repetition time":
        header.set_zooms((*header.get_zooms()[:3], 2.5))
    if change == "number of volumes":
        volumes = volumes[..., :-1]
    nib.save(nib.Nifti1Image(volumes, affine, header), path)
    refused(place, tmp_path, RecordingError, "another file than the one that was paired", root=tmp_path / "sim")


def test_a_measurement_that_never_changes(place, tmp_path):
    shutil.copytree(place.sim, tmp_path / "sim")
    for path in (tmp_path / "sim").rglob("*_bold.nii.gz"):
        image = nib.load(path)
        volumes = np.asarray(image.dataobj)
        volumes[...] = volumes[..., :1]
        nib.save(nib.Nifti1Image(volumes, image.affine, image.header), path)
    prepare_dataset(tmp_path / "sim", tmp_path / "pairs", recipe=place.folder / "recipe.json", num_test=6)
    dataset = PairedDataset(tmp_path / "pairs", "test")
    with pytest.raises(RecordingError, match="volumes that never change"):
        DatasetRun(dataset, dataset.runs[0], tmp_path / "sim")


def test_too_few_subjects(own_pairs, tmp_path):
    make_schemes(own_pairs.pairs, "subjects", "small", num_test=5)
    refused(own_pairs, tmp_path, InputError, "test subjects: found 5", data_split="small")


def test_a_test_subject_seen_in_training_is_named(place, tmp_path):
    model, record = place.model(tmp_path / "model"), training_record(PairedDataset(place.pairs, "train"))
    leaked = PairedDataset(place.pairs, "test").subjects[2]
    record["training_subjects"].append(leaked)
    write_training_record(model, record)
    refused(place, tmp_path, InputError, rf"found {leaked}, on which the model \S+ was trained", model=model)


def test_arguments(place, tmp_path):
    refused(place, tmp_path, InputError, "protocol: found 'fast'", protocol="fast")
    refused(place, tmp_path, InputError, "samples: found 0", num_samples=0)
    refused(place, tmp_path, InputError, "dtype: found 'int8'", dtype="int8")
    with pytest.raises(FileError, match="something already there"):
        place.evaluate(tmp_path)
    with pytest.raises(FileError, match="no folder"):
        root_of(PairedDataset(place.pairs, "test"), tmp_path / "nowhere")
