"""From a dataset's folder to pairs: every volume with its own EEG, every bad run named, and the report."""

import json
import shutil

import numpy as np
import pytest

from eeg2fmri import EEGProcessor, PairedDataset, read_eeg
from eeg2fmri.data.alignment import Timing, align_run
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.simulation.brainvision import BrainVisionMarker, write_brainvision
from eeg2fmri.errors import RecordingError
from eeg2fmri.recordings.layouts import RunFiles, find_bids_runs
from tiny_files import ELECTRODES, write_eeg, write_run
from tiny_pairs import EEG, GRID

VOLUME = {**GRID, "mode": "minmax_run"}
PAD = 71.4375  # seconds, a whole number of samples


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"eeg_processor": EEG, "volume_processor": VOLUME}))
    return path


@pytest.fixture
def dataset(simulated, tmp_path):
    return shutil.copytree(simulated, tmp_path / "bids")


def prepare(dataset, recipe, **options):
    output = dataset.parent / "pairs"
    path, problems = prepare_dataset(dataset, output, recipe=recipe, num_validation=0, num_test=0, **options)
    assert path == output
    return json.loads((output / "alignment_report.json").read_text()), problems


def drop_markers(run, keep):
    """Rewrite the marker file with the volume markers of which `keep(index)` holds."""
    path = run.eeg.with_suffix(".vmrk")
    head, _, lines = path.read_text().partition("[Marker Infos]\n")
    volumes, kept = 0, []
    for line in lines.strip().splitlines():
        volumes += "R128" in line
        if "R128" not in line or keep(volumes - 1):
            kept.append(f"Mk{len(kept) + 1}={line.partition('=')[2]}\n")
    path.write_text(head + "[Marker Infos]\n" + "".join(kept))


def test_the_report_says_how_every_run_was_aligned(dataset, recipe):
    report, problems = prepare(dataset, recipe)
    assert problems == []
    assert [run["name"] for run in report["runs"]] == [f"sub-00{n}_task-rest" for n in (1, 2, 3)]
    truth = json.loads(next(dataset.glob("derivatives/truth/sub-001/*.json")).read_text())
    for run in report["runs"]:
        assert run["marker"] == "Response/R128"
        assert run["offset"] == pytest.approx(truth["preset"]["lead_in"], abs=1e-6)
        assert (run["spacing"], run["drift"]) == (pytest.approx(2.0), pytest.approx(0.0, abs=1e-9))
        assert run["missing_electrodes"] == ["Oz"]
        assert run["num_pairs"] + len(run["rejected_volumes"]) == run["num_volumes"] == len(run["onsets"]) == 60
        assert all(run["onsets"][volume] < 10.0 for volume in run["rejected_volumes"])
    pairs = PairedDataset(dataset.parent / "pairs")
    assert len(pairs) == sum(run["num_pairs"] for run in report["runs"])


def test_all_bad_runs_are_named_at_once_and_nothing_is_written(dataset, recipe):
    first, second, third = find_bids_runs(dataset)
    drop_markers(first, lambda volume: False)
    second.bold.write_bytes(second.bold.read_bytes()[:-100])
    before = sorted(dataset.parent.iterdir())
    with pytest.raises(RecordingError) as caught:
        prepare(dataset, recipe)
    message = str(caught.value)
    assert "2 that can't be used beside 1 that can" in message
    assert f"{first.name}: " in message
    assert "0 fitting markers" in message
    assert f"{second.name}: " in message
    assert third.name not in message
    assert sorted(dataset.parent.iterdir()) == before


def test_bad_runs_can_be_left_out_and_are_still_named(dataset, recipe):
    first, second, third = find_bids_runs(dataset)
    drop_markers(first, lambda volume: False)
    second.eeg.with_suffix(".eeg").write_bytes(b"")
    report, problems = prepare(dataset, recipe, skip_invalid=True)
    assert [run["name"] for run in report["runs"]] == [third.name]
    assert {problem["run"] for problem in report["left_out"]} == {first.name, second.name}
    assert {problem.run for problem in problems} == {first.name, second.name}
    assert PairedDataset(dataset.parent / "pairs").subjects == ["003"]


def test_an_incomplete_run_is_named_and_does_not_stop_the_others(dataset, recipe):
    run = find_bids_runs(dataset)[0]
    run.bold.unlink()
    _, (problem,) = prepare(dataset, recipe)
    assert (problem.run, problem.kind) == (run.name, "incomplete")


def test_a_dataset_without_a_usable_run_is_refused_whatever_is_asked(dataset, recipe):
    for run in find_bids_runs(dataset):
        drop_markers(run, lambda volume: False)
    with pytest.raises(RecordingError, match="3 that can't be used beside 0"):
        prepare(dataset, recipe, skip_invalid=True)


def test_where_every_run_is_incomplete_all_are_named(tmp_path):
    for subject in ("32", "35"):
        write_run(tmp_path / f"fMRI/{subject}/1_rest_with_cross.nii.gz")
    with pytest.raises(RecordingError, match=r"2 that can't be used beside 0(.|\n)*sub-32_.*no EEG(.|\n)*sub-35"):
        prepare_dataset(tmp_path, tmp_path / "pairs", layout="noddi", skip_invalid=True)
    assert not (tmp_path / "pairs").exists()


def shifted(run, folder, dropped=()):
    """The run with EEG in front of the scan, as a continuous recording has it, and some markers dropped."""
    recording = read_eeg(run.eeg)
    front = 2e-5 * np.random.default_rng(0).standard_normal(
        (len(recording.electrodes), round(PAD * recording.sampling_rate))
    )
    volumes = [marker.onset for marker in recording.markers if marker.description == "Response/R128"]
    markers = [
        BrainVisionMarker("Response", "R128", round((onset + PAD) * recording.sampling_rate))
        for index, onset in enumerate(volumes)
        if index not in dropped
    ]
    folder.mkdir()
    path = folder / run.eeg.name
    signals = np.hstack([front, recording.signals])
    write_brainvision(path, signals, recording.electrodes, recording.sampling_rate, markers, "FCz")
    return RunFiles(run.subject, run.name, path, run.bold)


@pytest.mark.parametrize("dropped", [(), (20, 21, 40)])
def test_eeg_in_front_of_the_scan_and_dropped_markers_change_no_pair(simulated, tmp_path, dropped):
    run = find_bids_runs(simulated)[0]
    processor = EEGProcessor(**EEG)
    plain, late = align_run(run, processor), align_run(shifted(run, tmp_path / "late", dropped), processor)
    assert late.alignment.filled == dropped
    np.testing.assert_allclose(late.alignment.onsets, plain.alignment.onsets + PAD, atol=1 / 128)
    # The recording in front gives the first volumes a window too; the others keep theirs, to the sample.
    assert late.volumes.tolist() == list(range(60))
    length = 10 * 128
    for volume, onset in zip(plain.volumes, plain.onsets, strict=True):
        stops = round(onset * 128), round(late.alignment.onsets[volume] * 128)
        ours, theirs = plain.recording.signals[:, stops[0] - length : stops[0]], late.recording.signals
        np.testing.assert_allclose(theirs[:, stops[1] - length : stops[1]], ours, atol=1.01e-7)


def test_a_stated_onset_makes_the_pairs_of_the_markers(simulated):
    run, processor = find_bids_runs(simulated)[0], EEGProcessor(**EEG)
    marked = align_run(run, processor)
    stated = align_run(run, processor, Timing(first_volume=marked.alignment.offset))
    assert stated.volumes.tolist() == marked.volumes.tolist()
    np.testing.assert_allclose(stated.onsets, marked.onsets, atol=1 / 128)
    assert stated.alignment.reason.endswith("as 'Response/R128' confirms")


def test_what_is_asked_for_goes_before_what_the_dataset_knows(tmp_path):
    eeg = write_eeg(tmp_path / "a.vhdr", [(2.0 + k, "Response/R128") for k in range(28)], seconds=31.0)
    run = RunFiles("1", "sub-1", eeg, write_run(tmp_path / "a.nii.gz", 30), first_volume=-0.5)
    settings = {**EEG, "electrodes": list(ELECTRODES), "sampling_rate": 100.0}
    processor = EEGProcessor(**settings)
    assert align_run(run, processor).alignment.offset == -0.5
    assert align_run(run, processor, Timing(first_volume=1.0)).alignment.offset == 1.0
    by_marker = align_run(run, processor, Timing(lead_in=-2)).alignment
    assert (by_marker.marker, by_marker.offset) == ("Response/R128", pytest.approx(0.0))


def test_a_table_s_repetition_time_goes_before_the_image_s(tmp_path):
    eeg = write_eeg(tmp_path / "a.vhdr", [(0.5 + 2 * k, "Stimulus/T") for k in range(30)], seconds=61.0)
    bold = write_run(tmp_path / "a.nii.gz", 30, repetition_time=1.0)
    processor = EEGProcessor(**{**EEG, "electrodes": list(ELECTRODES), "sampling_rate": 100.0})
    with pytest.raises(RecordingError, match="30 events 1 s apart"):
        align_run(RunFiles("1", "sub-1", eeg, bold), processor)
    aligned = align_run(RunFiles("1", "sub-1", eeg, bold, repetition_time=2.0), processor)
    assert (aligned.repetition_time, aligned.alignment.offset) == (2.0, pytest.approx(0.5))


def test_eeg_that_holds_no_window_is_named(tmp_path):
    eeg = write_eeg(tmp_path / "a.vhdr", [(0.1 + k, "Stimulus/T") for k in range(5)], seconds=6.0)
    run = RunFiles("1", "sub-1", eeg, write_run(tmp_path / "a.nii.gz", 5))
    processor = EEGProcessor(**{**EEG, "electrodes": list(ELECTRODES), "sampling_rate": 100.0})
    with pytest.raises(RecordingError, match=r"6\.000 s of EEG, which holds the windows of 0 volumes"):
        align_run(run, processor)


def test_a_recipe_for_another_repetition_time_is_refused(dataset, recipe):
    """A pipeline that is trained on the pairs would make volumes as often as the recipe says."""
    recipe.write_text(json.dumps({"eeg_processor": EEG, "volume_processor": {**VOLUME, "repetition_time": 2.5}}))
    with pytest.raises(
        RecordingError, match=r"3 that can't be used(.|\n)*time of 2 s; expected 2\.5 s, as the recipe"
    ):
        prepare(dataset, recipe)
