"""Rows 11 and 12: samples that are no numbers; channels that are flat, missing, extra, doubled or in another order."""

import logging

import mne
import numpy as np
import pytest

import tiny
from eeg2fmri.errors import RecordingError
from eeg2fmri.pipeline_inputs import collect_prompts
from eeg2fmri.processing.eeg import EEGProcessor
from eeg2fmri.recordings.channels import quiet_mne
from eeg2fmri.recordings.eeg import EEGRecording, eeg_from_array, read_eeg
from tiny_formats import NAMES, RATE, make_signals, write_brainvision, write_edf, write_eeglab


def write_fif(folder, signals):
    path = folder / "run_raw.fif"
    with quiet_mne("test"):
        mne.io.RawArray(signals, mne.create_info(list(NAMES), RATE, "eeg")).save(path)
    return path


SOURCES = {
    "array": lambda folder, signals: eeg_from_array(signals, NAMES, RATE),
    "recording": lambda folder, signals: EEGRecording(signals, NAMES, RATE),
    "fif": lambda folder, signals: read_eeg(write_fif(folder, signals)),
    "eeglab": lambda folder, signals: read_eeg(write_eeglab(folder / "run.set", signals)),
    "fdt": lambda folder, signals: read_eeg(write_eeglab(folder / "run.set", signals, data_file="run.fdt")),
}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("source", SOURCES)
def test_samples_that_are_no_numbers_are_counted(tmp_path, source, value):
    signals = make_signals()
    signals[2, [17, 40]] = value
    with pytest.raises(RecordingError, match=r"2 NaN or Inf samples in 1 electrodes, the first in Pz at sample 17"):
        SOURCES[source](tmp_path, signals)


def test_a_sample_beyond_any_amplifier_is_named():
    signals = make_signals()
    signals[1, 30] = -1e30
    with pytest.raises(RecordingError, match=r"beyond 100 V in 1 electrodes, the first in Cz at sample 30"):
        eeg_from_array(signals, NAMES, RATE)


def test_flat_electrodes_are_left_out_up_to_a_share(caplog):
    signals = make_signals()
    signals[1] = 3e-6
    assert eeg_from_array(signals, NAMES, RATE).electrodes == ("Fp1", "Pz", "O2")
    assert "Cz" in caplog.text
    signals[2] = 0
    with pytest.raises(RecordingError, match=r"2 of 4 electrodes without any signal: Cz, Pz"):
        eeg_from_array(signals, NAMES, RATE)


@pytest.mark.parametrize("extra", ["ECG", "Resp", "EXG5"])
def test_extra_channels_are_dropped_with_a_line(tmp_path, caplog, extra):
    signals, names = make_signals(5), ("Fp1", extra, "Cz", "Pz", "O2")
    caplog.set_level(logging.DEBUG, "eeg2fmri")
    for path in (
        write_brainvision(tmp_path, signals, names=names),
        write_edf(tmp_path / "run.edf", signals, names=names),
        write_eeglab(tmp_path / "run.set", signals, names=names),
    ):
        caplog.clear()
        assert read_eeg(path).electrodes == NAMES
        assert f"'{extra}'" in caplog.text


def test_a_channel_that_measures_no_voltage_is_dropped_with_a_line(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "eeg2fmri")
    replace = [("Ch5=Temp,,0.1,µV", "Ch5=Temp,,0.1,°C")]
    path = write_brainvision(tmp_path, make_signals(5), names=(*NAMES, "Temp"), replace=replace)
    assert read_eeg(path).electrodes == NAMES
    assert "'Temp' with the unit '°C'" in caplog.text


def test_doubled_electrodes_are_named_with_their_numbers(tmp_path):
    path = write_brainvision(tmp_path, make_signals(5), names=("Fp1", "T3", "Cz", "T7", "O2"))
    with pytest.raises(RecordingError, match=r"T7 twice: channels 2 \('T3'\) and 4 \('T7'\)"):
        read_eeg(path)


def test_missing_electrodes_are_named_and_counted():
    recording = eeg_from_array(tiny.signals()[:5], tiny.ELECTRODES[:5], tiny.SAMPLING_RATE)
    with pytest.raises(RecordingError, match=r"3 of 8 electrodes missing: O1, Oz, O2"):
        tiny.eeg_processor().select_electrodes(recording)


class TestOrder:
    NAMES = ("Fp1", "Fp2", "C3", "Cz", "C4", "O1", "Oz", "P3", "ECG")  # O2 is missing, P3 and ECG are more

    def write(self, folder, order):
        folder.mkdir()
        signals = make_signals(len(self.NAMES), 2000)[order]
        return write_brainvision(folder, signals, names=[self.NAMES[index] for index in order])

    @pytest.mark.parametrize("normalization", ["channels", "training"])
    def test_reading_and_processing_change_no_bit(self, tmp_path, normalization):
        processor = tiny.eeg_processor() if normalization == "training" else EEGProcessor(
            electrodes=list(tiny.ELECTRODES), sampling_rate=64.0, num_frequencies=20, num_windows=4,
            window_start=-8.0, normalization="channels",
        )  # fmt: skip
        expected = processor(self.write(tmp_path / "whole", np.arange(9)), repetition_time=2.0).windows
        for seed in range(20):
            path = self.write(tmp_path / str(seed), np.random.default_rng(seed).permutation(9))
            np.testing.assert_array_equal(processor(path, repetition_time=2.0).windows, expected)

    def test_the_pipeline_s_windows_change_no_bit(self, tmp_path):
        pipe = tiny.pipeline()
        absent = dict.fromkeys(
            ("eeg_embeds", "negative_eeg_embeds", "prior_volumes", "reference", "electrodes", "sampling_rate",
             "onsets", "repetition_time", "output_type")
        )  # fmt: skip
        whole, *permuted = (
            collect_prompts(pipe, eeg=self.write(tmp_path / str(seed), order), **absent).recordings[0].windows
            for seed, order in enumerate([np.arange(9), *map(np.random.default_rng(1).permutation, [9] * 20)])
        )
        assert len(permuted) == 20
        for windows in permuted:
            np.testing.assert_array_equal(windows, whole)
