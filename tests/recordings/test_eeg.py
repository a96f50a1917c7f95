import contextlib
import logging
import resource

import mne
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eeg2fmri.errors import EEG2fMRIError, FileError, InputError, RecordingError
from eeg2fmri.recordings.brainvision import BrainVisionHeader, read_markers
from eeg2fmri.recordings.eeg import EEGRecording, Marker, eeg_from_array, read_eeg

NAMES = ("Fp1", "Cz", "Pz", "O2")
RATE = 100.0
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MUTATIONS = st.tuples(
    st.sampled_from(["cut", "flip", "pad", "swap"]), st.floats(0, 1, exclude_max=True), st.integers(1, 255)
)


def make_signals(num_electrodes=4, num_points=300, seed=0):
    return (
        np.random.default_rng(seed).integers(-300, 300, (num_electrodes, num_points)) * 1e-7
    )  # volts, in 0.1 uV steps


def write_brainvision(folder, signals, *, unit="µV", vectorized=False, lines=(), replace=(), markers=None):
    """Three files named run.*, INT_16 with 0.1 uV steps; `replace` changes the header's text."""
    channels = [f"Ch{n}={name},,0.1,{unit}" for n, name in enumerate(NAMES[: len(signals)], start=1)]
    header = "\n".join(
        ["Brain Vision Data Exchange Header File Version 1.0", "[Common Infos]", "Codepage=UTF-8", "DataFile=run.eeg",
         "MarkerFile=run.vmrk", "DataFormat=BINARY",
         f"DataOrientation={'VECTORIZED' if vectorized else 'MULTIPLEXED'}",
         f"NumberOfChannels={len(signals)}", f"SamplingInterval={1e6 / RATE:g}", *lines, "[Binary Infos]",
         "BinaryFormat=INT_16", "[Channel Infos]", *channels, "[Comment]", "free = text", "[free"]
    )  # fmt: skip
    for old, new in replace:
        assert old in header
        header = header.replace(old, new)
    stored = np.round(signals / 1e-7).astype("<i2")
    (folder / "run.eeg").write_bytes((stored if vectorized else stored.T).tobytes())
    (folder / "run.vhdr").write_text(header + "\n", encoding="utf-8")
    if markers is None:
        markers = [
            "Mk1=New Segment,,1,1,0,20200101120000000000",
            "Mk2=Response,R128,51,1,0",
            "Mk3=Stimulus,S\\1 2,21,1,0",
        ]
    text = [
        "Brain Vision Data Exchange Marker File, Version 1.0",
        "[Common Infos]",
        "DataFile=run.eeg",
        "[Marker Infos]",
    ]
    (folder / "run.vmrk").write_text("\n".join([*text, *markers]) + "\n")
    return folder / "run.vhdr"


def write_edf(path, signals, *, num_records=None, samples=None, reserved=""):
    """One-second records of `RATE` samples, 0.1 uV steps."""
    count, num_seconds = len(signals), signals.shape[1] // int(RATE)

    def fields(width, values):
        return "".join(str(value).ljust(width) for value in values)

    header = fields(8, ["0"]) + " " * 160 + fields(8, ["01.01.20", "12.00.00", 256 * (count + 1)])
    header += fields(44, [reserved]) + fields(8, [num_records or num_seconds, 1]) + fields(4, [count])
    header += fields(16, NAMES[:count]) + fields(80, [""] * count) + fields(8, ["uV"] * count)
    for value in ("-3276.8", "3276.7", -32768, 32767):
        header += fields(8, [value] * count)
    header += fields(80, [""] * count) + fields(8, [samples or int(RATE)] * count) + " " * 32 * count
    stored = np.round(signals / 1e-7).astype("<i2").reshape(count, num_seconds, -1).swapaxes(0, 1)
    path.write_bytes(header.encode() + stored.tobytes())
    return path


def mutate(content, kind, where, value):
    position = int(where * len(content))
    if kind == "cut":
        return content[:position]
    if kind == "flip":
        return content[:position] + bytes([content[position] ^ value]) + content[position + 1 :]
    if kind == "swap":
        return content[:position] + bytes([value]) * 8 + content[position + 8 :]
    return content + bytes([value]) * (position + 1)


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
        recording = read_eeg(write_brainvision(tmp_path, signals, unit=unit, vectorized=vectorized, replace=replace))
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
        assert len(recording.markers) == 3

    @pytest.mark.parametrize("key", ["DataFile=run.eeg", "MarkerFile=run.vmrk"])
    @pytest.mark.parametrize(
        "name",
        ["../x.eeg", "/etc/passwd", "..\\x.eeg", "C:\\x.eeg", "a/../../x.eeg", "./x.eeg", "..", "sub/x.eeg", "file:x"],
    )
    def test_never_leaves_the_folder(self, tmp_path, key, name):
        path = write_brainvision(tmp_path, make_signals(), replace=[(key, f"{key.split('=')[0]}={name}")])
        with pytest.raises(FileError, match="without a folder"):
            read_eeg(path)

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

    def test_a_billion_channels_take_no_memory(self, tmp_path):
        path = write_brainvision(
            tmp_path, make_signals(), replace=[("NumberOfChannels=4", "NumberOfChannels=1000000000")]
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(FileError, match="1000000000"):
            read_eeg(path)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024

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

    @FUZZ
    @given(mutation=MUTATIONS, name=st.sampled_from(["run.vhdr", "run.vmrk", "run.eeg"]))
    def test_no_foreign_exception(self, tmp_path, mutation, name):
        path = write_brainvision(tmp_path, make_signals(), lines=["DataPoints=300"])
        target = tmp_path / name
        target.write_bytes(mutate(target.read_bytes(), *mutation))
        with contextlib.suppress(EEG2fMRIError):
            assert np.isfinite(read_eeg(path).signals).all()


class TestEDF:
    def test_same_as_the_array(self, tmp_path):
        signals = make_signals()
        recording = read_eeg(write_edf(tmp_path / "run.edf", signals))
        np.testing.assert_allclose(recording.signals, signals, atol=1e-12)
        assert recording.electrodes == NAMES

    @pytest.mark.parametrize(
        "change",
        [{"num_records": 4}, {"num_records": 99999999}, {"num_records": -1}, {"samples": 99}, {"reserved": "EDF+D"}],
    )
    def test_damaged_headers(self, tmp_path, change):
        with pytest.raises(FileError):
            read_eeg(write_edf(tmp_path / "run.edf", make_signals(), **change))

    @FUZZ
    @given(mutation=MUTATIONS)
    def test_cut_and_padded_files_are_refused_and_no_foreign_exception(self, tmp_path, mutation):
        path = write_edf(tmp_path / "run.edf", make_signals())
        path.write_bytes(mutate(path.read_bytes(), *mutation))
        if mutation[0] in ("cut", "pad"):
            with pytest.raises(FileError):
                read_eeg(path)
        with contextlib.suppress(EEG2fMRIError):
            assert np.isfinite(read_eeg(path).signals).all()


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
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite_samples_are_named(self, value):
        signals = make_signals()
        signals[2, [17, 40]] = value
        with pytest.raises(
            RecordingError, match=r"2 NaN or Inf samples in 1 electrodes, the first in Pz at sample 17"
        ):
            eeg_from_array(signals, NAMES, RATE)
        with pytest.raises(RecordingError, match="sample 17"):
            EEGRecording(signals, NAMES, RATE)

    def test_a_flat_electrode_is_left_out(self, caplog):
        signals = make_signals()
        signals[1] = 3e-6
        recording = eeg_from_array(signals, NAMES, RATE)
        assert recording.electrodes == ("Fp1", "Pz", "O2")
        assert "Cz" in caplog.text
        signals[2] = 0
        with pytest.raises(RecordingError, match=r"2 of 4 electrodes without any signal: Cz, Pz"):
            eeg_from_array(signals, NAMES, RATE)

    @pytest.mark.parametrize("level", [1e-6, 2e-5, 5e-4, 5e-3])
    def test_units_a_million_off(self, level):
        signals = np.random.default_rng(0).normal(0, level, (4, 500))
        eeg_from_array(signals, NAMES, RATE)
        with pytest.raises(RecordingError, match="divide by 1e6"):
            eeg_from_array(signals * 1e6, NAMES, RATE)
        with pytest.raises(RecordingError, match="multiply by 1e6"):
            eeg_from_array(signals / 1e6, NAMES, RATE)

    def test_offset_drift_and_bursts_are_plausible(self):
        signals = np.random.default_rng(0).normal(0, 1e-5, (4, 6000)) + 0.3 + np.linspace(0, 0.05, 6000)
        signals[:, 1000:1100] += 1.0
        eeg_from_array(signals, NAMES, RATE)

    def test_volts_that_are_microvolts_in_a_file(self, tmp_path):
        with pytest.raises(RecordingError, match="unit in the header"):
            read_eeg(write_brainvision(tmp_path, make_signals(), unit="V"))

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
