"""The recipe of the paper's reference [24], fault by fault."""

import numpy as np
import pytest

from eeg2fmri import EEGProcessor
from eeg2fmri.data.alignment import Timing, align_run
from eeg2fmri.data.calhas import calhas_pairs, calhas_runs
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
