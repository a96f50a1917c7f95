"""Raw in-scanner EEG that is simulated, against the same EEG without the scanner's artefacts."""

import dataclasses

import mne
import numpy as np
import pytest
from scipy.signal import butter, resample_poly, sosfiltfilt

from eeg2fmri.data.simulation import scanner_artifacts as simulation
from eeg2fmri.data.simulation import simulate_run, with_scanner_artifacts
from eeg2fmri.errors import RecordingError
from eeg2fmri.recordings.channels import quiet_mne
from eeg2fmri.recordings.eeg_file import EEGFile, Marker
from eeg2fmri.recordings.scanner_artifacts import (
    find_beats,
    gradient_warning,
    read_without_artifacts,
    remove_gradient_artifact,
    remove_pulse_artifact,
)

NUM_VOLUMES = 60
BANDS = {"delta": (1, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 45)}


def file_of(run, markers=()) -> EEGFile:
    channels = np.vstack([run.eeg, run.ecg])
    electrodes = {name: index for index, name in enumerate(run.electrodes)}
    return EEGFile(
        "raw", electrodes, len(electrodes), run.sampling_rate, channels.shape[1], markers, lambda c: channels[list(c)]
    )


def pulse_markers(run) -> tuple[Marker, ...]:
    return tuple(Marker(onset, "Pulse Artifact/R") for onset in run.pulse_onsets.tolist())


@pytest.fixture(scope="module")
def clean():
    return simulate_run("mini", num_volumes=NUM_VOLUMES)


@pytest.fixture(scope="module")
def raw(clean):
    return with_scanner_artifacts(clean)


@pytest.fixture(scope="module")
def gradient_only(clean):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "PULSE_PEAK", 0.0)
        return with_scanner_artifacts(clean)


@pytest.fixture(scope="module")
def truth(clean):
    """The clean EEG at the corrected recording's 256 Hz."""
    return resample_poly(clean.eeg, 2, 1, axis=1, padtype="line")


@pytest.fixture(scope="module")
def corrected(raw):
    return read_without_artifacts(file_of(raw, pulse_markers(raw)), raw.volume_onsets)


@pytest.fixture(scope="module")
def without_gradient(gradient_only):
    return remove_gradient_artifact(file_of(gradient_only), gradient_only.volume_onsets)


def band_passed(signals, low=1.0, high=40.0):
    return sosfiltfilt(butter(4, (low, high), "bandpass", fs=256.0, output="sos"), signals, axis=1)


def correlations(found, true):
    return np.array([np.corrcoef(one, other)[0, 1] for one, other in zip(found, true, strict=True)])


def log_power(signals, band):
    """Of every electrode in every repetition time, `[electrode, volume]`."""
    signals = band_passed(signals, *BANDS[band])
    pieces = signals[:, : signals.shape[1] // 512 * 512].reshape(len(signals), -1, 512)
    return np.log((pieces**2).mean(axis=2))


def relative_error(found, true, part=slice(None)):
    found, true = (band_passed(signals)[:, part] for signals in (found, true))
    return np.sqrt(np.mean((found - true) ** 2) / np.mean(true**2))


def test_the_simulated_artefacts_have_their_sizes(raw, clean):
    # Millivolts, on EEG of some microvolts, at 1024 Hz; everything else is the same run.
    assert raw.sampling_rate == 1024.0
    added = raw.eeg - resample_poly(clean.eeg, 8, 1, axis=1, padtype="line")
    assert np.abs(added).max() == pytest.approx(simulation.GRADIENT_PEAK, rel=0.1)
    before = added[:, : round(clean.volume_onsets[0] * raw.sampling_rate)]
    assert 1e-5 < np.abs(before).max() <= simulation.PULSE_PEAK
    np.testing.assert_array_equal(raw.bold, clean.bold)


def test_without_gradient_artefact_eeg_is_as_it_was(without_gradient, gradient_only, truth):
    recording, _, found = without_gradient
    assert recording.sampling_rate == 256.0
    assert found.power_before > 30
    assert found.power_after < 3
    assert found.num_unmarked == 0
    assert found.scanned == (4.0, 124.0)
    before = resample_poly(gradient_only.eeg, 1, 4, axis=1, padtype="line")
    assert relative_error(before, truth) > 15
    assert relative_error(recording.signals, truth) < 0.3
    assert np.median(correlations(band_passed(recording.signals), band_passed(truth))) > 0.95
    for band in BANDS:
        assert np.median(correlations(log_power(recording.signals, band), log_power(truth, band))) > 0.9, band


def test_the_edges_are_corrected_as_the_middle_is(without_gradient, truth):
    signals = without_gradient[0].signals
    errors = [relative_error(signals, truth, slice(start, start + 5120)) for start in (1024, 12000, 26600)]
    # The first ten volumes, ten in the middle, the last ten.
    assert errors[0] < 1.5 * errors[1]
    assert errors[2] < 1.5 * errors[1]


def test_without_both_artefacts(corrected, truth, raw):
    recording, found = corrected
    assert found.beats_from == "markers"
    assert found.num_beats == len(raw.pulse_onsets)
    assert not found.warnings
    assert relative_error(recording.signals, truth) < 0.45
    assert np.median(correlations(band_passed(recording.signals), band_passed(truth))) > 0.9
    agreement = {
        band: np.median(correlations(log_power(recording.signals, band), log_power(truth, band))) for band in BANDS
    }
    assert min(agreement[band] for band in ("alpha", "beta", "gamma")) > 0.9
    assert min(agreement.values()) > 0.75  # the pulse artefact lies in delta and theta


def test_principal_components_take_alpha_away(raw, truth, corrected):
    recording, _, _ = remove_gradient_artifact(file_of(raw), raw.volume_onsets)
    with_components = remove_pulse_artifact(recording, raw.pulse_onsets, num_components=4)
    agreement = [
        np.median(correlations(log_power(found.signals, "alpha"), log_power(truth, "alpha")))
        for found in (corrected[0], with_components)
    ]
    assert agreement[0] > agreement[1] + 0.1


def test_beats_are_found_in_the_ecg_once_the_gradient_artefact_is_gone(raw):
    recording, ecg, _ = remove_gradient_artifact(file_of(raw), raw.volume_onsets)
    beats, origin = find_beats(recording, ecg)
    assert origin == "ECG"
    distances = np.abs(beats[:, None] - raw.pulse_onsets).min(axis=1)
    assert distances.max() < 0.02
    assert len(beats) >= 0.95 * len(raw.pulse_onsets)


def test_a_recording_of_mne_that_was_cropped_gives_the_same(raw, corrected):
    channels = np.vstack([raw.eeg, raw.ecg])
    front = np.zeros((len(channels), 2048))
    names = [*raw.electrodes, "ECG"]
    with quiet_mne("test"):
        whole = mne.io.RawArray(
            np.hstack([front, channels]), mne.create_info(names, 1024.0, ["eeg"] * 16 + ["ecg"]), first_samp=500
        )
        times = [*raw.volume_onsets, *raw.pulse_onsets]
        labels = ["Response/R128"] * NUM_VOLUMES + ["Pulse Artifact/R"] * len(raw.pulse_onsets)
        whole.set_annotations(mne.Annotations(np.array(times) + 2.0, 0.0, labels))
        cropped = whole.crop(tmin=2.0)
    assert cropped.first_samp == 500 + 2048
    recording, found = read_without_artifacts(cropped, raw.volume_onsets)
    assert found.num_beats == corrected[1].num_beats
    np.testing.assert_allclose(recording.signals, corrected[0].signals, atol=1e-9)


def test_lead_in_volumes_without_markers_and_a_scan_that_goes_on(raw, corrected):
    recording, found = read_without_artifacts(file_of(raw, pulse_markers(raw)), raw.volume_onsets[5:-3])
    assert found.gradient.num_unmarked == 8
    np.testing.assert_allclose(recording.signals, corrected[0].signals, atol=1e-12)


def test_fractional_spacing(clean, truth):
    """The scanner's clock is 20 ppm slow: 2048.04 samples a volume."""
    late = 4.0 + (clean.volume_onsets - 4.0) * 1.00002
    drifting = dataclasses.replace(clean, volume_onsets=late, repetition_time=2.0 * 1.00002)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "PULSE_PEAK", 0.0)
        raw = with_scanner_artifacts(drifting)
    markers = np.rint(late * raw.sampling_rate) / raw.sampling_rate
    recording, _, found = remove_gradient_artifact(file_of(raw), markers)
    assert not found.is_synchronised
    assert relative_error(recording.signals, truth) < 0.35


def test_a_saturated_amplifier_is_named_and_refused_at_many_electrodes(raw):
    for num_clipped in (2, 8):
        limited = raw.eeg.copy()
        limited[:num_clipped] = np.clip(limited[:num_clipped], -3e-4, 3e-4)
        file = file_of(dataclasses.replace(raw, eeg=limited))
        if num_clipped == 2:
            assert remove_gradient_artifact(file, raw.volume_onsets)[2].clipped == raw.electrodes[:2]
        else:
            with pytest.raises(RecordingError, match="8 of 16 electrodes"):
                remove_gradient_artifact(file, raw.volume_onsets)


@pytest.mark.parametrize(
    ("beats", "message"),
    [
        (np.arange(10.0), "10 heart beats"),
        (0.1 * np.arange(300.0), "600 beats a minute"),
        (4.0 * np.arange(30.0), "15 beats a minute"),
    ],
)
def test_beats_that_are_no_hearts(corrected, beats, message):
    with pytest.raises(RecordingError, match=message):
        remove_pulse_artifact(corrected[0], beats)


def test_without_beats_the_pulse_artefact_stays_with_a_warning(raw):
    file = dataclasses.replace(file_of(raw), ecg=None)
    _, found = read_without_artifacts(file, raw.volume_onsets)
    assert found.num_beats == 0
    assert "neither R markers nor an ECG channel" in found.warnings[0]


def test_missed_beats_are_remarked(raw):
    _, found = read_without_artifacts(
        file_of(raw, pulse_markers(raw)[::3] + pulse_markers(raw)[1::3]), raw.volume_onsets
    )
    assert "heart beats where about" in found.warnings[0]


def test_only_raw_eeg_is_warned_about(corrected, raw, clean):
    raw_recording = dataclasses.replace(corrected[0], signals=raw.eeg, sampling_rate=raw.sampling_rate)
    clean_recording = dataclasses.replace(corrected[0], signals=clean.eeg, sampling_rate=clean.sampling_rate)
    assert "gradient artefact present" in gradient_warning(raw_recording, raw.volume_onsets)
    assert gradient_warning(corrected[0], raw.volume_onsets) is None
    assert gradient_warning(clean_recording, raw.volume_onsets) is None
    assert gradient_warning(clean_recording, np.full(5, np.nan)) is None
