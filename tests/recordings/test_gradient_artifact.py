import mne
import numpy as np
import pytest

from eeg2fmri.errors import RecordingError
from eeg2fmri.recordings.channels import quiet_mne
from eeg2fmri.recordings.gradient_artifact import (
    WINDOW,
    VolumeGrid,
    clipped_share,
    gradient_artifact,
    harmonic_power,
    volume_grid,
    with_unmarked_volumes,
)

RATE, LENGTH, NUM_VOLUMES = 1000.0, 200, 40
SCAN = NUM_VOLUMES * LENGTH


def eeg(num_points: int, seed: int = 0) -> np.ndarray:
    return 1e-5 * np.random.default_rng(seed).standard_normal((2, num_points))


def artefact(positions: np.ndarray, spacing: float) -> np.ndarray:
    """A smooth course, periodic in `spacing` samples, 1 mV."""
    phase = 2 * np.pi * positions / spacing
    return 1e-3 * np.stack([np.sin(3 * phase) + 0.5 * np.cos(7 * phase), np.cos(2 * phase) - 0.2 * np.sin(phase)])


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def test_a_constant_artefact_is_removed_and_slow_drift_is_kept():
    times = np.arange(SCAN + 700)
    scanned = (times >= 300) & (times < 300 + SCAN)
    drift = np.outer([1e-7, -3e-7], times)
    signals = drift + artefact(times - 300, LENGTH) * scanned
    left = signals - gradient_artifact(signals, VolumeGrid(300.0, LENGTH, NUM_VOLUMES)) - drift
    # The template is found but for a constant: the artefact's own mean, here 0.
    assert np.abs(left).max() < 1e-12


def test_templates_are_those_of_mne_where_mne_corrects():
    times = np.arange(SCAN)
    volumes = (eeg(SCAN) + artefact(times, LENGTH)).reshape(2, NUM_VOLUMES, LENGTH)
    course = np.arange(LENGTH) - (LENGTH - 1) / 2
    volumes -= volumes.mean(axis=2, keepdims=True)
    volumes -= (volumes @ course / (course @ course))[..., None] * course  # MNE takes trends out
    signals = volumes.reshape(2, SCAN)
    with quiet_mne("test"):
        raw = mne.io.RawArray(signals, mne.create_info(2, RATE, "eeg"))
        onsets = np.arange(0, SCAN, LENGTH)
        theirs = mne.preprocessing.remove_fmri_gradient_artifact(raw, onsets, window=WINDOW).get_data()
    ours = signals - gradient_artifact(signals, VolumeGrid(0.0, LENGTH, NUM_VOLUMES))
    middle = slice(WINDOW // 2 * LENGTH, -WINDOW // 2 * LENGTH)
    np.testing.assert_allclose(ours[:, middle], theirs[:, middle], atol=1e-15)
    edge = slice(0, WINDOW // 2 * LENGTH)
    assert rms(theirs[:, edge]) > 5e-4
    assert rms(ours[:, edge]) < 1.2e-5


def test_edges_are_as_good_as_the_middle():
    signals = eeg(SCAN) + artefact(np.arange(SCAN), LENGTH)
    left = (signals - gradient_artifact(signals, VolumeGrid(0.0, LENGTH, NUM_VOLUMES)) - eeg(SCAN)).reshape(
        2, -1, LENGTH
    )
    errors = np.sqrt((left**2).mean(axis=(0, 2)))
    # What a mean over n volumes of EEG leaves.
    assert errors == pytest.approx(1e-5 / np.sqrt(WINDOW), rel=0.3)


def test_clocks_that_are_not_synchronised():
    spacing = 200.37
    onsets = (50.2 + spacing * np.arange(NUM_VOLUMES)) / RATE
    grid = volume_grid(np.rint(onsets * RATE) / RATE, RATE, "test")
    assert grid.spacing == pytest.approx(spacing, abs=0.02)
    assert not grid.is_whole
    times = np.arange(SCAN + 300)
    scanned = (times >= 50.2) & (times < 50.2 + NUM_VOLUMES * spacing)
    signals = artefact(times - 50.2, spacing) * scanned
    left = signals - gradient_artifact(signals, VolumeGrid(50.2, spacing, NUM_VOLUMES))
    inside = slice(60, int(40 + NUM_VOLUMES * spacing))
    assert rms(left[:, inside]) < 2e-3 * rms(signals[:, inside])
    # The grid of rounded markers is good to a few hundredths of a sample.
    assert rms((signals - gradient_artifact(signals, grid))[:, inside]) < 1e-2 * rms(signals[:, inside])


def test_a_volume_cut_by_the_recording_is_corrected_too():
    whole = eeg(SCAN) + artefact(np.arange(SCAN), LENGTH)
    cut = whole[:, 130:-25]
    marked = volume_grid((LENGTH * np.arange(1, NUM_VOLUMES) - 130) / RATE, RATE, "test")
    grid = with_unmarked_volumes(marked, cut)
    assert grid == VolumeGrid(-130.0, LENGTH, NUM_VOLUMES)
    left = cut - gradient_artifact(cut, grid) - eeg(SCAN)[:, 130:-25]
    assert rms(left[:, :70]) < 5e-6
    assert rms(left[:, -175:]) < 5e-6


def test_lead_in_volumes_without_markers_are_found_and_eeg_is_not():
    signals = eeg(SCAN + 2000)
    signals[:, 1000 : 1000 + SCAN] += artefact(np.arange(SCAN), LENGTH)
    marked = VolumeGrid(1000.0 + 3 * LENGTH, LENGTH, NUM_VOLUMES - 5)
    grid = with_unmarked_volumes(marked, signals)
    assert grid == VolumeGrid(1000.0, LENGTH, NUM_VOLUMES)
    artifact = gradient_artifact(signals, grid)
    assert not artifact[:, :1000].any()
    assert not artifact[:, 1000 + SCAN :].any()


def test_dropped_markers_leave_gaps_that_are_filled():
    onsets = np.delete(0.3 + 0.2 * np.arange(NUM_VOLUMES), [4, 5, 20])
    assert volume_grid(onsets, RATE, "test") == VolumeGrid(300.0, LENGTH, NUM_VOLUMES)


def test_markers_a_sample_beside_the_grid_are_taken():
    onsets = 0.2 * np.arange(NUM_VOLUMES)
    onsets[7] += 1 / RATE
    assert volume_grid(onsets, RATE, "test").spacing == pytest.approx(LENGTH, abs=0.01)


@pytest.mark.parametrize(
    "onsets",
    [
        0.2 * np.arange(8),
        np.concatenate([0.2 * np.arange(20), 4.0 + 0.25 * np.arange(20)]),
        np.concatenate([0.2 * np.arange(20), 0.07 + 0.2 * np.arange(20, 40)]),
        np.zeros(20),
    ],
    ids=["few", "two spacings", "a pause", "at once"],
)
def test_what_is_no_regular_grid_is_refused(onsets):
    with pytest.raises(RecordingError, match="constant spacing"):
        volume_grid(onsets, RATE, "test")


def test_power_at_the_harmonics():
    onsets = LENGTH / RATE * np.arange(NUM_VOLUMES)
    assert np.abs(harmonic_power(eeg(SCAN), RATE, onsets)).max() < 3
    assert harmonic_power(eeg(SCAN) + artefact(np.arange(SCAN), LENGTH), RATE, onsets).min() > 30


def test_a_saturated_amplifier_shows():
    signals = eeg(SCAN)
    signals[1] = np.clip(signals[1], -1.5e-5, 1.5e-5)
    shares = clipped_share(signals)
    assert shares[0] == 0
    # Three samples in a row beyond 1.5 standard deviations on the same side.
    assert shares[1] == pytest.approx(2 * 0.0668**3, rel=0.7)
    assert not clipped_share(np.zeros((1, 100))).any()
