import numpy as np
import pytest
from scipy.io import savemat

from eeg2fmri.errors import FileError
from eeg2fmri.recordings.eeg import read_eeg
from eeg2fmri.recordings.matlab import check_matlab
from tiny_formats import make_signals, write_eeglab


@pytest.fixture
def eeglab(shared_data, tmp_path):
    """A copy of a real EEGLAB recording."""
    for suffix in (".set", ".fdt"):
        source = shared_data / f"eeg/test_raw_chanloc{suffix}"
        (tmp_path / source.name).write_bytes(source.read_bytes())
    return tmp_path / "test_raw_chanloc.set"


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


def test_fields_by_name(tmp_path):
    path = write_eeglab(tmp_path / "run.set", make_signals(), data_file="run.fdt")
    fields = check_matlab(path)
    assert (fields["pnts"].value, fields["srate"].value, fields["data"].value) == (300.0, 100.0, "run.fdt")
    assert fields["chanlocs"].dimensions == (1, 4)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"pnts": 299}, r"run\.fdt: found 4800 bytes; expected 4784 bytes for 4 channels x 299 points"),
        ({"nbchan": 3}, "expected 3600 bytes for 3 channels"),
        ({"pnts": 2.5}, r"EEG\.pnts of 2\.5"),
        ({"trials": 0}, r"EEG\.trials of 0\.0"),
        ({"pnts": 299, "data": np.ones((4, 300), "<f4")}, r"data of shape \[4, 300\]; expected 4 channels x 299"),
    ],
)
def test_counts_that_contradict_the_data(tmp_path, changes, found):
    path = write_eeglab(tmp_path / "run.set", make_signals(), data_file="run.fdt", changes=changes)
    with pytest.raises(FileError, match=found):
        read_eeg(path)


def test_a_padded_fdt(tmp_path):
    path = write_eeglab(tmp_path / "run.set", make_signals(), data_file="run.fdt")
    path.with_suffix(".fdt").write_bytes(path.with_suffix(".fdt").read_bytes() + b"four")
    with pytest.raises(FileError, match="4804 bytes"):
        read_eeg(path)
