import numpy as np
import pytest
from scipy.io import savemat

from eeg2fmri.errors import FileError
from eeg2fmri.recordings.eeg import read_eeg
from eeg2fmri.recordings.matlab import check_matlab


@pytest.fixture
def eeglab(shared_data, tmp_path):
    """A copy of a real EEGLAB recording."""
    for suffix in (".set", ".fdt"):
        source = shared_data / f"eeg/test_raw_chanloc{suffix}"
        (tmp_path / source.name).write_bytes(source.read_bytes())
    return tmp_path / "test_raw_chanloc.set"


def write_set(path, data):
    locations = np.array([(name,) for name in ("Fp1", "Cz")], dtype=[("labels", object)])
    content = {"nbchan": 2, "trials": 1, "srate": 100, "pnts": 500, "xmin": 0, "data": data, "chanlocs": locations}
    savemat(path, {"EEG": {**content, "event": [], "icawinv": [], "icaweights": []}})
    return path


@pytest.mark.parametrize("suffix", [".set", ".fdt"])
def test_cut_files(eeglab, suffix):
    with open(eeglab.with_suffix(suffix), "r+b") as file:
        file.truncate(50_000)
    with pytest.raises(FileError):
        read_eeg(eeglab)


@pytest.mark.parametrize(("position", "value"), [(29825, 88), (607664, 217), (693736, 214)])
def test_flips_that_crash_the_reader(eeglab, position, value):
    content = bytearray(eeglab.read_bytes())
    content[position] ^= value
    eeglab.write_bytes(content)
    with pytest.raises(FileError, match="MATLAB structure"):
        read_eeg(eeglab)


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_of_every_kind_pass_and_a_lost_byte_does_not(tmp_path, compressed):
    content = {
        "data": np.ones((4, 100)), "small": 1, "text": "abc", "none": np.array([]), "nothing": "", "flag": True,
        "cell": np.array(["a", 2, [1, 2, 3]], dtype=object), "complex": 1j * np.arange(4), "list": [{"a": 1}] * 3,
    }  # fmt: skip
    path = tmp_path / "run.set"
    savemat(path, {"EEG": content}, do_compression=compressed)
    check_matlab(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileError, match="MATLAB structure"):
        check_matlab(path)


def test_data_stay_in_the_folder(tmp_path):
    signals = np.random.default_rng(0).normal(0, 10, (2, 500)).astype("<f4")  # uV
    home = tmp_path / "home"
    home.mkdir()
    for folder in (home, tmp_path):
        (folder / "run.fdt").write_bytes(signals.T.tobytes())
    inside = read_eeg(write_set(home / "run.set", "run.fdt"))
    np.testing.assert_allclose(inside.signals, 1e-6 * signals, rtol=1e-6)
    with pytest.raises(FileError, match="another folder"):
        read_eeg(write_set(home / "run.set", "../run.fdt"))
