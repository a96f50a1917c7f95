"""The folders of XP-2 and NODDI: found by the layouts, with the signals of every other way to write them."""

import dataclasses
import json

import numpy as np
import pytest

from eeg2fmri.data.simulation import PRESETS, simulate_dataset, simulate_run
from eeg2fmri.errors import InputError
from eeg2fmri.files import sha256
from eeg2fmri.recordings.bold import read_bold
from eeg2fmri.recordings.brainvision import read_header
from eeg2fmri.recordings.eeg import read_eeg
from eeg2fmri.recordings.layouts import find_runs

NUM_VOLUMES = 60
IMAGERY = dataclasses.replace(PRESETS["mini"], layout="xp2", task="MIpost", blocks=PRESETS["xp2"].blocks)
REST = dataclasses.replace(PRESETS["mini"], layout="noddi")


@pytest.fixture(scope="module")
def xp2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xp2") / "set"
    options = {"num_subjects": 1, "first_subject": 3, "num_volumes": NUM_VOLUMES, "eeg_front": 3.0}
    return simulate_dataset(folder, preset=IMAGERY, **options)


@pytest.fixture(scope="module")
def noddi(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noddi") / "set"
    return simulate_dataset(folder, preset=REST, num_subjects=2, num_volumes=NUM_VOLUMES, dropped_markers=2)


def onsets(recording, description):
    return np.array([marker.onset for marker in recording.markers if marker.description == description])


def test_xp2_has_its_subjects_tasks_and_runs(xp2):
    search = find_runs(xp2, "xp2")
    assert search.problems == ()
    feedback = [f"sub-xp204_task-2dNF_run-{run:02d}" for run in (1, 2, 3)]
    assert [run.name for run in search.runs] == [*feedback, "sub-xp204_task-MIpost", "sub-xp204_task-MIpre"]
    assert [run.name for run in find_runs(xp2, "xp2", tasks="MIpost").runs] == ["sub-xp204_task-MIpost"]
    assert [run.name for run in find_runs(xp2, "bids").runs] == [run.name for run in search.runs]
    assert len({sha256(run.bold) for run in search.runs}) == 5
    for run in search.runs:
        sidecar = json.loads(run.bold.with_name(run.bold.name.replace(".nii.gz", ".json")).read_text())
        assert f"_task-{sidecar['TaskName']}" in run.name


def test_the_preprocessed_eeg_is_cut_from_the_first_rest_on(xp2):
    (run,) = find_runs(xp2, "xp2", tasks="MIpost").runs
    raw, preprocessed = read_eeg(run.markers_from), read_eeg(run.eeg)
    # Lead-in 4 s, 3 s added; the first rest 2 s after the first volume; the recording ends before the last task.
    assert run.markers_shift == -9.0
    start = 9 * 128
    assert np.abs(preprocessed.signals - raw.signals[:, start:]).max() <= 0.0501e-6
    for marker in ("Stimulus/S 99", "Stimulus/S  2"):
        np.testing.assert_allclose(onsets(preprocessed, marker), onsets(raw, marker) - 9.0)
    assert onsets(raw, "Response/R128").size == NUM_VOLUMES
    assert onsets(preprocessed, "Response/R128").size == 0
    assert read_header(run.eeg).data_path.suffix == ".dat"


def test_it_ends_with_the_last_task(tmp_path):
    blocks = dataclasses.replace(IMAGERY.blocks, num_blocks=2)
    short = dataclasses.replace(IMAGERY, blocks=blocks)
    tree = simulate_dataset(tmp_path / "set", preset=short, num_subjects=1, num_runs=1, num_volumes=NUM_VOLUMES)
    assert read_eeg(find_runs(tree, "xp2").runs[0].eeg).duration == 80.0


def test_noddi_has_its_subjects_and_markers(noddi):
    search = find_runs(noddi, "noddi")
    assert search.problems == ()
    assert [run.subject for run in search.runs] == ["32", "35"]
    for run in search.runs:
        recording = read_eeg(run.eeg)
        truth = json.loads(next(noddi.glob(f"derivatives/truth/sub-{run.subject}/*.json")).read_text())
        kept = np.delete(4.0 + 2.0 * np.arange(NUM_VOLUMES), truth["dropped_markers"])
        assert len(truth["dropped_markers"]) == 2
        np.testing.assert_allclose(onsets(recording, "Scanner/Scan Start"), kept)
        slices = [marker for marker in recording.markers if marker.description.startswith("Scanner/s")]
        assert len(slices) == NUM_VOLUMES * REST.shape[2]
        np.testing.assert_allclose(np.diff(onsets(recording, "SyncStatus/Sync On")), 2.0)


@pytest.mark.parametrize("layout", ["noddi", "xp2"])
def test_a_run_s_signals_are_the_same_in_every_layout(noddi, xp2, layout):
    tree, preset, subject = (noddi, REST, 0) if layout == "noddi" else (xp2, IMAGERY, 3)
    (run,) = [run for run in find_runs(tree, layout).runs if "MIpost" in run.name or run.subject == "32"]
    simulated = simulate_run(dataclasses.replace(preset, layout="bids"), subject=subject, num_volumes=NUM_VOLUMES)
    bold = read_bold(run.bold)
    assert np.abs(bold.volumes - simulated.bold).max() <= 0.51 * np.ptp(simulated.bold) / 65534
    if layout == "noddi":  # single precision of microvolts
        np.testing.assert_allclose(read_eeg(run.eeg).signals, simulated.eeg, rtol=1e-6, atol=1e-15)


def test_several_runs_in_bids_are_numbered(tmp_path):
    tree = simulate_dataset(tmp_path / "set", num_subjects=1, num_runs=2, num_volumes=20)
    assert [run.name for run in find_runs(tree, "bids").runs] == [f"sub-001_task-rest_run-0{run}" for run in (1, 2)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layout": "table"}, "layout"),
        ({"layout": "xp2"}, "no blocks"),
        ({"layout": "noddi", "num_runs": 2}, "at most 1"),
        ({"preset": "xp2", "num_runs": 6}, "at most 5"),
        ({"num_runs": 0}, "num_runs"),
        ({"preset": IMAGERY, "num_volumes": 20, "eeg_front": -10.0}, "no rest begins"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused_and_nothing_is_written(tmp_path, arguments, words):
    with pytest.raises(InputError, match=words):
        simulate_dataset(tmp_path / "set", num_subjects=1, **arguments)
    assert not list(tmp_path.iterdir())
