import logging

import mne
import numpy as np
import pytest

from eeg2fmri.errors import RecordingError
from eeg2fmri.processing.eeg_checks import ELECTRODES
from eeg2fmri.recordings.channels import canonical_name, interpolation_weights, pick_electrodes, quiet_mne


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("Fc5.", "FC5"), ("C5..", "C5"), ("FP1", "Fp1"), ("fpz", "Fpz"), ("EEG Fp1-REF", "Fp1"), ("EEG Fp1", "Fp1"),
        ("EEG FP2-LE", "Fp2"), ("Cz-A2", "Cz"), ("T3", "T7"), ("t4", "T8"), ("EEG T5-Ref", "P7"), ("T6", "P8"),
        (" Oz ", "Oz"), ("Cz-1", "Cz"), ("AFF1h", "AFF1h"),
    ],
)  # fmt: skip
def test_names_of_electrodes(name, canonical):
    assert canonical_name(name) == canonical
    assert canonical_name(canonical) == canonical


@pytest.mark.parametrize(
    "name", ["ECG", "EKG1", "Eog", "HEOG", "VEOGb", "EMG", "STATUS", "TRIG", "E1", "EXG5", "Fp1-F7", "", "EEG", "Resp"]
)
def test_names_of_no_electrode(name):
    assert canonical_name(name) is None


def test_every_default_electrode_is_canonical():
    assert len(ELECTRODES) == len(set(ELECTRODES)) == 64
    assert all(canonical_name(name) == name for name in ELECTRODES)


def test_others_are_left_out_with_a_line(caplog):
    with caplog.at_level(logging.DEBUG, logger="eeg2fmri"):
        assert pick_electrodes(["Fp1", "ECG", "E17", "T3"], "run") == {"Fp1": 0, "T7": 3}
    levels = {record.args[1]: record.levelno for record in caplog.records}
    assert levels == {"ECG": logging.DEBUG, "E17": logging.INFO}


def test_duplicates_and_too_few_are_named():
    with pytest.raises(RecordingError, match=r"T7 twice: channels \d+ \('T3'\) and \d+ \('T7'\)"):
        pick_electrodes(["T3", "Cz", "T7"], "run")
    with pytest.raises(RecordingError, match="1 known electrodes"):
        pick_electrodes(["Cz", "E1", "E2"], "run")


def test_interpolation_recovers_a_smooth_field():
    # The potential of a charge outside of the head is smooth over the scalp.
    positions = mne.channels.make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    field = {name: 1 / np.linalg.norm(positions[name] - np.array([0.05, 0.1, 0.25])) for name in ELECTRODES}
    truth = np.array([field["FC3"], field["Pz"]])
    sources = tuple(name for name in ELECTRODES if name not in ("FC3", "Pz"))
    weights = interpolation_weights(sources, ("FC3", "Pz"))
    made = weights @ np.array([field[name] for name in sources])
    np.testing.assert_allclose(made, truth, rtol=0.005)
    assert np.abs(truth / np.mean(list(field.values())) - 1).min() > 0.02  # the mean would not do
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)  # a constant stays a constant


def test_interpolation_is_what_mne_makes():
    rng = np.random.default_rng(0)
    with quiet_mne("test"):
        raw = mne.io.RawArray(rng.normal(size=(64, 50)), mne.create_info(list(ELECTRODES), 100.0, "eeg"))
        raw.set_montage("colin27_1005")
        raw.info["bads"] = ["Cz"]
        made = raw.copy().interpolate_bads(origin=(0.0, 0.0146, 0.0408)).get_data(picks="Cz")
        sources = tuple(name for name in ELECTRODES if name != "Cz")
        expected = interpolation_weights(sources, ("Cz",)) @ raw.get_data(picks=list(sources))
    np.testing.assert_allclose(made, expected, atol=1e-10)
