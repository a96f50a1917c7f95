"""Raw in-scanner EEG on its way from files to pairs."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from eeg2fmri.cli import app
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.simulation import PRESETS, simulate_dataset, simulate_run, with_scanner_artifacts, write_run
from eeg2fmri.errors import RecordingError
from eeg2fmri.recordings.eeg import read_eeg
from eeg2fmri.recordings.layouts import find_runs

EEG = {
    "electrodes": list(PRESETS["mini"].electrodes),
    "mode": "log_power",
    "sampling_rate": 128.0,
    "num_frequencies": 10,
    "bins_per_frequency": 4,
    "num_windows": 5,
    "window_start": -10.0,
}
VOLUME = {"mode": "minmax_run", "sample_size": [16, 32, 32], "grid_shape": [32, 32, 16], "repetition_time": 2.0}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text(json.dumps({"eeg_processor": EEG, "volume_processor": VOLUME}))
    return path


@pytest.fixture(scope="module")
def xp2(tmp_path_factory):
    """One subject under XP-2's names, as raw as there."""
    root = tmp_path_factory.mktemp("xp2")
    run = simulate_run(dataclasses.replace(PRESETS["mini"], task="MIpost"), num_volumes=40)
    write_run(with_scanner_artifacts(run), root, "xp201")
    return root


def report_of(root, output, recipe, **options):
    prepare_dataset(root, output, recipe=recipe, num_validation=0, num_test=0, **options)
    return json.loads((output / "alignment_report.json").read_text())["runs"][0]


def test_raw_xp2_is_corrected_without_being_asked(xp2, recipe, tmp_path):
    report = report_of(xp2, tmp_path / "pairs", recipe, layout="xp2", layout_options={"eeg": "raw"})
    gradient = report["artifacts"]["gradient"]
    assert gradient["num_volumes"] == 40
    assert gradient["power_before"] > 30 > 3 > gradient["power_after"]
    assert report["artifacts"]["beats_from"] == "markers"
    assert not report["warnings"]
    page = (tmp_path / "pairs" / "alignment_report.html").read_text()
    assert "Gradient artefact removed" in page


def test_artefacts_that_are_kept_are_remarked(xp2, recipe, tmp_path):
    options = {"layout": "xp2", "layout_options": {"eeg": "raw"}, "remove_scanner_artifacts": False}
    report = report_of(xp2, tmp_path / "pairs", recipe, **options)
    assert report["artifacts"] is None
    assert "gradient artefact present" in report["warnings"][0]


def test_any_layout_on_request(recipe, tmp_path):
    root = simulate_dataset(tmp_path / "bids", num_subjects=1, num_volumes=40, raw_eeg=True)
    assert not find_runs(root).runs[0].raw_eeg
    command = ["prepare", str(root), "--recipe", str(recipe), "--output", str(tmp_path / "pairs")]
    command += ["--validation-subjects", "0", "--test-subjects", "0", "--remove-scanner-artifacts"]
    assert CliRunner().invoke(app, command).exit_code == 0
    report = json.loads((tmp_path / "pairs" / "alignment_report.json").read_text())["runs"][0]
    assert report["artifacts"]["num_beats"] > 40


def test_unmarked_volumes_are_refused(xp2, recipe, tmp_path):
    with pytest.raises(RecordingError, match="volumes are not marked"):
        report_of(xp2, tmp_path / "pairs", recipe, layout="xp2", layout_options={"eeg": "raw"}, first_volume=4.0)


def test_the_same_seed_without_artefacts_is_the_clean_recording(tmp_path):
    options = {"num_subjects": 1, "num_volumes": 10, "eeg_front": 2.0}
    raw, clean = (
        find_runs(simulate_dataset(tmp_path / str(flag), raw_eeg=flag, **options)).runs[0] for flag in (True, False)
    )
    raw, clean = read_eeg(raw.eeg), read_eeg(clean.eeg)
    assert raw.sampling_rate == 8 * clean.sampling_rate
    assert [marker.description for marker in raw.markers] == [marker.description for marker in clean.markers]
    shifts = [one.onset - other.onset for one, other in zip(raw.markers, clean.markers, strict=True)]
    assert np.abs(shifts).max() <= 0.5 / clean.sampling_rate + 1e-9  # rounded to samples
    # Before the scan only the pulse artefact is added.
    difference = (raw.signals[:, ::8] - clean.signals)[:, : round(5.9 * clean.sampling_rate)]
    assert np.abs(difference).max() < 1e-4
