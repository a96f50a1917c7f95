"""Exports that start elsewhere or lost markers: the written markers still say which EEG is which volume's."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import signal

from eeg2fmri.data.simulation import BANDS, export_run, simulate_run, write_run
from eeg2fmri.errors import InputError
from eeg2fmri.recordings.eeg import read_eeg

RATE = 10.0  # Hz, of the latents
LAGS = np.arange(-30, 31) / RATE
EXPORTS = [(0.0, 0), (12.5, 0.2), (-10.0, 5)]
NUM_CORTICAL = 12  # the first networks; the others do not reach the scalp


@pytest.fixture(scope="module")
def run():
    return simulate_run(subject=5, seed=5)


def markers_of(recording):
    return np.array([marker.onset for marker in recording.markers if marker.description == "Response/R128"])


def shares_at_lags(folder):
    """What share of the latents' variance the electrodes' log band power explains, for every lag.

    EEG is placed in scan time by the written markers, the latents by the truth: both must agree.
    """
    recording = read_eeg(next(folder.rglob("*.vhdr")))
    truth = load_file(next(folder.rglob("*_truth.safetensors")))
    config = json.loads(next(folder.rglob("*_truth.json")).read_text())
    volumes = np.delete(np.arange(config["num_volumes"]), config["dropped_markers"])
    onsets = markers_of(recording)
    repetition_time = config["preset"]["repetition_time"]
    interval, first = np.polyfit(volumes[-onsets.size :], onsets, 1)
    assert interval == pytest.approx(repetition_time, rel=1e-5)
    times = np.arange(0, config["num_volumes"] * repetition_time, 1 / RATE)
    times = times[first + times > 1][100:-100]

    explained = np.zeros(LAGS.size)
    slow = signal.butter(2, 0.25, fs=recording.sampling_rate, output="sos")
    for band, limits in enumerate(BANDS.values()):
        sections = signal.butter(3, limits, "bandpass", fs=recording.sampling_rate, output="sos")
        power = signal.sosfiltfilt(slow, signal.sosfiltfilt(sections, recording.signals) ** 2)
        power = np.log(np.maximum(power, 1e-3 * power.mean()))
        samples = np.rint((first + times) * recording.sampling_rate).astype(int)
        courses = power[:, samples].T
        basis = np.linalg.qr(courses - courses.mean(axis=0))[0]
        for index, lag in enumerate(LAGS):
            at = config["first_volume_onset"] + times + lag
            latents = [np.interp(at, truth["latent_times"], z) for z in truth["latents"][:NUM_CORTICAL, band]]
            latents = np.array(latents) - np.mean(latents, axis=1, keepdims=True)
            explained[index] += np.sum((latents @ basis) ** 2) / np.sum(latents**2) / len(BANDS)
    return explained


def assert_aligned(run, folder, eeg_front, dropped_markers):
    write_run(export_run(run, eeg_front, dropped_markers), folder, "001")
    explained = shares_at_lags(folder)
    assert abs(LAGS[explained.argmax()]) <= 1.01 / RATE
    assert explained.max() > 1.5 * max(explained[0], explained[-1])


@pytest.mark.parametrize(("eeg_front", "dropped_markers"), EXPORTS)
def test_band_power_follows_the_latents_at_the_markers(run, tmp_path, eeg_front, dropped_markers):
    assert_aligned(run, tmp_path, eeg_front, dropped_markers)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["noddi", "xp2"])
def test_full_presets_are_aligned(tmp_path, preset):
    """One export each; the quick test has all of them on the small preset."""
    assert_aligned(simulate_run(preset, seed=5), tmp_path, *EXPORTS[1])


def test_a_wrong_marker_would_show(run, tmp_path):
    late = dataclasses.replace(run, eeg=np.roll(run.eeg, 128, axis=1))
    write_run(late, tmp_path, "001")
    assert LAGS[shares_at_lags(tmp_path).argmax()] == pytest.approx(-1.0, abs=0.11)


def test_added_eeg_is_of_the_same_kind_and_leaves_the_rest(run):
    padded = export_run(run, 40.0)
    added = padded.eeg[:, : 40 * 128]
    assert np.array_equal(padded.eeg[:, 40 * 128 :], run.eeg)
    assert np.array_equal(padded.ecg[40 * 128 :], run.ecg)
    assert np.array_equal(padded.bold, run.bold)
    np.testing.assert_allclose(padded.volume_onsets, run.volume_onsets + 40)
    np.testing.assert_allclose(added.std(axis=1), run.eeg.std(axis=1), rtol=0.5)
    step = np.abs(padded.eeg[:, 40 * 128] - padded.eeg[:, 40 * 128 - 1])
    assert (step <= np.abs(np.diff(run.eeg, axis=1)).max(axis=1)).all()
    assert np.diff(padded.pulse_onsets).max() < 2.5
    np.testing.assert_allclose(np.diff(padded.truth["latent_times"]), 1 / RATE)
    assert padded.truth["latents"].shape[-1] == padded.truth["task_course"].size == padded.truth["latent_times"].size
    assert padded.truth["latent_times"][0] <= -32


def test_cut_eeg_loses_the_markers_before_it(run, tmp_path):
    cut = export_run(run, -10.0)
    assert np.array_equal(cut.eeg, run.eeg[:, 1280:])
    write_run(cut, tmp_path, "001")
    onsets = markers_of(read_eeg(next(tmp_path.rglob("*.vhdr"))))
    np.testing.assert_allclose(onsets, cut.volume_onsets[3:])
    assert cut.volume_onsets[2] < 0 <= onsets[0]
    assert (cut.pulse_onsets >= 0).all()


@pytest.mark.parametrize(("dropped_markers", "count"), [(7, 7), (0.1, 15), (0, 0), (148, 148)])
def test_dropped_markers_are_the_ones_that_the_truth_names(run, tmp_path, dropped_markers, count):
    export = export_run(run, 0.0, dropped_markers)
    assert export.dropped_markers == export_run(run, 0.0, dropped_markers).dropped_markers
    assert len(set(export.dropped_markers)) == count
    write_run(export, tmp_path, "001")
    onsets = markers_of(read_eeg(next(tmp_path.rglob("*.vhdr"))))
    np.testing.assert_allclose(onsets, np.delete(run.volume_onsets, export.dropped_markers))
    config = json.loads(next(tmp_path.rglob("*_truth.json")).read_text())
    assert config["dropped_markers"] == list(export.dropped_markers)


@pytest.mark.parametrize(
    ("eeg_front", "dropped_markers"),
    [(float("nan"), 0), (-200.0, 0), (1e6, 0), ("1", 0), (0.0, 149), (0.0, 2.5), (0.0, -1), (0.0, None), (0.0, 0.999)],
)
def test_impossible_exports_are_refused(run, eeg_front, dropped_markers):
    with pytest.raises(InputError):
        export_run(run, eeg_front, dropped_markers)


def test_an_export_is_not_exported_again(run):
    with pytest.raises(InputError, match="export with 1 s"):
        export_run(export_run(run, 1.0), 1.0)
