import os

import pytest

from eeg2fmri.errors import FileError
from eeg2fmri.recordings.eeg import read_eeg
from eeg2fmri.recordings.pointers import check_file


def test_content_passes_and_the_name_is_kept(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"content")
    link = tmp_path / "run.edf"
    link.symlink_to(key)
    assert check_file(str(link)) == link


def test_dangling_links(tmp_path):
    path = tmp_path / "run.edf"
    path.symlink_to("../../.git/annex/objects/Kk/1W/MD5E-s1--00.edf/MD5E-s1--00.edf")
    with pytest.raises(FileError, match="git-annex link") as caught:
        check_file(path)
    assert "datalad get" in caught.value.remedy
    other = tmp_path / "other.edf"
    other.symlink_to("nowhere")
    with pytest.raises(FileError, match="nowhere"):
        check_file(other)


def test_missing_empty_folder_and_device(tmp_path):
    (tmp_path / "empty.edf").touch()
    for path in (tmp_path / "missing.edf", tmp_path / "empty.edf", tmp_path, "bad\0name.edf", os.devnull):
        with pytest.raises(FileError):
            check_file(path)


def test_real_pointer_of_the_dataset(shared_data):
    pointer = shared_data / "sidecars/ds002338/sub-xp210/eeg/sub-xp210_task-MIpre_eeg.vhdr"
    with pytest.raises(FileError, match="git-annex pointer"):
        read_eeg(pointer)


def test_real_recording_with_empty_data(shared_data):
    header = shared_data / "sidecars/noddi_eeg_rest_fmri/derivatives/sub-32/eeg/sub-32_task-rest_eeg.vhdr"
    with pytest.raises(FileError, match="empty"):
        read_eeg(header)
