"""What holds for every layout: files that are not at hand are named with the reason."""

import pytest

from eeg2fmri.errors import FileError, InputError
from eeg2fmri.recordings.layouts import find_runs
from tiny_files import write_eeg, write_run


@pytest.fixture
def bids(tmp_path):
    for subject in ("01", "02"):
        write_eeg(tmp_path / f"sub-{subject}/eeg/sub-{subject}_task-rest_eeg.vhdr")
        write_run(tmp_path / f"sub-{subject}/func/sub-{subject}_task-rest_bold.nii.gz")
    return tmp_path


def problem(search):
    assert [run.name for run in search.runs] == ["sub-01_task-rest"]
    (found,) = search.problems
    assert found.run == "sub-02_task-rest"
    return found


def test_whole_runs_are_found_and_have_no_problem(bids):
    search = find_runs(bids)
    assert [(run.subject, run.name) for run in search.runs] == [("01", "sub-01_task-rest"), ("02", "sub-02_task-rest")]
    assert search.problems == ()


def test_a_run_without_partner_is_incomplete(bids):
    (bids / "sub-02/func/sub-02_task-rest_bold.nii.gz").unlink()
    found = problem(find_runs(bids))
    assert (found.kind, found.reason) == ("incomplete", "no BOLD file of this run")


def test_several_files_of_a_run_are_no_choice_of_ours(bids):
    write_run(bids / "sub-02/func/sub-02_task-rest_echo-1_bold.nii.gz")
    (bids / "sub-02/func/sub-02_task-rest_bold.nii.gz").rename(
        bids / "sub-02/func/sub-02_task-rest_echo-2_bold.nii.gz"
    )
    found = problem(find_runs(bids))
    assert found.kind == "invalid"
    assert "echo-1" in found.reason
    assert "echo-2" in found.reason


@pytest.mark.parametrize("name", ["eeg/sub-02_task-rest_eeg.vhdr", "func/sub-02_task-rest_bold.nii.gz"])
@pytest.mark.parametrize("form", ["link", "text"])
def test_an_annex_pointer_says_how_to_get_the_data(bids, name, form):
    path = bids / "sub-02" / name
    path.unlink()
    if form == "link":
        path.symlink_to("../../.git/annex/objects/x/y/MD5E-s3--abc/MD5E-s3--abc")
    else:
        path.write_text("/annex/objects/MD5E-s11812--a2fa2850030ce757ee12ae4bb9c78e35.vhdr\n")
    found = problem(find_runs(bids))
    assert found.kind == "invalid"
    assert "git-annex" in found.reason
    assert f"datalad get {path}" in found.reason


def test_an_unfetched_data_file_beside_a_fetched_header_is_found_too(bids):
    data = bids / "sub-02/eeg/sub-02_task-rest_eeg.eeg"
    data.unlink()
    data.symlink_to("../../.git/annex/objects/x/y/MD5E-s3--abc/MD5E-s3--abc")
    assert "git-annex" in problem(find_runs(bids)).reason


def test_a_link_out_of_the_dataset_is_refused_and_one_within_is_not(bids, tmp_path_factory):
    path = bids / "sub-02/func/sub-02_task-rest_bold.nii.gz"
    inside, outside = bids / "store.nii.gz", tmp_path_factory.mktemp("elsewhere") / "store.nii.gz"
    path.rename(inside)
    path.symlink_to(inside)
    assert len(find_runs(bids).runs) == 2
    sidecar = bids / "sub-02/func/sub-02_task-rest_bold.json"
    sidecar.symlink_to(tmp_path_factory.mktemp("elsewhere") / "store.json")
    assert "a link out of the dataset" in problem(find_runs(bids)).reason
    sidecar.unlink()
    inside.rename(outside)
    path.unlink()
    path.symlink_to(outside)
    assert "a link out of the dataset" in problem(find_runs(bids)).reason


def test_an_unknown_layout_or_option_names_those_that_there_are(bids):
    with pytest.raises(InputError, match=r"'brain'.*bids or noddi or xp2 or table"):
        find_runs(bids, "brain")
    with pytest.raises(InputError, match=r"tasks.*'bids' does not have"):
        find_runs(bids, tasks="MIpost")
    with pytest.raises(InputError, match="eeg: found 'cooked'; expected preprocessed or raw"):
        find_runs(bids, "xp2", eeg="cooked")


@pytest.mark.parametrize("layout", ["bids", "noddi", "xp2"])
def test_a_folder_without_any_run_is_an_error(tmp_path, layout):
    with pytest.raises(FileError, match=str(tmp_path)):
        find_runs(tmp_path, layout)
