"""Rows 13 and 14: a wrong rate or unit, and numbers of volumes, markers and seconds that do not fit each other."""

import numpy as np
import pytest

import tiny
from eeg2fmri.data.alignment import Timing, align_run
from eeg2fmri.data.volume_markers import find_alignment
from eeg2fmri.errors import EEG2fMRIError, RecordingError
from eeg2fmri.recordings.eeg import eeg_from_array, read_eeg
from eeg2fmri.recordings.layouts import RunFiles
from tiny_files import write_eeg, write_run
from tiny_formats import NAMES, RATE, make_signals, write_brainvision, write_edf, write_eeglab

REPETITION_TIME, NUM_VOLUMES = 2.0, 300
VOLUME_LINES = [f"Mk{n}=Response,R128,{(n - 1) * 200 + 1},1,0" for n in range(1, NUM_VOLUMES + 1)]


def ten_minutes(folder, kind: str, lie: float):
    """600 s with a marker for each of 300 volumes, and a header whose rate is `lie` times the true one."""
    signals = make_signals(2, 60000)
    if kind == "brainvision":
        replace = [("SamplingInterval=10000", f"SamplingInterval={10000 / lie!r}")]
        return write_brainvision(folder, signals, replace=replace, markers=VOLUME_LINES)
    if kind == "eeglab":
        events = np.array([("R128", k * 200 + 1) for k in range(300)], dtype=[("type", object), ("latency", object)])
        changes = {"srate": RATE * lie, "event": events}
        return write_eeglab(folder / "run.set", signals, names=NAMES[:2], changes=changes)
    onsets = tuple(2.0 * np.arange(300))
    return write_edf(folder / f"run.{kind}", signals, onsets=onsets, record_duration=f"{1 / lie:.6g}")


@pytest.mark.parametrize("lie", [0.99, 1.0, 1.01])
@pytest.mark.parametrize("kind", ["brainvision", "eeglab", "edf", "bdf"])
def test_a_rate_that_is_off_by_one_percent_is_caught_on_ten_minutes(tmp_path, kind, lie):
    def align():
        return find_alignment(read_eeg(ten_minutes(tmp_path, kind, lie)), NUM_VOLUMES, REPETITION_TIME)

    if lie == 1.0:
        np.testing.assert_allclose(align().onsets, 2.0 * np.arange(300), atol=1e-9)
    else:
        with pytest.raises(EEG2fMRIError, match=r"rate is wrong|300 events, median spacing"):
            align()


@pytest.mark.parametrize("level", [1e-6, 2e-5, 5e-4, 5e-3])
def test_arrays_a_million_off(level):
    signals = np.random.default_rng(0).normal(0, level, (4, 500))
    eeg_from_array(signals, NAMES, RATE)
    with pytest.raises(RecordingError, match="divide by 1e6"):
        eeg_from_array(signals * 1e6, NAMES, RATE)
    with pytest.raises(RecordingError, match="multiply by 1e6"):
        eeg_from_array(signals / 1e6, NAMES, RATE)


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_files_a_million_off(tmp_path, factor):
    unit = "V" if factor == 1e6 else "µV"
    replace = [] if factor == 1e6 else [(",0.1,", ",1e-7,")]
    paths = [write_brainvision(tmp_path, make_signals(), unit=unit, replace=replace)]
    paths.append(write_eeglab(tmp_path / "run.set", make_signals() * factor))
    if factor == 1e6:
        paths.append(write_edf(tmp_path / "run.edf", make_signals(), unit="V"))
    for path in paths:
        with pytest.raises(RecordingError, match="within a second"):
            read_eeg(path)


class TestCounts:
    """A run of 20 volumes, one a second, whose first begins 2 s after the EEG."""

    def run(self, folder, num_volumes=20, num_markers=20, seconds=30.0):
        markers = [(2.0 + k, "Response/R128") for k in range(num_markers)]
        eeg = write_eeg(folder / "run.vhdr", markers, seconds=seconds)
        return RunFiles("01", "run", eeg, write_run(folder / "run.nii.gz", num_volumes))

    def align(self, run, timing=None):
        processor = tiny.eeg_processor(window_start=-4.0, num_windows=2)
        return align_run(run, processor, timing)

    def test_what_fits_is_used_whole(self, tmp_path):
        aligned = self.align(self.run(tmp_path))
        np.testing.assert_array_equal(aligned.volumes, np.arange(2, 20))
        assert aligned.alignment.warnings == ()

    @pytest.mark.parametrize("num_markers", [19, 21])
    def test_off_by_one_volume(self, tmp_path, num_markers):
        words = rf"{num_markers} markers over {num_markers - 1}\.000 s .* 20 volumes over 19\.000 s"
        with pytest.raises(RecordingError, match=words):
            self.align(self.run(tmp_path, num_markers=num_markers))

    def test_no_markers(self, tmp_path):
        words = r"\(1 event\), in 30\.000 s of EEG; expected one marker with 20 events .* over 19\.000 s.*first_volume"
        with pytest.raises(RecordingError, match=words):
            self.align(self.run(tmp_path, num_markers=0))

    def test_eeg_that_ends_before_the_volumes_is_said_with_the_volumes_lost(self, tmp_path):
        run = self.run(tmp_path, num_markers=0, seconds=15.0)
        aligned = self.align(run, Timing(first_volume=2.0))
        np.testing.assert_array_equal(aligned.volumes, np.arange(2, 14))
        (lost,) = (line for line in aligned.alignment.warnings if "not used" in line)
        assert lost == "15.000 s of EEG end before 6 of 20 volumes, which last until 21.000 s and are not used: 14-19"

    def test_eeg_without_a_single_window(self, tmp_path):
        with pytest.raises(RecordingError, match=r"3\.000 s of EEG, which holds the windows of 0 volumes"):
            self.align(self.run(tmp_path, num_markers=0, seconds=3.0), Timing(first_volume=2.0))
