import contextlib
import logging

import mne
import numpy as np
import pytest

from eeg2fmri.errors import EEG2fMRIError, FileError, InputError
from eeg2fmri.recordings.brainvision import BrainVisionHeader, read_markers
from eeg2fmri.recordings.eeg import EEGRecording, Marker, eeg_from_array, read_eeg
from tiny_formats import NAMES, RATE, make_signals, write_brainvision, write_edf


class TestRealFiles:
    @pytest.mark.parametrize(
        ("name", "num_electrodes", "rate", "seconds"),
        [
            ("eegmmidb_64ch_128Hz_124s.edf", 64, 128.0, 124.0),
            ("bv_dig_test.vhdr", 64, 5000.0, 1.0),
            ("testbva.vhdr", 29, 200.0, 10.56),
            ("test_raw_chanloc.set", 60, 128.0, 385 / 128),  # of 61, one is flat
        ],
    )
    def test_same_samples_as_mne(self, shared_data, capsys, name, num_electrodes, rate, seconds):
        path = shared_data / "eeg" / name
        recording = read_eeg(path)
        assert (len(recording.electrodes), recording.sampling_rate) == (num_electrodes, rate)
        assert recording.duration == pytest.approx(seconds)
        assert capsys.readouterr().out == ""
        with pytest.warns() if name.startswith("test") else contextlib.nullcontext():
            raw = mne.io.read_raw(path, preload=True, verbose="warning")
        by_name = {
            channel.replace(".", "").lower(): row for channel, row in zip(raw.ch_names, raw.get_data(), strict=True)
        }
        for electrode, signal in zip(recording.electrodes, recording.signals, strict=True):
            np.testing.assert_allclose(signal, by_name[electrode.lower()], rtol=1e-12, atol=1e-18)

    def test_markers_of_real_files(self, shared_data):
        edf = read_eeg(shared_data / "eeg/eegmmidb_64ch_128Hz_124s.edf")
        assert edf.markers[:2] == (Marker(0.0, "T0"), Marker(1.375, "T1"))
        analyzer = read_eeg(shared_data / "eeg/testbva.vhdr")
        assert analyzer.markers[:2] == (Marker(0.0, "New Segment/"), Marker(0.535, "Stimulus/S  4"))

    @pytest.mark.parametrize(("subject", "first", "points"), [("32", 0.144, 162023), ("35", 129.568, 197235)])
    def test_scan_starts_of_noddi(self, shared_data, subject, first, points):
        folder = shared_data / f"sidecars/noddi_eeg_rest_fmri/derivatives/sub-{subject}/eeg"
        path = folder / f"sub-{subject}_task-rest_eeg.vmrk"
        header = BrainVisionHeader(path, path, path, (), (), 250.0, points, np.dtype("<f4"), "MULTIPLEXED")
        onsets = np.array([onset for onset, name in read_markers(header) if name == "Scanner/Scan Start"])
        assert len(onsets) == 300
        assert onsets[0] == pytest.approx(first)
        np.testing.assert_allclose(np.diff(onsets), 2.160, atol=1e-9)


class TestBrainVision:
    @pytest.mark.parametrize("vectorized", [False, True])
    @pytest.mark.parametrize(
        ("unit", "resolution"), [("µV", 0.1), ("uV", 0.1), ("", 0.1), ("mV", 1e-4), ("nV", 100), ("V", 1e-7)]
    )
    def test_round_trip(self, tmp_path, vectorized, unit, resolution):
        signals = make_signals()
        replace = [(",0.1,", f",{resolution},")]
        markers = ["Mk1=New Segment,,1,1,0,2020", "Mk2=Response,R128,51,1,0", "Mk3=Stimulus,S\\1 2,21,1,0"]
        options = {"unit": unit, "vectorized": vectorized, "replace": replace, "markers": markers}
        recording = read_eeg(write_brainvision(tmp_path, signals, **options))
        np.testing.assert_allclose(recording.signals, signals, atol=1e-15)
        assert recording.electrodes == NAMES
        assert recording.markers == (
            Marker(0.0, "New Segment/"), Marker(0.2, "Stimulus/S, 2"), Marker(0.5, "Response/R128"),
        )  # fmt: skip

    def test_wrong_names_fall_back_to_the_namesake(self, tmp_path, caplog):
        signals = make_signals()
        replace = [("DataFile=run.eeg", "DataFile=old name.dat"), ("MarkerFile=run.vmrk", "MarkerFile=old.vmrk")]
        with caplog.at_level(logging.WARNING, logger="eeg2fmri"):
            recording = read_eeg(write_brainvision(tmp_path, signals, replace=replace))
        np.testing.assert_allclose(recording.signals, signals, atol=1e-15)
        assert "old name.dat" in caplog.text
        assert len(recording.markers) == 6

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("NumberOfChannels=4", "NumberOfChannels=1000000000"),
            ("NumberOfChannels=4", "NumberOfChannels=-1"),
            ("NumberOfChannels=4", "NumberOfChannels=3"),
            ("SamplingInterval=10000", "SamplingInterval=0"),
            ("SamplingInterval=10000", "SamplingInterval=nan"),
            ("SamplingInterval=10000", "SamplingInterval=1e-300"),
            ("SamplingInterval=10000", "Sampling=10000"),
            ("INT_16", "INT_64"),
            ("MULTIPLEXED", "SIDEWAYS"),
            ("DataFormat=BINARY", "DataFormat=ASCII"),
            ("DataFormat=BINARY", "DataFormat=BINARY\nSegmentationType=MARKERBASED\nSegmentDataPoints=50"),
            ("Ch2=", "Ch1="),
            ("Ch2=", "Ch9="),
            ("Cz,,0.1,", "Cz,,0,"),
            ("Cz,,0.1,", "Cz,,nan,"),
            ("Cz,,0.1,µV", "Cz,,0.1,°C"),
            ("Brain Vision Data", "Some Other Data"),
            ("[Channel Infos]", "[Infos]"),
        ],
    )
    def test_damaged_headers(self, tmp_path, old, new):
        with pytest.raises(EEG2fMRIError):
            read_eeg(write_brainvision(tmp_path, make_signals(), replace=[(old, new)]))

    @pytest.mark.parametrize("cut", ["Ch4=O", "Ch4=O2", "Ch4=O2,", "Ch4=O2,,", "Ch4=O2,,0.1", "Ch4=O2,,0.1,"])
    def test_a_header_that_is_cut_in_its_last_channel(self, tmp_path, cut):
        path = write_brainvision(tmp_path, make_signals())
        text = path.read_text(encoding="utf-8")
        path.write_text(text[: text.index("Ch4=")] + cut, encoding="utf-8")
        with pytest.raises(FileError, match="a last line without an end"):
            read_eeg(path)

    @pytest.mark.parametrize("change", [-1, 1, -8 * 50])
    def test_length_must_fit(self, tmp_path, change):
        path = write_brainvision(tmp_path, make_signals(), lines=["DataPoints=300"])
        data = (tmp_path / "run.eeg").read_bytes()
        (tmp_path / "run.eeg").write_bytes(data[:change] if change < 0 else data + b"x")
        with pytest.raises(FileError, match="points"):
            read_eeg(path)

    def test_a_marker_behind_the_data_shows_that_they_are_cut(self, tmp_path):
        path = write_brainvision(tmp_path, make_signals(num_points=300))
        (tmp_path / "run.eeg").write_bytes((tmp_path / "run.eeg").read_bytes()[: 40 * 8])
        with pytest.raises(FileError, match="data point 51"):
            read_eeg(path)

    @pytest.mark.parametrize(
        "line",
        ["Mk2=Response,R128,5", "Mk2=Response,R128,51,1,", "Mk3=Response,R128,51,1,0", "Mk2=Response,R128,x,1,0"],
    )
    def test_half_a_marker_line(self, tmp_path, line):
        with pytest.raises(FileError, match="marker number 2"):
            read_eeg(write_brainvision(tmp_path, make_signals(), markers=["Mk1=New Segment,,1,1,0", line]))

    def test_missing_companions(self, tmp_path):
        path = write_brainvision(tmp_path, make_signals())
        (tmp_path / "run.vmrk").unlink()
        with pytest.raises(FileError, match=r"run\.vmrk"):
            read_eeg(path)
        (tmp_path / "run.eeg").unlink()
        with pytest.raises(FileError, match=r"run\.eeg"):
            read_eeg(path)

    def test_part_of_a_recording_leads_to_its_header(self, tmp_path):
        write_brainvision(tmp_path, make_signals())
        with pytest.raises(FileError, match=r"Give the header: run\.vhdr"):
            read_eeg(tmp_path / "run.eeg")


class TestEDF:
    def test_same_as_the_array(self, tmp_path):
        signals = make_signals()
        recording = read_eeg(write_edf(tmp_path / "run.edf", signals))
        np.testing.assert_allclose(recording.signals, signals, atol=1e-12)
        assert recording.electrodes == NAMES

    @pytest.mark.parametrize(
        "change",
        [
            {"num_records": 4},
            {"num_records": 99999999},
            {"num_records": -1},
            {"samples": 99},
            {"reserved": "EDF+D"},
            {"record_duration": 0},
            {"record_duration": 1.01, "onsets": (1.5,)},
        ],
    )
    def test_damaged_headers(self, tmp_path, change):
        with pytest.raises(FileError):
            read_eeg(write_edf(tmp_path / "run.edf", make_signals(), **change))


class TestOtherSources:
    def make_raw(self, meas_date, first_samp=0):
        info = mne.create_info([*NAMES, "ECG", "STI"], RATE, ["eeg"] * 5 + ["stim"])
        raw = mne.io.RawArray(
            np.vstack([make_signals(5), np.zeros(300)]), info, first_samp=first_samp, verbose="error"
        )
        raw.set_meas_date(meas_date)
        return raw.set_annotations(mne.Annotations([1.0, 2.0], [0, 0], ["V", "W"]))

    @pytest.mark.parametrize("meas_date", [None, 1.6e9])
    @pytest.mark.parametrize("first_samp", [0, 70])
    def test_markers_count_from_the_first_sample(self, meas_date, first_samp):
        raw = self.make_raw(meas_date, first_samp)
        recording = read_eeg(raw)
        assert recording.electrodes == NAMES
        np.testing.assert_array_equal(recording.signals, make_signals(5)[:4])
        assert [(marker.onset, marker.description) for marker in recording.markers] == [
            (pytest.approx(1.0), "V"), (pytest.approx(2.0), "W"),
        ]  # fmt: skip
        cropped = read_eeg(raw.crop(0.5, 2.5))
        np.testing.assert_array_equal(cropped.signals, recording.signals[:, 50:251])
        assert [marker.onset for marker in cropped.markers] == pytest.approx([0.5, 1.5])

    def test_bad_channels_are_left_out(self, caplog):
        raw = self.make_raw(None)
        raw.info["bads"] = ["Cz"]
        assert read_eeg(raw).electrodes == ("Fp1", "Pz", "O2")
        assert "Cz" in caplog.text

    def test_a_recording_is_returned_as_it_is(self):
        recording = eeg_from_array(make_signals(), NAMES, RATE)
        assert read_eeg(recording) is recording

    def test_fif_round_trip(self, tmp_path):
        path = tmp_path / "run_raw.fif"
        raw = self.make_raw(1.6e9, 70)
        raw.save(path, fmt="double", verbose="error")
        saved = read_eeg(path)
        np.testing.assert_allclose(saved.signals, read_eeg(raw).signals, atol=1e-15)
        assert [marker.onset for marker in saved.markers] == pytest.approx([1.0, 2.0])

    @pytest.mark.parametrize("name", ["run.txt", "run.fif", "run.set", "run.cnt", "run.gdf", "run.bdf", "run.edf"])
    def test_files_of_no_format(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"no recording at all" * 100)
        with pytest.raises(FileError):
            read_eeg(tmp_path / name)

    @pytest.mark.parametrize("source", [None, 3, np.zeros((2, 2))])
    def test_other_types(self, source):
        with pytest.raises(InputError):
            read_eeg(source)


class TestContent:
    def test_offset_drift_and_bursts_are_plausible(self):
        signals = np.random.default_rng(0).normal(0, 1e-5, (4, 6000)) + 0.3 + np.linspace(0, 0.05, 6000)
        signals[:, 1000:1100] += 1.0
        eeg_from_array(signals, NAMES, RATE)

    @pytest.mark.parametrize(
        ("signals", "names", "rate"),
        [
            (np.zeros(5), NAMES, RATE),
            (np.zeros((4, 5, 2)), NAMES, RATE),
            (np.zeros((4, 1)), NAMES, RATE),
            (np.zeros((4, 9), complex), NAMES, RATE),
            (np.array([["a", "b"]] * 4), NAMES, RATE),
            (make_signals(), NAMES[:3], RATE),
            (make_signals().T, NAMES, RATE),
            (make_signals(), "FpCz", RATE),
            (make_signals(), NAMES, 0),
            (make_signals(), NAMES, np.nan),
            (make_signals(), NAMES, np.inf),
            (make_signals(), NAMES, "fast"),
            (make_signals(), NAMES, 10**400),
        ],
    )
    def test_arguments(self, signals, names, rate):
        with pytest.raises(InputError):
            eeg_from_array(signals, names, rate)

    @pytest.mark.parametrize(
        "names", [("Fp1", "Cz", "T3", "O2"), ("Fp1", "Cz", "pz", "O2"), ("Fp1", "Cz", "ECG", "O2"), (1, 2, 3, 4), 4]
    )
    def test_names_of_a_recording_made_by_hand_are_canonical(self, names):
        with pytest.raises(InputError, match="canonical"):
            EEGRecording(make_signals(), names, RATE)
