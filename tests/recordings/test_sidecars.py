"""What a BIDS tree says beside its recordings."""

import json

import mne
import numpy as np
import pytest

from eeg2fmri.data.provenance import source_files
from eeg2fmri.errors import FileError, RecordingError
from eeg2fmri.recordings.bold import read_bold
from eeg2fmri.recordings.eeg import Marker, open_eeg, read_eeg
from eeg2fmri.recordings.layouts import find_bids_runs
from eeg2fmri.recordings.sidecars import sidecars_of
from tiny_files import ELECTRODES, write_eeg, write_run

STEM = "sub-01_task-rest_run-1"


@pytest.fixture
def root(tmp_path):
    write_eeg(tmp_path / f"sub-01/eeg/{STEM}_eeg.vhdr")
    write_run(tmp_path / f"sub-01/func/{STEM}_bold.nii.gz", 30)
    return tmp_path


def eeg(root):
    return root / f"sub-01/eeg/{STEM}_eeg.vhdr"


def write_channels(path, status, separator="\t"):
    rows = [("name", "type", "units", "status"), *((n, "EEG", "uV", status.get(n, "good")) for n in ELECTRODES)]
    path.write_text("".join(separator.join(row) + "\n" for row in rows))


def test_sidecars_are_inherited_from_the_root_down(root):
    names = ["task-rest_bold.json", "sub-01/sub-01_task-rest_bold.json", f"sub-01/func/{STEM}_bold.json"]
    others = ["task-nback_bold.json", "bold.jsonl", "task-rest_eeg.json", f"sub-01/func/{STEM}_echo-1_bold.json"]
    for name in (*names, *others):
        (root / name).write_text(json.dumps({"RepetitionTime": 1.0}))
    image = root / f"sub-01/func/{STEM}_bold.nii.gz"
    assert sidecars_of(image, "bold", ".json") == [root / name for name in names]
    assert sidecars_of(root / "run.nii", "bold", ".json") == []
    (run,) = find_bids_runs(root)
    assert source_files(run)[-5:] == [root / "task-rest_eeg.json", *(root / name for name in names), image]


def test_an_inherited_repetition_time_is_compared_and_the_nearest_counts(root):
    image = root / f"sub-01/func/{STEM}_bold.nii.gz"
    (root / "task-rest_bold.json").write_text(json.dumps({"RepetitionTime": 3.0}))
    with pytest.raises(RecordingError, match="1 s in the header and 3 s in the JSON sidecar"):
        read_bold(image)
    (root / "sub-01/sub-01_bold.json").write_text(json.dumps({"RepetitionTime": 1.0}))
    assert read_bold(image).repetition_time == 1.0


@pytest.mark.parametrize("name", ["task-rest_channels.tsv", f"sub-01/eeg/{STEM}_channels.tsv"])
def test_bad_channels_are_left_out_with_a_line(root, caplog, name):
    write_channels(root / name, {"C3": "bad", "Oz": "Bad", "Fp1": "n/a"})
    assert read_eeg(eeg(root)).electrodes == tuple(n for n in ELECTRODES if n not in ("C3", "Oz"))
    assert "marks as bad are left out: C3, Oz" in caplog.text
    write_channels(root / f"sub-01/eeg/{STEM}_channels.tsv", {})
    assert read_eeg(eeg(root)).electrodes == ELECTRODES
    write_channels(root / f"sub-01/eeg/{STEM}_channels.tsv", dict.fromkeys(ELECTRODES[1:], "bad"))
    with pytest.raises(RecordingError, match="1 electrodes beside those that"):
        open_eeg(eeg(root))


def test_a_table_without_tabs_is_not_used_and_quotes_are_no_part_of_names(root, caplog, shared_data):
    """As in ds002338: three spaces between the columns."""
    table = root / f"sub-01/eeg/{STEM}_channels.tsv"
    table.write_bytes((shared_data / "sidecars/ds002338/task-1dNF_channels.tsv").read_bytes())
    assert open_eeg(eeg(root)).electrodes.keys() == set(ELECTRODES)
    assert "no column 'name' between tabs; the table is not used" in caplog.text
    table.write_text("'name'\t\"status\"\n'C3'\tbad\n\nCz\n")
    assert open_eeg(eeg(root)).electrodes.keys() == set(ELECTRODES) - {"C3"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"SamplingFrequency": 100, "RecordingDuration": 4}, None),
        ({"SamplingFrequency": 100.05, "RecordingDuration": 3.1}, None),
        ({"SamplingFrequency": "n/a", "RecordingDuration": None}, None),
        ({"SamplingFrequency": 500}, "100 Hz in the file and SamplingFrequency 500 Hz in its JSON"),
        ({"RecordingDuration": 33}, "4 s in the file and RecordingDuration 33 s in its JSON"),
        ({"SamplingFrequency": "100"}, "SamplingFrequency '100'"),
        ({"SamplingFrequency": 0}, "SamplingFrequency 0"),
    ],
)
def test_rate_and_duration_are_compared(root, content, error):
    (root / "task-rest_eeg.json").write_text(json.dumps(content))
    if error is None:
        assert read_eeg(eeg(root)).sampling_rate == 100.0
    else:
        with pytest.raises(RecordingError, match=error):
            read_eeg(eeg(root))


@pytest.mark.parametrize("name", ["eeg.json", "channels.tsv"])
@pytest.mark.parametrize("content", [b"\xff\xfe{", b"/annex/objects/MD5E-s3--abc\n"])
def test_damaged_sidecars_are_named(root, name, content):
    (root / f"sub-01/eeg/{STEM}_{name}").write_bytes(content)
    with pytest.raises(FileError, match=f"{STEM}_{name}"):
        open_eeg(eeg(root))


def test_events_stand_in_for_markers_that_the_file_does_not_have(root):
    raw = mne.io.RawArray(2e-5 * np.random.default_rng(0).standard_normal((2, 400)), mne.create_info(2, 100.0, "eeg"))
    raw.rename_channels({"0": "Cz", "1": "Pz"})
    path = root / f"sub-01/eeg/{STEM}_eeg.fif"
    raw.save(path, verbose="ERROR")
    lines = ["onset\tduration\ttrial_type\tvalue", "1.5\t0\tn/a\tR128", "0.5\t0\tvolume\t1", "n/a\t0\tvolume\t1"]
    (root / "task-rest_events.tsv").write_text("\n".join(lines))
    assert open_eeg(path).markers == ()
    (root / f"sub-01/eeg/{STEM}_events.tsv").write_text("\n".join(lines))
    assert open_eeg(path).markers == (Marker(0.5, "volume"), Marker(1.5, "R128"))
    assert "volume" not in {marker.description for marker in open_eeg(eeg(root)).markers}
