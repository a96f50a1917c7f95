import json

import numpy as np
import pytest

import tiny
from eeg2fmri import EEGProcessor, VolumeProcessor
from eeg2fmri.errors import CheckpointError


@pytest.fixture
def saved(tmp_path):
    tiny.eeg_processor().save_pretrained(tmp_path)
    return tmp_path


def change(folder, edit):
    path = folder / "arrays.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_arrays_come_back_to_the_bit(saved):
    original, loaded = tiny.eeg_processor(), EEGProcessor.from_pretrained(saved)
    for name in ("mean", "scale"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(original, name))
        assert getattr(loaded, name).dtype == getattr(original, name).dtype


def test_a_subfolder_can_be_named(tmp_path):
    tiny.eeg_processor().save_pretrained(tmp_path / "eeg_processor")
    assert EEGProcessor.from_pretrained(tmp_path, subfolder="eeg_processor").mean is not None


def test_an_unfitted_processor_comes_back_unfitted(tmp_path):
    EEGProcessor().save_pretrained(tmp_path)
    assert EEGProcessor.from_pretrained(tmp_path).mean is None


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda content: content["mean"].update(base64="AAAA" + content["mean"]["base64"][4:]), "checksum"),
        (lambda content: content["mean"].update(shape=[1]), "reshape"),
        (lambda content: content["mean"].update(dtype="|O"), "dtype"),
        (lambda content: content["mean"].pop("sha256"), "sha256"),
        (lambda content: content.update(other=content["mean"]), "unknown arrays"),
        (lambda content: content.update(mean=3), "no readable arrays"),
    ],
)
def test_damaged_arrays_are_refused(saved, edit, words):
    change(saved, edit)
    with pytest.raises(CheckpointError, match=f"arrays.json.*{words}"):
        EEGProcessor.from_pretrained(saved)


def test_a_configuration_changed_after_saving_is_refused_with_both_values(saved):
    path = saved / "processor_config.json"
    path.write_text(path.read_text().replace('"sampling_rate": 64.0', '"sampling_rate": 65.0'))
    with pytest.raises(CheckpointError, match=r"processor_config\.json.*sampling_rate=65\.0.*sampling_rate=64\.0"):
        EEGProcessor.from_pretrained(saved)


def test_processors_of_earlier_versions_have_no_second_configuration(saved):
    change(saved, lambda content: content.pop("_config"))
    assert EEGProcessor.from_pretrained(saved).mean is not None


@pytest.mark.parametrize("content", [None, "", "[]", "{", "null"])
def test_no_arrays_are_refused(saved, content):
    path = saved / "arrays.json"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(CheckpointError, match=r"arrays\.json"):
        EEGProcessor.from_pretrained(saved)


@pytest.mark.parametrize("content", [None, "", "[]", "{", "null", b"\xff", '{"mode": ' + "[" * 100_000])
def test_no_configuration_is_refused(saved, content):
    path = saved / "processor_config.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError, match=r"processor_config\.json"):
        EEGProcessor.from_pretrained(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "zscore"},
        {"sampling_rate": 10**400},
        {"num_windows": -1},
        {"electrodes": ["Cz"]},
        {"_class_name": "VolumeProcessor"},
        {"_class_name": 3},
        {"_use_default_values": 3},
    ],
)
def test_an_impossible_configuration_is_refused(saved, change):
    path = saved / "processor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=r"processor_config\.json: found"):
        EEGProcessor.from_pretrained(saved)


def test_an_impossible_grid_is_refused(tmp_path):
    tiny.volume_processor().save_pretrained(tmp_path)
    path = tmp_path / "processor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "grid_shape": [8, 8, 60]}))
    with pytest.raises(CheckpointError, match=r"processor_config\.json: found .*sample_size"):
        VolumeProcessor.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["no-such-folder", "./nowhere", "a/b/c", "someone/nothing"])
def test_a_folder_or_repository_that_is_nowhere_is_named(name, tmp_path):
    with pytest.raises(CheckpointError, match=f"{name}.*no such folder") as caught:
        EEGProcessor.from_pretrained(name, local_files_only=True, cache_dir=tmp_path)
    assert caught.value.subject == name


def test_numpy_s_numbers_are_kept_as_python_s(tmp_path):
    VolumeProcessor("change", repetition_time=np.float32(2), smoothing_fwhm=np.float64(6)).save_pretrained(tmp_path)
    loaded = VolumeProcessor.from_pretrained(tmp_path)
    assert (loaded.config.repetition_time, loaded.config.smoothing_fwhm) == (2.0, 6.0)
    EEGProcessor(sampling_rate=np.float32(250)).save_pretrained(tmp_path)
    assert type(EEGProcessor.from_pretrained(tmp_path).config.sampling_rate) is float
