"""Row 18: nothing that a file says leads out of its folder, and no link leads out of a dataset."""

import numpy as np
import pytest

from eeg2fmri.errors import EEG2fMRIError, FileError
from eeg2fmri.recordings.eeg import read_eeg
from eeg2fmri.recordings.layouts import find_runs
from tiny_files import write_eeg, write_run
from tiny_formats import make_signals, write_brainvision, write_eeglab

INSIDE, OUTSIDE = make_signals(seed=1), make_signals(seed=2)
SPELLINGS = (
    "../x.fdt", "../../x.fdt", "..\\x.fdt", "..\\..\\x.fdt", "/etc/passwd", "/x.fdt", "//x.fdt", "C:\\x.fdt",
    "C:/x.fdt", "C:x.fdt", "\\\\server\\share\\x.fdt", "//server/share/x.fdt", "\\x.fdt", "./x.fdt", ".\\x.fdt", "..",
    "../", "../.", "./../x.fdt", ".//../x.fdt", "sub/../../x.fdt", "sub\\..\\..\\x.fdt", "sub/x.fdt", "sub/./x.fdt",
    "file:x.fdt", "file:///x.fdt", "http://x/x.fdt", "~/x.fdt", "../home/../x.fdt", "link/x.fdt", "{outside}/x.fdt",
)  # fmt: skip


@pytest.fixture
def home(tmp_path):
    """A recording's folder, with the same names outside of it, in a folder in it, and behind a link in it."""
    folder = tmp_path / "home"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    for place in (tmp_path, folder / "sub"):
        write_eeglab(place / "x.set", OUTSIDE, data_file="x.fdt")
        (place / "x.eeg").write_bytes((place / "x.fdt").read_bytes())
    return folder


def test_there_are_thirty_spellings():
    assert len(set(SPELLINGS)) >= 30


@pytest.mark.parametrize("key", ["DataFile=run.eeg", "MarkerFile=run.vmrk"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_brainvision_companions_stay_in_the_folder(home, key, spelling):
    name = spelling.format(outside=home.parent).replace(".fdt", ".eeg" if "Data" in key else ".vmrk")
    path = write_brainvision(home, INSIDE, replace=[(key, f"{key.split('=')[0]}={name}")])
    with pytest.raises(FileError, match="without a folder"):
        read_eeg(path)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_eeglab_data_stay_in_the_folder(home, spelling):
    """Names from another computer are repaired by the namesake beside the `.set`; what they lead to is not read."""
    write_eeglab(home / "run.set", INSIDE, data_file="run.fdt")
    path = write_eeglab(home / "run.set", INSIDE, changes={"data": spelling.format(outside=home.parent)})
    try:
        recording = read_eeg(path)
    except EEG2fMRIError:
        return
    np.testing.assert_allclose(recording.signals, INSIDE, atol=1e-11)


@pytest.mark.parametrize("spelling", [spelling for spelling in SPELLINGS if not spelling.startswith(("/", "{"))])
def test_a_table_s_relative_paths_stay_in_its_folder(home, spelling):
    (home / "runs.csv").write_text(f"eeg,bold,subject,run\n{spelling},{spelling},P1,1\n")
    search = find_runs(home / "runs.csv", "table")
    home_again = home.resolve()
    assert all(run.eeg.resolve().is_relative_to(home_again) for run in search.runs)
    assert len(search.runs) + len(search.problems) == 1


def bids_run(root, subject="01"):
    name = f"sub-{subject}_task-rest"
    eeg = write_eeg(root / f"sub-{subject}/eeg/{name}_eeg.vhdr", [(1.0, "Response/R128")])
    return eeg, write_run(root / f"sub-{subject}/func/{name}_bold.nii.gz")


@pytest.mark.parametrize("suffix", [".vhdr", ".eeg", ".vmrk", ".nii.gz"])
def test_no_file_of_a_run_is_a_link_out_of_the_dataset(tmp_path, suffix):
    root = tmp_path / "bids"
    eeg, bold = bids_run(root)
    file = bold if suffix == ".nii.gz" else eeg.with_suffix(suffix)
    outside = tmp_path / file.name
    file.rename(outside)
    file.symlink_to(outside)
    (problem,) = find_runs(root).problems
    assert "a link out of the dataset" in problem.reason


def test_no_fdt_is_a_link_out_of_the_dataset(tmp_path):
    root = tmp_path / "bids"
    eeg, _ = bids_run(root)
    for path in eeg.parent.iterdir():
        path.unlink()
    write_eeglab(eeg.with_suffix(".set"), INSIDE, data_file=eeg.with_suffix(".fdt").name)
    assert len(find_runs(root).runs) == 1
    eeg.with_suffix(".fdt").rename(tmp_path / "x.fdt")
    eeg.with_suffix(".fdt").symlink_to(tmp_path / "x.fdt")
    (problem,) = find_runs(root).problems
    assert "a link out of the dataset" in problem.reason


def test_no_folder_of_a_subject_is_a_link_out_of_the_dataset(tmp_path):
    bids_run(tmp_path / "other", "02")
    bids_run(tmp_path / "bids")
    (tmp_path / "bids/sub-02").symlink_to(tmp_path / "other/sub-02")
    search = find_runs(tmp_path / "bids")
    assert [run.subject for run in search.runs] == ["01"]
    assert "a link out of the dataset" in search.problems[0].reason


@pytest.mark.parametrize(
    "label", ["..", ".", "..%2f", "a.b", "a b", "~", "$HOME", "a\\b", "a:b", "\N{FULLWIDTH SOLIDUS}"]
)
def test_a_bids_label_is_letters_and_digits(tmp_path, label):
    root = tmp_path / "bids"
    bids_run(root)
    folder = root / f"sub-{label}"
    for source in [*root.glob("sub-01/*/*")]:
        target = folder / source.parent.name / source.name.replace("sub-01", f"sub-{label}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    assert [run.subject for run in find_runs(root).runs] == ["01"]
