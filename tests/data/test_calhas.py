"""The recipe of the paper's reference [24], fault by fault."""

import json

import numpy as np
import pytest

from eeg2fmri import EEGProcessor, PairedDataset
from eeg2fmri.data.alignment import Timing, align_run
from eeg2fmri.data.calhas import calhas_pairs, calhas_runs
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.errors import InputError, RecordingError
from eeg2fmri.recordings.layouts import RunFiles
from tiny_files import ELECTRODES, write_eeg, write_run


def processor(repetition_time, **changes):
    settings = {"electrodes": list(ELECTRODES), "sampling_rate": 100.0, "num_frequencies": 20}
    return EEGProcessor(**settings, **{"window_start": -10 * repetition_time, "num_windows": 10, **changes})


@pytest.mark.parametrize(("bold_shift", "repetition_time", "count"), [(3, 2.16, 287), (6, 1.0, 284)])
def test_pairs_are_the_shifted_windows_and_volumes(bold_shift, repetition_time, count):
    onsets, volumes = calhas_pairs(300, repetition_time, bold_shift)
    assert len(onsets) == len(volumes) == count
    # The recipe itself: both sequences lose their first `bold_shift`; windows i..i+9 go with volume i+10.
    windows = np.arange(300)[bold_shift:] * repetition_time
    kept = np.arange(300)[bold_shift:]
    for pair in (0, 1, count - 1):
        assert volumes[pair] == kept[pair + 10]
        assert onsets[pair] - 10 * repetition_time == pytest.approx(windows[pair])
        assert onsets[pair] == pytest.approx(windows[pair + 9] + repetition_time)


def test_volumes_after_the_three_hundredth_are_not_used():
    assert calhas_pairs(332, 1.0, 6)[1].tolist() == list(range(16, 300))
    assert len(calhas_pairs(10, 1.0, 6)[1]) == 0


@pytest.fixture
def run(tmp_path):
    """Forty volumes that began at 5 s of the EEG, which the recipe does not look at."""
    eeg = write_eeg(tmp_path / "a.vhdr", [(5.0 + k, "Response/R128") for k in range(40)], seconds=46.0)
    return RunFiles("1", "sub-1", eeg, write_run(tmp_path / "a.nii.gz", 40))


def test_it_counts_from_sample_0_whatever_the_markers_say(run):
    aligned = align_run(run, processor(1.0), Timing("calhas", "xp2"))
    assert aligned.volumes.tolist() == list(range(16, 40))
    np.testing.assert_array_equal(aligned.onsets, np.arange(16.0, 40.0))
    assert "first volume is at 5.000 s" in aligned.alignment.warnings[0]
    right = align_run(run, processor(1.0))
    np.testing.assert_allclose(right.onsets, 5.0 + right.volumes, atol=1e-9)
    assert right.volumes[0] == 5  # ten seconds of EEG before it


def test_another_window_would_be_another_recipe(run):
    with pytest.raises(InputError, match="ten repetition times before the volume"):
        align_run(run, processor(1.0, window_start=-12.0), Timing("calhas", "xp2"))


def test_eeg_that_ends_early_is_not_cut_silently(run, tmp_path):
    short = write_eeg(tmp_path / "short.vhdr", seconds=30.0)
    with pytest.raises(RecordingError, match=r"30\.000 s of EEG.*windows of 15 volumes.*all 24 volumes"):
        align_run(RunFiles("1", "sub-1", short, run.bold), processor(1.0), Timing("calhas", "xp2"))


@pytest.mark.parametrize(
    "settings",
    [
        {"preset": "magic"},
        {"preset": "calhas"},
        {"preset": "calhas", "layout": "xp2", "marker": "R128"},
        {"preset": "calhas", "layout": "xp2", "first_volume": 0.0},
        {"first_volume": 1.0, "marker": "R128"},
        {"first_volume": 1.0, "lead_in": 0},
        {"first_volume": float("nan")},
    ],
)
def test_options_that_contradict_each_other_are_refused(settings):
    with pytest.raises(InputError, match="timing"):
        Timing(**settings)


def test_only_its_own_datasets_are_known(run):
    with pytest.raises(InputError, match=r"'calhas' with the layout 'bids'.*noddi or xp2"):
        calhas_runs([run], "bids")


def noddi_tree(root):
    """Sixteen subjects of 300 volumes whose scans begin anywhere in the EEG, as they do."""
    for index, subject in enumerate(("32", *map(str, range(35, 41)), *map(str, range(42, 51)))):
        start = 0.14 + 2.16 * 7 * index
        markers = [(start + 2.16 * volume, "Scanner/Scan Start") for volume in range(300)]
        write_eeg(root / f"EEG1/{subject}/export/{subject}.vhdr", markers, seconds=650 + start, seed=index)
        write_run(root / f"fMRI/{subject}/05_rest_with_cross.nii.gz", 300, 2.16, seed=index)


def xp2_tree(root):
    """Seventeen subjects of 332 volumes and 320 s of preprocessed EEG."""
    for number in (*range(201, 208), 210, 211, 213, *range(216, 223)):
        name = f"sub-xp{number}_task-MIpost"
        folder = root / f"derivatives/sub-xp{number}/eeg_pp"
        write_eeg(folder / f"d_{name}_eeg_pp.vhdr", [(0.0, "Stimulus/S 99")], seconds=320.0, seed=number)
        write_run(root / f"sub-xp{number}/func/{name}_bold.nii.gz", 332, seed=number)


@pytest.mark.parametrize(
    ("layout", "tree", "repetition_time", "split", "num_pairs"),
    [("noddi", noddi_tree, 2.16, (1, 1), 2870), ("xp2", xp2_tree, 1.0, (2, 2), 4828)],
)
def test_prepare_gives_the_paper_s_number_of_pairs(tmp_path, layout, tree, repetition_time, split, num_pairs):
    tree(tmp_path / layout)
    recipe = {
        "eeg_processor": {
            **{"electrodes": list(ELECTRODES), "sampling_rate": 100.0, "num_frequencies": 20},
            "window_start": -10 * repetition_time,
        },
        "volume_processor": {
            **{"mode": "minmax_volume", "sample_size": [8, 8, 8], "grid_shape": [8, 8, 6]},
            "repetition_time": repetition_time,
        },
    }
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    options = {"num_validation": split[0], "num_test": split[1], "layout": layout, "preset": "calhas"}
    output, _ = prepare_dataset(tmp_path / layout, tmp_path / "pairs", recipe=tmp_path / "recipe.json", **options)
    datasets = [PairedDataset(output, name) for name in ("train", "validation", "test")]
    assert sum(len(dataset) for dataset in datasets) == num_pairs
    assert [len(dataset.subjects) for dataset in datasets[1:]] == list(split)
