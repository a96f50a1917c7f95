"""What is written is BIDS, by our own rules and by the official validator's."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from eeg2fmri.data.simulation import PRESETS, simulate_dataset, simulate_run

VALIDATOR = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent)) or shutil.which(
    "bids-validator-deno"
)


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bids") / "set"
    options = {"layout": "bids", "num_volumes": 30, "eeg_front": -5.5, "dropped_markers": 0.1}
    return simulate_dataset(folder, preset="xp2", num_subjects=1, **options)


def table(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_blocks_are_marked_in_the_recording_and_in_the_tables(imagery):
    markers = (imagery / "sub-001/eeg/sub-001_task-MIpost_eeg.vmrk").read_text().splitlines()
    marks = [line.partition("=")[2].split(",")[:3] for line in markers if line.startswith("Mk")]
    # The first volume was at 4 s, the first rest 2 s later; 5.5 s are cut off.
    assert [mark for mark in marks if mark[0] == "Stimulus"] == [
        ["Stimulus", "S 99", str(round((4 + 2 - 5.5) * 200) + 1)],
        ["Stimulus", "S  2", str(round((4 + 22 - 5.5) * 200) + 1)],
    ]
    truth = json.loads((imagery / "derivatives/truth/sub-001/sub-001_task-MIpost_truth.json").read_text())
    assert truth["eeg_front"] == -5.5
    assert truth["first_volume_onset"] == -1.5
    assert len(truth["dropped_markers"]) == 3
    assert sum(mark[1] == "R128" for mark in marks) == 30 - 2 - 3

    header, *rows = table(imagery / "sub-001/eeg/sub-001_task-MIpost_events.tsv")
    assert header == ["onset", "duration", "trial_type", "value", "sample"]
    assert [row for row in rows if row[2] != "n/a"] == [
        ["0.500000", "20", "rest", "S 99", "100"],
        ["20.500000", "20", "task", "S  2", "4100"],
    ]
    assert [float(row[0]) for row in rows] == sorted(float(row[0]) for row in rows)
    assert table(imagery / "sub-001/func/sub-001_task-MIpost_events.tsv") == [
        ["onset", "duration", "trial_type"],
        ["2", "20", "rest"],
        ["22", "20", "task"],
    ]


def test_electrodes_are_listed_with_the_reference(imagery):
    header, *rows = table(imagery / "sub-001/eeg/sub-001_electrodes.tsv")
    assert header == ["name", "x", "y", "z"]
    assert [row[0] for row in rows] == [*PRESETS["xp2"].electrodes, "FCz"]
    positions = {row[0]: np.array(row[1:], dtype=float) for row in rows}
    assert positions["C4"][0] > 0.05
    assert positions["Fpz"][1] > 0.05
    assert positions["Cz"][2] > 0.09
    system = json.loads((imagery / "sub-001/eeg/sub-001_coordsystem.json").read_text())
    assert system["EEGCoordinateUnits"] == "m"


def test_bold_is_written_in_whole_units(imagery):
    image = nibabel.load(imagery / "sub-001/func/sub-001_task-MIpost_bold.nii.gz")
    stored = np.asarray(image.dataobj.get_unscaled())
    assert stored.dtype == np.int16
    assert (image.dataobj.slope, image.dataobj.inter) == (1.0, 0.0)
    simulated = simulate_run("xp2", num_volumes=30).bold
    assert np.abs(stored - simulated).max() <= 0.5
    assert image.header.get_zooms() == (2.0, 2.0, 4.0, 1.0)


def assert_valid(root):
    done = subprocess.run([VALIDATOR, root, "--format", "json"], capture_output=True, text=True, timeout=120)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert issues  # recommended fields are missing: the validator did look
    assert [issue for issue in issues if issue["severity"] == "error"] == []


@pytest.mark.slow
@pytest.mark.skipif(VALIDATOR is None, reason="the official validator (bids-validator-deno) is not installed")
def test_official_validator_finds_no_error(imagery, tmp_path):
    assert_valid(imagery)
    assert_valid(simulate_dataset(tmp_path / "mini", num_subjects=2, num_volumes=20))
    options = {"num_subjects": 1, "num_volumes": 20}
    assert_valid(simulate_dataset(tmp_path / "noddi", preset="noddi", layout="bids", eeg_front=30.0, **options))
    assert_valid(simulate_dataset(tmp_path / "xp2", preset="xp2", **options))
