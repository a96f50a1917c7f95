"""Row 20: pointers of git-annex and git-lfs in the place of every kind of file, as a link and as text."""

import json

import pytest

from eeg2fmri.errors import FileError
from eeg2fmri.recordings.bold import read_bold
from eeg2fmri.recordings.eeg import read_eeg
from eeg2fmri.recordings.layouts import find_runs
from faults.damage import TARGETS
from tiny_formats import write_format

KEY = ".git/annex/objects/Xq/0F/MD5E-s1234--ab/MD5E-s1234--ab"
POINTERS = {
    "annex link": None,
    "annex text": "/annex/objects/MD5E-s11812--a2fa2850030ce757ee12ae4bb9c78e35.vhdr\n",
    "annex link as text": f"../../{KEY}",
    "lfs text": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
}
REMEDIES = {"annex": "datalad get", "lfs": "git lfs pull"}


def put(path, pointer: str) -> None:
    path.unlink(missing_ok=True)
    text = POINTERS[pointer]
    if text is None:
        path.symlink_to(f"../../{KEY}")
    else:
        path.write_text(text)


@pytest.mark.parametrize("pointer", POINTERS)
@pytest.mark.parametrize(("kind", "name"), TARGETS)
def test_every_kind_of_file(tmp_path, kind, name, pointer):
    path = write_format(tmp_path, kind)
    put(tmp_path / name, pointer)
    with pytest.raises(FileError, match="in place of the content") as caught:
        (read_bold if ".nii" in name else read_eeg)(path)
    assert caught.value.subject == str(tmp_path / name)
    assert REMEDIES[pointer.split()[0]] in caught.value.remedy


@pytest.mark.parametrize("pointer", POINTERS)
def test_a_sidecar_and_a_table(tmp_path, pointer):
    path = write_format(tmp_path, "nifti")
    path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": 0.5}))
    assert read_bold(path).repetition_time == 0.5
    put(path.with_suffix(".json"), pointer)
    with pytest.raises(FileError, match=r"run\.json.*in place of the content"):
        read_bold(path)
    put(tmp_path / "runs.csv", pointer)
    with pytest.raises(FileError, match=r"runs\.csv.*in place of the content"):
        find_runs(tmp_path / "runs.csv", "table")
