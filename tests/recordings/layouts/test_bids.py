"""Which EEG and BOLD files of a BIDS tree are one run."""

import pytest

from eeg2fmri.errors import FileError
from eeg2fmri.recordings.layouts import find_bids_runs


def tree(root, *names):
    """Empty files, each in the folder that its name asks for."""
    for name in names:
        parts = name.split("_")
        folders = [part for part in parts if part.startswith(("sub-", "ses-"))]
        folder = root.joinpath(*folders, "eeg" if parts[-1].startswith("eeg") else "func")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return root


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(FileError, match="1 EEG and 0 BOLD files"):
        find_bids_runs(tree(tmp_path, "sub-01_task-rest_eeg.vhdr"))


def test_runs_are_matched_by_subject_session_task_and_run(tmp_path):
    root = tree(
        tmp_path,
        "sub-01_task-rest_run-01_eeg.edf",
        "sub-01_task-rest_run-01_bold.nii.gz",
        "sub-01_task-rest_run-02_bold.nii.gz",
        "sub-01_ses-2_task-rest_eeg.vhdr",
        "sub-01_ses-2_task-rest_bold.nii",
        "sub-01_ses-2_task-rest_bold.json",
    )
    runs = find_bids_runs(root)
    assert [run.name for run in runs] == ["sub-01_ses-2_task-rest", "sub-01_task-rest_run-01"]
    assert {run.subject for run in runs} == {"01"}


def test_other_entities_may_differ(tmp_path):
    root = tree(
        tmp_path, "sub-01_task-rest_acq-mr_run-1_eeg.set", "sub-01_task-rest_acq-mb_dir-AP_run-1_echo-1_bold.nii.gz"
    )
    (run,) = find_bids_runs(root)
    assert (run.subject, run.name) == ("01", "sub-01_task-rest_run-1")
    assert run.eeg.name == "sub-01_task-rest_acq-mr_run-1_eeg.set"
    assert run.bold.name == "sub-01_task-rest_acq-mb_dir-AP_run-1_echo-1_bold.nii.gz"


def test_the_file_with_the_same_entities_is_preferred(tmp_path):
    names = ["sub-01_task-rest_acq-a_eeg.set", "sub-01_task-rest_acq-a_bold.nii", "sub-01_task-rest_acq-b_bold.nii"]
    (run,) = find_bids_runs(tree(tmp_path, *names))
    assert run.bold.name == names[1]
    tree(tmp_path, "sub-01_task-rest_eeg.set")
    assert find_bids_runs(tmp_path) == [run]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sub-01_task-rest_eeg.edf", "sub-01_task-rest_eeg.vhdr"),
        ("sub-01_task-rest_bold.nii", "sub-01_task-rest_bold.nii.gz"),
        ("sub-01_task-rest_echo-1_bold.nii.gz", "sub-01_task-rest_echo-2_bold.nii.gz"),
        ("sub-01_task-rest_dir-AP_bold.nii.gz", "sub-01_task-rest_dir-PA_bold.nii.gz"),
        ("sub-01_task-rest_acq-a_eeg.set", "sub-01_task-rest_acq-b_eeg.set"),
    ],
)
def test_several_files_of_one_run_are_all_named(tmp_path, first, second):
    other = "sub-01_task-rest_bold.nii" if "_eeg" in first else "sub-01_task-rest_eeg.vhdr"
    with pytest.raises(FileError) as caught:
        find_bids_runs(tree(tmp_path, first, second, other))
    assert first in caught.value.found
    assert second in caught.value.found
    assert other not in caught.value.found


def test_a_doubled_file_of_no_run_does_no_harm(tmp_path):
    names = ["sub-01_task-rest_eeg.edf", "sub-01_task-rest_bold.nii", "sub-02_task-rest_eeg.edf"]
    runs = find_bids_runs(tree(tmp_path, *names, "sub-02_task-rest_eeg.vhdr"))
    assert [run.subject for run in runs] == ["01"]
