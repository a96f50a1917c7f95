from timeit import timeit

import numpy as np
import pytest

from eeg2fmri.errors import CheckpointError, InputError, RecordingError
from eeg2fmri.processing.base import ARRAYS_NAME
from eeg2fmri.processing.eeg import EEGProcessor
from eeg2fmri.processing.eeg_checks import ELECTRODES
from eeg2fmri.processing.spectra import amplitudes, resample
from eeg2fmri.recordings.eeg import EEGRecording, eeg_from_array, read_eeg

FEW = ["Fp1", "Cz", "Pz", "O2"]
SMALL = {
    "electrodes": FEW, "sampling_rate": 100.0, "num_frequencies": 20, "num_windows": 3, "window_start": -6.0,
    "normalization": "training",
}  # fmt: skip


def small(**changes):
    """A processor with columns of 2 s at 100 Hz, so bins of 0.5 Hz, normalised by nothing."""
    processor = EEGProcessor(**{**SMALL, **changes})
    shape = (processor.num_channels, len(processor.config.electrodes), processor.config.num_frequencies)
    processor.mean, processor.scale = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    return processor


def noise(seconds=30, rate=100.0, electrodes=FEW, seed=0):
    signals = np.random.default_rng(seed).normal(0, 1e-5, (len(electrodes), round(seconds * rate)))
    return EEGRecording(signals, tuple(electrodes), rate)


def test_a_volume_needs_its_whole_window_but_for_rounding():
    processor = small()
    onsets = np.array([np.nan, 5.9, 6.0, 20.0, 40.0, 40.1])
    assert processor.covers(onsets, 40.0).tolist() == [False, False, True, True, True, False]
    processor = small(sampling_rate=200.0, num_windows=14, window_start=-19.6)
    assert 14 * 1.4 < 19.6
    assert processor.covers(1.4 * np.arange(16), 60.0).tolist() == [False] * 14 + [True] * 2


class TestSpectra:
    def test_the_papers_shape(self):
        processor = EEGProcessor()
        assert (processor.num_samples, processor.window_duration) == (540, pytest.approx(2.16))
        np.testing.assert_allclose(processor.frequencies, np.arange(1, 135) / 2.16)
        windows = processor(noise(60, 250.0, ELECTRODES), repetition_time=2.16).windows
        assert windows.shape == (18, 1, 64, 134, 10)
        assert windows.dtype == np.float32

    @pytest.mark.parametrize("rate", [100.0, 500.0, 128.0])
    @pytest.mark.parametrize("mode", ["magnitude", "log_power", "complex"])
    def test_a_tone_is_where_and_as_large_as_it_is(self, rate, mode):
        time_ = np.arange(round(30 * rate)) / rate
        tone = 8e-6 * np.cos(2 * np.pi * 4.5 * time_)  # 8 uV, bin 9 of 0.5 Hz
        recording = EEGRecording(np.tile(tone, (4, 1)) + 1e-3, tuple(FEW), rate)
        processor = small(mode=mode)
        spectra = processor.spectra(recording, np.array([400, 1000, 1800]))
        row = int(np.flatnonzero(processor.frequencies == 4.5)[0])
        expected = {"magnitude": [8], "log_power": [np.log(8**2 / 2)], "complex": [8, 0]}[mode]
        np.testing.assert_allclose(spectra[:, :, :, row].transpose(0, 2, 1) - expected, 0, atol=0.02)
        others = np.delete(spectra, [row - 1, row, row + 1], axis=3)
        assert np.abs(others).max() < 0.02 if mode != "log_power" else others.max() < np.log(1e-3)

    def test_parseval(self):
        signals = np.random.default_rng(1).normal(size=(3, 501))
        amplitude = amplitudes(signals, np.array([0, 100]), 401, 200)  # odd length: no Nyquist bin
        for column, start in enumerate((0, 100)):
            variance = signals[:, start : start + 401].var(axis=1)
            np.testing.assert_allclose((np.abs(amplitude[column]) ** 2 / 2).sum(axis=1), variance)

    def test_power_of_neighbouring_bins_is_their_mean(self):
        recording = noise()
        narrow = small(mode="log_power").spectra(recording, np.array([0, 300]))
        wide_processor = small(mode="log_power", num_frequencies=4, bins_per_frequency=5)
        wide = wide_processor.spectra(recording, np.array([0, 300]))
        np.testing.assert_allclose(np.exp(wide), np.exp(narrow).reshape(2, 1, 4, 4, 5).mean(axis=-1), rtol=1e-4)
        np.testing.assert_allclose(wide_processor.frequencies, [1.5, 4.0, 6.5, 9.0])

    def test_magnitude_is_that_of_complex(self):
        starts = np.array([0, 77])
        magnitude, parts = (small(mode=mode).spectra(noise(), starts) for mode in ("magnitude", "complex"))
        np.testing.assert_allclose(magnitude[:, 0], np.hypot(parts[:, 0], parts[:, 1]), rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("rate", [64.0, 500.0, 249.9875, 200 / 3])
    def test_resampling_keeps_time_and_tone_also_at_the_edges(self, rate):
        seconds = 40
        tone, expected = (
            np.sin(2 * np.pi * 3 * np.arange(round(seconds * r)) / r)[None] + 1000 + np.arange(round(seconds * r)) / r
            for r in (rate, 250.0)
        )
        made = resample(tone, rate, 250.0)
        assert abs(made.shape[1] - expected.shape[1]) <= 4
        length = min(made.shape[1], expected.shape[1])
        difference = np.abs(made[:, :length] - expected[:, :length])
        assert difference[:, 100:-100].max() < 0.02
        assert difference.max() < 0.3  # an offset of 1000 against zeros outside would make 500

    def test_fast(self):
        recording = noise(650, 250.0, ELECTRODES)
        processor = EEGProcessor()
        starts, _ = processor.columns(processor.possible_onsets(recording, 2.16))
        seconds = [timeit(lambda: processor.spectra(recording, starts), number=1) for _ in range(3)]
        assert min(seconds) < 1.5  # 0.1 s on an idle core


class TestColumns:
    def test_shared_columns_are_computed_once(self):
        processor = EEGProcessor()
        starts, index = processor.columns(21.6 + 2.16 * np.arange(300))
        np.testing.assert_array_equal(starts, 540 * np.arange(309))
        np.testing.assert_array_equal(index, np.arange(300)[:, None] + np.arange(10))

    @pytest.mark.parametrize("repetition_time", [2.16, 1.0, 0.7, 2.1601])
    def test_starts_are_the_nearest_samples(self, repetition_time):
        processor = EEGProcessor()
        onsets = 30 + repetition_time * np.arange(50)
        starts, index = processor.columns(onsets)
        exact = (onsets[:, None] - 21.6 + 2.16 * np.arange(10)) * 250
        assert np.abs(starts[index] - exact).max() <= 0.5 + 1e-6

    @pytest.mark.parametrize("normalization", ["channels", "training"])
    def test_one_column_later_is_one_window_on(self, normalization):
        processor = small(normalization=normalization)
        onsets = np.array([6.0, 9.5, 20.0])
        now, later = (processor(noise(), onsets=onsets + shift).windows for shift in (0, processor.window_duration))
        np.testing.assert_array_equal(now[..., 1:], later[..., :-1])
        assert not np.array_equal(now[..., 0], later[..., 0])

    def test_all_at_once_as_one_by_one(self):
        processor = small(normalization="channels")
        onsets = np.array([6.0, 7.3, 24.0])
        together = processor(noise(), onsets=onsets).windows
        for row, onset in enumerate(onsets):
            np.testing.assert_array_equal(processor(noise(), onsets=[onset]).windows[0], together[row])

    def test_composition_is_the_call(self):
        processor = small(mode="log_power", baseline="recording", clip=3.0)
        recording, onsets = noise(), np.array([6.0, 8.0, 10.5])
        starts, index = processor.columns(onsets)
        composed = processor.normalise(processor.spectra(recording, starts))[index]
        np.testing.assert_array_equal(composed.transpose(0, 2, 3, 4, 1), processor(recording, onsets=onsets).windows)

    @pytest.mark.parametrize(("seconds", "count"), [(6.0, 1), (7.99, 1), (8.0, 2), (30.0, 13)])
    def test_every_volume_that_fits(self, seconds, count):
        processor = small()
        result = processor(noise(seconds), repetition_time=2.0)
        np.testing.assert_allclose(result.onsets, 6.0 + 2.0 * np.arange(count))
        assert len(result.windows) == count

    def test_too_short(self):
        with pytest.raises(RecordingError, match=r"5\.990 s of EEG; expected at least 6\.000 s"):
            small()(noise(5.99), repetition_time=2.0)

    def test_windows_that_leave_the_recording_are_named(self):
        with pytest.raises(RecordingError, match=r"2 of 4 volumes, with onsets from 2\.000 to 31\.000 s"):
            small()(noise(30), onsets=[2.0, 6.0, 30.0, 31.0])

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"repetition_time": 0},
            {"repetition_time": -2.0},
            {"repetition_time": np.nan},
            {"repetition_time": "2"},
            {"repetition_time": 2160},
            {"repetition_time": 10**400},
            {"repetition_time": 90.0},
            {"onsets": []},
            {"onsets": [[6.0]]},
            {"onsets": [6.0, np.nan]},
            {"onsets": "soon"},
            {"onsets": [10**400]},
            {"onsets": 6.0},
            {"repetition_time": 2.0, "electrodes": FEW},
            {"repetition_time": 2.0, "sampling_rate": 100.0},
        ],
    )
    def test_arguments(self, arguments):
        with pytest.raises(InputError):
            small()(noise(), **arguments)


class TestElectrodes:
    def test_missing_ones_are_interpolated_up_to_a_share(self):
        recording = noise(electrodes=ELECTRODES, rate=250.0)
        processor = EEGProcessor()
        kept = [row for row, name in enumerate(ELECTRODES) if name not in ("Cz", "P3")]
        smaller = EEGRecording(recording.signals[kept], tuple(ELECTRODES[row] for row in kept), 250.0)
        selected = processor.select_electrodes(smaller)
        assert selected.electrodes == ELECTRODES
        np.testing.assert_array_equal(selected.signals[kept], recording.signals[kept])
        assert np.ptp(selected.signals[ELECTRODES.index("Cz")]) > 0
        few = EEGRecording(recording.signals[:47], ELECTRODES[:47], 250.0)
        with pytest.raises(RecordingError, match=r"17 of 64 electrodes missing: F6, C5"):
            processor.select_electrodes(few)

    def test_real_recordings(self, shared_data):
        processor = EEGProcessor()
        path = shared_data / "eeg/eegmmidb_64ch_128Hz_124s.edf"
        windows = processor(path, repetition_time=2.16).windows
        assert windows.shape == (48, 1, 64, 134, 10)
        assert np.isfinite(windows).all()
        recording = read_eeg(path)
        array = processor(
            recording.signals, repetition_time=2.16, electrodes=recording.electrodes, sampling_rate=128.0
        ).windows
        np.testing.assert_array_equal(array, windows)
        with pytest.raises(RecordingError, match=r"too short: 1\.000 s of EEG; expected at least 21\.600 s"):
            processor(shared_data / "eeg/bv_dig_test.vhdr", repetition_time=2.16)

    def test_tensors(self):
        torch = pytest.importorskip("torch")
        recording = noise()
        made = [
            small()(signals, repetition_time=2.0, electrodes=FEW, sampling_rate=100.0).windows
            for signals in (recording.signals, torch.from_numpy(recording.signals).requires_grad_())
        ]
        np.testing.assert_array_equal(*made)
        with pytest.raises(InputError, match="both, for an array"):
            small()(recording.signals, repetition_time=2.0, electrodes=FEW)
        with pytest.raises(InputError):
            small()(torch.zeros(4, 500, dtype=torch.bfloat16), repetition_time=2.0, electrodes=FEW, sampling_rate=100)

    def test_rate_too_low_for_the_frequencies(self):
        with pytest.raises(RecordingError, match=r"100 Hz; expected at least 124\.074 Hz"):
            EEGProcessor()(noise(60, 100.0, ELECTRODES), repetition_time=2.16)

    def test_microvolts_as_volts(self):
        with pytest.raises(RecordingError, match="divide by 1e6"):
            small()(noise().signals * 1e6, repetition_time=2.0, electrodes=FEW, sampling_rate=100.0)


class TestNormalisation:
    def test_channels_is_the_z_score_across_electrodes(self):
        windows = small(normalization="channels")(noise(), repetition_time=2.0).windows
        np.testing.assert_allclose(windows.mean(axis=2), 0, atol=1e-5)
        np.testing.assert_allclose(windows.std(axis=2), 1, atol=1e-4)

    def test_channels_forgets_a_common_change_and_training_keeps_it(self):
        recording = noise()
        louder = EEGRecording(2 * recording.signals, recording.electrodes, 100.0)
        for normalization, factor in (("channels", 1), ("training", 2)):
            processor = small(normalization=normalization)
            windows = [processor(each, repetition_time=2.0).windows for each in (recording, louder)]
            np.testing.assert_allclose(windows[1], factor * windows[0], rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("mode", ["magnitude", "log_power", "complex"])
    def test_fit_makes_training_columns_standard(self, mode):
        processor = EEGProcessor(**{**SMALL, "mode": mode})
        pairs = [(noise(seed=seed), np.arange(6.0, 30.0, 2.0)) for seed in range(3)]
        assert processor.fit(pairs) is processor
        columns = np.concatenate(
            [processor.normalise(processor.spectra(each, processor.columns(onsets)[0])) for each, onsets in pairs]
        )
        if mode == "complex":
            np.testing.assert_array_equal(processor.mean, 0)
            np.testing.assert_array_equal(processor.scale[0], processor.scale[1])
            np.testing.assert_allclose((columns**2).mean(axis=(0, 1)), 1, rtol=1e-4)
        else:
            np.testing.assert_allclose(columns.mean(axis=0), 0, atol=1e-4)
            np.testing.assert_allclose(columns.std(axis=0), 1, rtol=1e-3)

    def test_statistics_come_from_fit_alone(self):
        processor = EEGProcessor(**SMALL)
        with pytest.raises(InputError, match="no training statistics"):
            processor(noise(), repetition_time=2.0)
        processor.fit([(noise(), [6.0, 8.0])])
        mean, scale = processor.mean.copy(), processor.scale.copy()
        processor(noise(seed=5), repetition_time=2.0)
        np.testing.assert_array_equal(processor.mean, mean)
        np.testing.assert_array_equal(processor.scale, scale)

    def test_fit_refuses_what_gives_no_statistics(self):
        with pytest.raises(InputError):
            EEGProcessor(**SMALL).fit([])
        with pytest.raises(InputError):
            EEGProcessor(**{**SMALL, "normalization": "channels"}).fit([(noise(), [6.0])])
        silent = EEGRecording(np.zeros((4, 3000)), tuple(FEW), 100.0)
        with pytest.raises(RecordingError, match="never varies"):
            EEGProcessor(**SMALL).fit([(silent, [6.0, 8.0])])

    def test_baseline_takes_the_recordings_level_away(self):
        recording = noise()
        louder = EEGRecording(2 * recording.signals, recording.electrodes, 100.0)
        processor = small(mode="log_power", baseline="recording")
        windows = [processor(each, repetition_time=2.0).windows for each in (recording, louder)]
        np.testing.assert_allclose(windows[0], windows[1], atol=1e-3)
        starts = processor.columns(np.arange(6.0, 30.0, 2.0))[0]
        np.testing.assert_allclose(np.median(processor.spectra(recording, starts), axis=0), 0, atol=1e-6)

    def test_whitening_takes_caps_and_amplifiers_away(self):
        recording = noise(60)
        louder = EEGRecording(2 * recording.signals, recording.electrodes, 100.0)
        processor = small(mode="complex", baseline="whitening")
        windows = [processor(each, repetition_time=2.0).windows for each in (recording, louder)]
        np.testing.assert_allclose(windows[0], windows[1], atol=1e-4)
        assert np.square(windows[0]).mean() == pytest.approx(1, abs=0.2)

    def test_clip(self):
        windows = small(clip=0.5)(noise(), repetition_time=2.0).windows
        assert np.abs(windows).max() == 0.5


class TestCheckpoint:
    @pytest.mark.parametrize("mode", ["magnitude", "log_power", "complex"])
    def test_save_and_load_change_no_bit(self, tmp_path, mode):
        processor = EEGProcessor(**{**SMALL, "mode": mode}).fit([(noise(), np.arange(6.0, 30.0, 2.0))])
        processor.save_pretrained(tmp_path)
        loaded = EEGProcessor.from_pretrained(tmp_path)
        results = [each(noise(seed=1), repetition_time=2.0).windows for each in (processor, loaded)]
        np.testing.assert_array_equal(*results)
        assert list(loaded.config.electrodes) == FEW

    def test_defaults_round_trip(self, tmp_path):
        EEGProcessor().save_pretrained(tmp_path)
        loaded = EEGProcessor.from_pretrained(tmp_path)
        assert tuple(loaded.config.electrodes) == ELECTRODES
        assert loaded.mean is None

    def test_arrays_of_another_shape(self, tmp_path):
        processor = small()
        processor.save_pretrained(tmp_path)
        processor.mean = processor.mean[:, :2]
        other = tmp_path / "other"
        processor.save_pretrained(other)
        (tmp_path / ARRAYS_NAME).write_bytes((other / ARRAYS_NAME).read_bytes())
        with pytest.raises(CheckpointError, match="arrays of shapes"):
            EEGProcessor.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"electrodes": ["Fp1"]},
        {"electrodes": ["Fp1", "Fp1"]},
        {"electrodes": ["Fp1", "T3"]},
        {"electrodes": ["Fp1", "ECG"]},
        {"electrodes": "Fp1"},
        {"electrodes": [1, 2]},
        {"electrodes": None},
        {"mode": "power"},
        {"mode": []},
        {"sampling_rate": 0},
        {"sampling_rate": float("nan")},
        {"sampling_rate": "250"},
        {"sampling_rate": 1e12},
        {"sampling_rate": 10**400},
        {"num_frequencies": 0},
        {"num_frequencies": 101},
        {"num_frequencies": 10**9},
        {"num_frequencies": 2.0},
        {"num_frequencies": True},
        {"bins_per_frequency": 6},
        {"bins_per_frequency": -1},
        {"num_windows": 0},
        {"num_windows": 10**9},
        {"num_windows": 600},
        {"window_start": 0.0},
        {"window_start": float("-inf")},
        {"window_stop": -7.0},
        {"baseline": "volume"},
        {"baseline": "recording"},
        {"baseline": "whitening"},
        {"mode": "complex", "bins_per_frequency": 2},
        {"normalization": "none"},
        {"clip": 0},
        {"clip": float("nan")},
        {"max_interpolated_share": 1.0},
        {"max_interpolated_share": -0.1},
    ],
)
def test_impossible_configurations(change):
    with pytest.raises(InputError):
        EEGProcessor(**{**SMALL, **change})


def test_the_largest_number_of_frequencies_is_possible():
    assert EEGProcessor(**{**SMALL, "num_frequencies": 100}).frequencies[-1] == 50.0


def test_array_and_recording_agree():
    recording = noise()
    made = eeg_from_array(recording.signals, [name.lower() for name in FEW], 100.0)
    results = [small()(each, repetition_time=2.0).windows for each in (recording, made)]
    np.testing.assert_array_equal(*results)
