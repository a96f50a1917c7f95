"""XP-2's traps, on its real sidecars with tiny simulated signals in the place of the annexed files."""

import re
import shutil

import pytest

from eeg2fmri.data.calhas import calhas_pairs, calhas_runs
from eeg2fmri.errors import InputError
from eeg2fmri.recordings.layouts import find_runs
from tiny_files import write_eeg, write_run

SUBJECTS = [f"xp{n}" for n in (*range(201, 208), 210, 211, 213, *range(216, 223))]
RUN = "sub-xp201_task-MIpost"


def put_signals(root, name, kinds=("raw", "preprocessed", "bold")):
    """Signals of a run, as they lie in ds002338."""
    subject = name.split("_")[0]
    markers = [(0.5 + k, "Response/R128") for k in range(3)] + [(3.0, "Stimulus/S 99")]
    if "raw" in kinds:
        write_eeg(root / subject / "eeg" / f"{name}_eeg.vhdr", markers)
    if "preprocessed" in kinds:
        write_eeg(root / "derivatives" / subject / "eeg_pp" / f"d_{name}_eeg_pp.vhdr", [(0.0, "Stimulus/S 99")])
    if "bold" in kinds:
        write_run(root / subject / "func" / f"{name}_bold.nii.gz")


def test_raw_markers_are_not_taken_from_outside_the_dataset(tmp_path, tmp_path_factory):
    put_signals(tmp_path, RUN)
    assert find_runs(tmp_path, "xp2").runs[0].markers_from is not None
    markers = tmp_path / "sub-xp201" / "eeg" / f"{RUN}_eeg.vmrk"
    outside = tmp_path_factory.mktemp("elsewhere") / markers.name
    markers.rename(outside)
    markers.symlink_to(outside)
    assert "a link out of the dataset" in problems(find_runs(tmp_path, "xp2"), "invalid")[RUN]


@pytest.fixture
def xp2(shared_data, tmp_path):
    """The real skeleton; every run that has a sidecar gets signals, but for run-04, which has no EEG, and pointers."""
    root = tmp_path / "ds002338"
    shutil.copytree(shared_data / "sidecars/ds002338", root, copy_function=shutil.copyfile)
    for folder in (root, *filter(lambda path: path.is_dir(), root.rglob("*"))):
        folder.chmod(0o755)
    for sidecar in sorted(root.glob("sub-*/func/*_bold.json")):
        name = sidecar.name.removesuffix("_bold.json")
        kinds = {"bold"} if "run-04" in name else {"raw", "preprocessed", "bold"}
        if (root / sidecar.parent / f"{name}_bold.nii.gz").exists():
            kinds.discard("bold")
        if (root / name.split("_")[0] / "eeg" / f"{name}_eeg.vhdr").exists():
            kinds.discard("raw")
        put_signals(root, name, kinds)
    return root


def problems(search, kind):
    return {problem.run: problem.reason for problem in search.problems if problem.kind == kind}


def test_every_run_of_the_skeleton_is_found_or_named(xp2):
    expected = {path.name.removesuffix("_bold.json") for path in xp2.glob("sub-*/func/*_bold.json")}
    search = find_runs(xp2, "xp2")
    named = {**problems(search, "invalid"), **problems(search, "incomplete")}
    assert {run.name for run in search.runs} | set(named) == expected
    assert len(search.runs) + len(named) == len(expected)
    assert {run.subject for run in search.runs} == {"xp201", "xp210", "xp219", "xp220"}


def test_the_two_plain_files_that_hold_pointer_text(xp2):
    bold, header = "sub-xp210_task-2dNF_run-03", "sub-xp210_task-MIpre"
    (reason,) = problems(find_runs(xp2, "xp2"), "invalid").values()
    assert bold in reason
    assert "git-annex pointer in place of the content" in reason
    raw = problems(find_runs(xp2, "xp2", eeg="raw"), "invalid")
    assert set(raw) == {bold, header}
    assert "datalad get" in raw[header]


def test_a_run_04_without_eeg_is_named(xp2):
    for eeg in ("raw", "preprocessed"):
        reasons = problems(find_runs(xp2, "xp2", eeg=eeg), "incomplete")
        assert reasons == {"sub-xp220_task-1dNF_run-04": f"no {eeg} EEG"}


def test_a_plain_clone_whose_signals_were_never_fetched(xp2):
    for path in (*xp2.glob("sub-*/func/*.nii.gz"), *xp2.glob("derivatives/sub-*/eeg_pp/*")):
        path.unlink()
        path.symlink_to("../../.git/annex/objects/aa/bb/MD5E-s1--c/MD5E-s1--c")
    search = find_runs(xp2, "xp2")
    assert search.runs == ()
    invalid = problems(search, "invalid")
    assert len(invalid) == len(list(xp2.glob("derivatives/sub-*/eeg_pp/*.vhdr"))) > 0
    assert all("a git-annex link in place of the content" in reason for reason in invalid.values())


def test_an_image_that_has_only_a_sidecar_is_named(xp2):
    (xp2 / "sub-xp201/func" / f"{RUN}_bold.nii.gz").unlink()
    assert problems(find_runs(xp2, "xp2"), "incomplete")[RUN] == "no BOLD image"


def test_tables_with_three_spaces_are_remarked_and_not_needed(xp2):
    remarks = problems(find_runs(xp2, "xp2"), "remark")
    tables = {name: reason for name, reason in remarks.items() if name.endswith("_channels.tsv")}
    assert set(tables) == {f"task-{task}_channels.tsv" for task in ("MIpre", "MIpost", "1dNF", "2dNF")}
    assert all("not separated by tabs" in reason for reason in tables.values())
    path = xp2 / "task-MIpost_channels.tsv"
    path.write_text(re.sub(" {3}", "\t", path.read_text()))
    assert path.name not in problems(find_runs(xp2, "xp2"), "remark")


def test_the_misnamed_head_motion_file_is_remarked(xp2):
    remarks = problems(find_runs(xp2, "xp2"), "remark")
    motion = [name for name in remarks if "head_motion" in name]
    assert motion == ["derivatives/sub-xp221/head_motion/se_MI_pre.tsv"]


def test_preprocessed_eeg_takes_its_volumes_from_the_raw_markers(xp2):
    runs = {run.name: run for run in find_runs(xp2, "xp2").runs}
    raw = xp2 / f"sub-xp201/eeg/{RUN}_eeg.vhdr"
    assert (runs[RUN].markers_from, runs[RUN].markers_shift) == (raw, pytest.approx(-3.0))
    raw.with_suffix(".eeg").unlink()  # large, and not needed for that
    assert {run.name: run for run in find_runs(xp2, "xp2").runs}[RUN] == runs[RUN]
    # The raw header of this one is a pointer: there, the offset must be stated.
    assert runs["sub-xp210_task-MIpre"].markers_from is None
    assert all(run.markers_from is None for run in find_runs(xp2, "xp2", eeg="raw").runs)


REST, TASK, VOLUME = "Stimulus/S 99", "Stimulus/S  2", "Response/R128"


@pytest.mark.parametrize(
    ("raw", "preprocessed", "shift"),
    [
        ([(3.0, REST), (23.0, TASK)], [(0.0, REST), (20.0, TASK)], -3.0),
        ([(3.0, REST), (23.0, TASK)], [], -3.0),
        # The first S 99 is missing in a few raw recordings, and was added 20 s before the first S 2.
        ([(23.0, TASK), (43.0, REST), (63.0, TASK)], [], -3.0),
        ([(23.0, TASK), (43.0, REST), (63.0, TASK)], [(20.05, TASK)], -2.95),
        # An export that begins within the first rest starts with the second one.
        ([(16.0, TASK), (36.0, REST), (56.0, TASK)], [(0.0, REST), (20.0, TASK)], -36.0),
        ([], [(0.0, REST)], None),
    ],
)
def test_the_first_rest_places_the_preprocessed_eeg_in_the_raw_recording(tmp_path, raw, preprocessed, shift):
    write_eeg(tmp_path / "sub-xp201/eeg" / f"{RUN}_eeg.vhdr", [(0.5, VOLUME), *raw], seconds=70.0)
    write_eeg(tmp_path / "derivatives/sub-xp201/eeg_pp" / f"d_{RUN}_eeg_pp.vhdr", preprocessed, seconds=30.0)
    write_run(tmp_path / "sub-xp201/func" / f"{RUN}_bold.nii.gz")
    (run,) = find_runs(tmp_path, "xp2").runs
    assert (run.markers_from is None) == (shift is None)
    assert run.markers_shift == pytest.approx(shift or 0.0)


def test_the_paper_takes_mipost_of_seventeen_subjects(tmp_path):
    for subject in SUBJECTS:
        for task in ("MIpre", "MIpost"):
            put_signals(tmp_path, f"sub-{subject}_task-{task}")
    search = find_runs(tmp_path, "xp2", tasks="MIpost")
    assert [run.name for run in search.runs] == [f"sub-{subject}_task-MIpost" for subject in SUBJECTS]
    assert search.problems == ()
    # 332 volumes were stored; the recipe uses 300.
    assert sum(len(calhas_pairs(332, 1.0, bold_shift=6)[1]) for _ in calhas_runs(search.runs, "xp2")) == 4828
    with pytest.raises(InputError, match=r"16 subjects.*expected 17"):
        calhas_runs(search.runs[1:], "xp2")
