"""The NODDI dataset's folders, and the facts of its real headers and markers."""

import re
import shutil

import numpy as np
import pytest

from eeg2fmri.data.calhas import calhas_pairs, calhas_runs
from eeg2fmri.data.volume_markers import find_alignment
from eeg2fmri.recordings.brainvision import read_header, read_markers
from eeg2fmri.recordings.eeg import EEGRecording, Marker
from eeg2fmri.recordings.layouts import find_runs
from tiny_files import write_eeg, write_run

SUBJECTS = ["32", *map(str, range(35, 41)), *map(str, range(42, 51))]


@pytest.fixture
def noddi(tmp_path):
    """All subjects, spread over the three EEG folders, with numbers in front of the images that differ."""
    for index, subject in enumerate(SUBJECTS):
        folder = ("EEG1", "EEG2", "EEG")[index % 3]
        write_eeg(tmp_path / folder / subject / "export" / f"subject {subject}.vhdr")
        write_run(tmp_path / "fMRI" / subject / f"{index + 4:02d}_rest_with_cross.nii.gz")
    return tmp_path


def test_all_sixteen_subjects_are_found(noddi):
    search = find_runs(noddi, "noddi")
    assert [run.subject for run in search.runs] == SUBJECTS
    assert search.problems == ()
    assert search.runs[0].eeg == noddi / "EEG1/32/export/subject 32.vhdr"
    assert search.runs[0].marker == "Scanner/Scan Start"


def test_what_a_subject_lacks_or_has_twice_is_named(noddi):
    shutil.rmtree(noddi / "fMRI/35")
    next((noddi / "EEG/36/export").glob("*.vhdr")).unlink()
    write_run(noddi / "fMRI/37/99_rest_with_cross.nii.gz")
    search = find_runs(noddi, "noddi")
    assert [run.subject for run in search.runs] == [s for s in SUBJECTS if s not in ("35", "36", "37")]
    reasons = {problem.run[4:6]: (problem.kind, problem.reason) for problem in search.problems}
    assert reasons["35"] == ("incomplete", "no BOLD run (*rest_with_cross.nii.gz)")
    assert reasons["36"] == ("incomplete", "no EEG header (export/*.vhdr)")
    assert reasons["37"][0] == "invalid"
    assert "99_rest_with_cross.nii.gz" in reasons["37"][1]


def test_the_paper_s_number_of_pairs(noddi):
    runs = calhas_runs(find_runs(noddi, "noddi").runs, "noddi")
    assert [run.subject for run in runs] == SUBJECTS[:10]
    counts = [len(calhas_pairs(300, 2.16, bold_shift=3)[1]) for _ in runs]
    assert sum(counts) == 2870


def real_markers(shared_data, tmp_path, subject):
    """The real header and markers beside a data file of the right length that takes no room."""
    source = shared_data / f"sidecars/noddi_eeg_rest_fmri/derivatives/sub-{subject}/eeg"
    for path in source.glob("*.v*"):
        shutil.copyfile(path, tmp_path / path.name)
    path = next(tmp_path.glob("*.vhdr"))
    num_points = int(re.search(r"DataPoints=(\d+)", path.read_text())[1])
    with open(path.with_suffix(".dat"), "wb") as file:
        file.truncate(num_points * 64 * 4)
    header = read_header(path)
    markers = tuple(Marker(*marker) for marker in read_markers(header))
    return EEGRecording(np.zeros((2, 2)), ("Cz", "Pz"), header.sampling_rate, markers, str(path)), num_points


@pytest.mark.parametrize("named", [None, "Scanner/Scan Start", "Scan Start", "*Scan Start"])
@pytest.mark.parametrize(("subject", "first"), [("32", 0.144), ("35", 129.568)])
def test_the_scan_starts_where_the_real_markers_say(shared_data, tmp_path, subject, first, named):
    recording, _ = real_markers(shared_data, tmp_path, subject)
    alignment = find_alignment(recording, 300, 2.16, marker=named)
    assert alignment.marker == "Scanner/Scan Start"
    assert alignment.offset == pytest.approx(first, abs=1e-9)
    np.testing.assert_allclose(np.diff(alignment.onsets), 2.16, atol=1e-9)
    assert (alignment.lead_in, alignment.filled, alignment.warnings) == (0, (), ())
    assert abs(alignment.drift) < 1e-6


def test_subject_32_s_last_volume_is_13_samples_short_of_eeg(shared_data, tmp_path):
    recording, num_points = real_markers(shared_data, tmp_path, "32")
    onsets = find_alignment(recording, 300, 2.16).onsets
    assert round((onsets[-1] + 2.16) * 250) - num_points == 13
