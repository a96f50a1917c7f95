"""Runs listed in a CSV file."""

import pytest

from eeg2fmri.errors import FileError
from eeg2fmri.recordings.layouts import find_runs
from tiny_files import write_eeg, write_run


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "study"
    for name in ("a", "b"):
        write_eeg(folder / f"eeg/{name}.vhdr")
        write_run(folder / f"bold/{name}.nii.gz")
    write_run(tmp_path / "outside.nii.gz")
    return folder


def table(folder, *lines, header="eeg,bold,subject,run"):
    path = folder / "runs.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_paths_start_at_the_table(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = table(home, "eeg/a.vhdr,bold/a.nii.gz,P1,1", "eeg/b.vhdr,./bold/b.nii.gz,P2,rest")
    search = find_runs(path.relative_to(tmp_path), "table")
    assert [(run.subject, run.name) for run in search.runs] == [("P1", "sub-P1_run-1"), ("P2", "sub-P2_run-rest")]
    assert search.runs[0].eeg == home.resolve() / "eeg/a.vhdr"
    assert search.problems == ()


def test_optional_columns_say_what_the_files_do_not(home):
    header = "subject,run,eeg,bold,marker,lead_in,first_volume,repetition_time"
    lines = ["P1,1,eeg/a.vhdr,bold/a.nii.gz,Response/R128,-2,,", "P2,1,eeg/b.vhdr,bold/b.nii.gz,,,-2.742,1.5"]
    first, second = find_runs(table(home, *lines, header=header), "table").runs
    assert (first.marker, first.lead_in, first.first_volume, first.repetition_time) == (
        "Response/R128",
        -2,
        None,
        None,
    )
    assert (second.marker, second.lead_in, second.first_volume, second.repetition_time) == (None, None, -2.742, 1.5)


@pytest.mark.parametrize(
    "spelling", ["../outside.nii.gz", "bold/../../outside.nii.gz", "link.nii.gz", "up/outside.nii.gz"]
)
def test_a_relative_path_never_leads_out(home, spelling):
    (home / "link.nii.gz").symlink_to(home.parent / "outside.nii.gz")
    (home / "up").symlink_to(home.parent)
    search = find_runs(table(home, f"eeg/a.vhdr,{spelling},P1,1", "eeg/b.vhdr,bold/b.nii.gz,P2,1"), "table")
    assert [run.subject for run in search.runs] == ["P2"]
    assert search.problems[0].run == "line 2"
    assert "leads out of" in search.problems[0].reason


def test_an_absolute_path_is_taken_as_it_is(home):
    outside = home.parent / "outside.nii.gz"
    (run,) = find_runs(table(home, f"eeg/a.vhdr,{outside},P1,1"), "table").runs
    assert run.bold == outside


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("eeg/a.vhdr,bold/a.nii.gz,../P1,1", "subject '../P1'"),
        ("eeg/a.vhdr,bold/a.nii.gz,P1,", "run ''"),
        ("eeg/a.vhdr,bold/a.nii.gz,P1", "too few fields"),
        ("eeg/a.vhdr,bold/a.nii.gz,P1,1,x", "too many"),
        (",bold/a.nii.gz,P1,1", "the path ''"),
        ("eeg/a.vhdr,bold/none.nii.gz,P1,1", "nothing there"),
    ],
)
def test_a_bad_line_is_named_and_the_others_stay(home, line, reason):
    search = find_runs(table(home, line, "eeg/b.vhdr,bold/b.nii.gz,P2,1"), "table")
    assert [run.subject for run in search.runs] == ["P2"]
    (problem,) = search.problems
    assert problem.kind == "invalid"
    assert reason in problem.reason


def test_a_number_that_is_none_is_named(home):
    path = table(home, "eeg/a.vhdr,bold/a.nii.gz,P1,1,two", header="eeg,bold,subject,run,lead_in")
    assert "lead_in 'two'" in find_runs(path, "table").problems[0].reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("R128,,1.5", "first_volume beside marker;"),
        (",-2,1.5", "first_volume beside lead_in;"),
        ("R128,-2,1.5", "beside marker and lead_in"),
        (",,nan", "first_volume 'nan'"),
    ],
)
def test_an_onset_that_a_marker_contradicts_is_named(home, fields, reason):
    header = "eeg,bold,subject,run,marker,lead_in,first_volume"
    search = find_runs(table(home, f"eeg/a.vhdr,bold/a.nii.gz,P1,1,{fields}", header=header), "table")
    assert search.runs == ()
    assert reason in search.problems[0].reason


def test_a_run_that_is_listed_twice_is_nobody_s(home):
    search = find_runs(table(home, "eeg/a.vhdr,bold/a.nii.gz,P1,1", "eeg/b.vhdr,bold/b.nii.gz,P1,1"), "table")
    assert search.runs == ()
    assert [problem.run for problem in search.problems] == ["sub-P1_run-1"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"eeg,bold,subject\n", "the columns eeg, bold, subject"),
        (b"eeg,bold,subject,run,colour\nx,y,1,1,red\n", "colour"),
        (b"eeg,bold,subject,run\n", "no lines"),
        (b"\xff\xfe\x00", "can't be read as a table"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, content, found):
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    with pytest.raises(FileError, match=found):
        find_runs(path, "table")
