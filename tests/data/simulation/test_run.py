"""Determinism and ground truth of a simulated run."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from eeg2fmri.data.simulation import BAND_NAMES, DARK_NETWORK, LEVELS, NETWORK_NAMES, PRESETS, Level, simulate_run
from eeg2fmri.data.simulation.physiology import draw_physiology, phase
from eeg2fmri.errors import InputError

NUM_VOLUMES = 60


@pytest.fixture(scope="module")
def run():
    return simulate_run(num_volumes=NUM_VOLUMES, subject=3)


@pytest.fixture(scope="module")
def null_run():
    return simulate_run(num_volumes=NUM_VOLUMES, subject=3, level="null")


def assert_same(one, other):
    assert np.array_equal(one.eeg, other.eeg)
    assert np.array_equal(one.ecg, other.ecg)
    assert np.array_equal(one.bold, other.bold)
    for name, values in one.truth.items():
        assert np.array_equal(values, other.truth[name]), name


def test_shapes_and_times(run):
    preset = PRESETS["mini"]
    assert run.bold.shape == (32, 32, 16, NUM_VOLUMES)
    assert run.bold.dtype == np.float32
    assert run.eeg.shape == (16, (4 + 2 * NUM_VOLUMES) * 128)
    assert run.eeg.dtype == np.float64
    assert run.ecg.shape == run.eeg.shape[1:]
    np.testing.assert_allclose(run.volume_onsets, preset.lead_in + 2.0 * np.arange(NUM_VOLUMES))
    assert run.truth["latents"].shape == (len(NETWORK_NAMES), len(BAND_NAMES), run.truth["latent_times"].size)
    assert run.truth["latent_times"][0] == -32.0
    assert run.truth["latent_times"][-1] >= run.volume_onsets[-1]
    assert np.isfinite(run.eeg).all()
    assert np.isfinite(run.bold).all()


def test_same_arguments_same_bits(run):
    assert_same(run, simulate_run(num_volumes=NUM_VOLUMES, subject=3))


@pytest.mark.parametrize("other", [{"subject": 4}, {"run": 1, "subject": 3}, {"seed": 43, "subject": 3}])
def test_everything_else_differs(run, other):
    different = simulate_run(num_volumes=NUM_VOLUMES, **other)
    assert abs(np.corrcoef(run.eeg[0], different.eeg[0])[0, 1]) < 0.2
    assert not np.array_equal(run.truth["latents"], different.truth["latents"])


def test_traits_stay_from_run_to_run(run):
    second = simulate_run(num_volumes=NUM_VOLUMES, subject=3, run=1)
    for name in ("maps", "weights", "response_peaks"):
        assert np.array_equal(run.truth[name], second.truth[name])


def test_coupled_series_is_the_response_to_the_weighted_latents(run):
    truth = run.truth
    times = np.arange(320) / 10
    for network, name in enumerate(NETWORK_NAMES):
        if name == DARK_NETWORK:
            continue
        activity = sum(w * z for w, z in zip(truth["weights"][network], truth["latents"][network], strict=True))
        response = stats.gamma.pdf(times, truth["response_peaks"][network] + 1) - stats.gamma.pdf(times, 16) / 6
        expected = [
            activity[index : index - 320 : -1] @ response
            for index in np.rint((run.volume_onsets + 32) * 10).astype(int)
        ]
        expected = (expected - np.mean(expected)) / np.std(expected)
        np.testing.assert_allclose(truth["coupled"][network], np.sqrt(0.8) * expected, atol=0.02)


def test_series_is_the_sum_of_its_parts(run):
    truth = run.truth
    np.testing.assert_array_equal(truth["series"], truth["coupled"] + truth["uncoupled"])
    dark = NETWORK_NAMES.index(DARK_NETWORK)
    assert not truth["coupled"][dark].any()
    np.testing.assert_allclose(np.delete(truth["coupled"].var(axis=1), dark), 0.8)
    np.testing.assert_allclose(np.delete(truth["uncoupled"].var(axis=1), dark), 0.2)


def test_null_has_no_coupling_and_the_same_eeg(run, null_run):
    assert not null_run.truth["coupled"].any()
    np.testing.assert_allclose(null_run.truth["series"].var(axis=1), 1.0)
    assert np.array_equal(run.eeg, null_run.eeg)
    assert np.array_equal(run.truth["latents"], null_run.truth["latents"])


def test_deep_networks_follow_their_drivers(run):
    latents = dict(zip(NETWORK_NAMES, run.truth["latents"], strict=True))
    for deep, driver in (
        ("thalamus", "visual"),
        ("cerebellum", "sensorimotor_left"),
        ("putamen", "supplementary_motor"),
    ):
        assert np.array_equal(latents[deep], latents[driver])


def test_variance_shares_of_the_latents():
    alone = dataclasses.replace(LEVELS["default"], arousal=1.0, network=0.0, private=0.0)
    latents = simulate_run(level=alone, num_volumes=NUM_VOLUMES).truth["latents"].reshape(-1, 1840 - 279)
    np.testing.assert_allclose(latents, np.broadcast_to(latents[0], latents.shape))
    common = dataclasses.replace(alone, arousal=0.0, network=1.0)
    latents = simulate_run(level=common, num_volumes=NUM_VOLUMES).truth["latents"]
    np.testing.assert_allclose(latents[0], np.broadcast_to(latents[0, :1], latents[0].shape))
    assert abs(np.corrcoef(latents[0, 0], latents[1, 0])[0, 1]) < 0.7


@pytest.mark.parametrize(
    "arguments",
    [
        {"preset": "maxi"},
        {"level": "hard"},
        {"level": 3},
        {"seed": -1},
        {"seed": 2**32},
        {"subject": 1.0},
        {"run": True},
        {"num_volumes": 5},
        {"preset": dataclasses.replace(PRESETS["mini"], electrodes=("Cz", "X9"))},
    ],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(InputError) as caught:
        simulate_run(**{"num_volumes": 10, **arguments})
    assert caught.value.remedy


@pytest.mark.parametrize(
    "values",
    [
        {"arousal": 0.5},
        {"arousal": float("nan")},
        {"private": -0.15, "network": 1.0},
        {"coupling": 1.2},
        {"coupling": float("nan")},
        {"global_arousal": "half"},
        {"power": (1.0, 1.0, 1.0, 1.0)},
        {"power": (1.0, 1.0, -1.0, 1.0, 1.0)},
        {"power": 1.0},
        {"change": -1},
        {"global_change": float("inf")},
        {"coupling_jitter": None},
    ],
)
def test_impossible_levels_are_refused(values):
    with pytest.raises(InputError, match="level"):
        Level("mine", **values)


@pytest.mark.parametrize(
    "values",
    [
        {"shape": (32, 32, 0)},
        {"shape": (32, 32)},
        {"shape": (32.0, 32, 16)},
        {"voxel_size": (5.0, -5.0, 5.0)},
        {"voxel_size": [5.0, 5.0, 5.0]},
        {"origin": (0.0, 0.0, float("nan"))},
        {"repetition_time": 0},
        {"repetition_time": 10**400},
        {"num_volumes": 0},
        {"num_volumes": True},
        {"sampling_rate": -128.0},
        {"sampling_rate": 60.0},  # gamma reaches 45 Hz
        {"electrodes": ()},
        {"electrodes": ("Cz", "Cz")},
        {"electrodes": None},
        {"reference": "Cz", "electrodes": ("Cz", "Pz")},
        {"reference": None},
        {"lead_in": -1.0},
        {"task": "../rest"},
        {"task": ""},
        {"pose": -1.0},
        {"noise": float("nan")},
        {"autocorrelation": 1.0},
        {"blocks": 8},
        {"whole_units": 1},
    ],
)
def test_impossible_presets_are_refused(values):
    with pytest.raises(InputError, match=rf"preset\.{next(iter(values))}"):
        dataclasses.replace(PRESETS["mini"], **values)


@pytest.mark.parametrize("seed", range(20))
def test_physiology_does_not_stand_still_at_the_ends_of_a_run(seed):
    rate, duration = 1.1, 30.0
    physiology = draw_physiology(np.random.default_rng(seed), rate, duration)
    for onsets, mean_rate, steepest in ((physiology.beats, rate, 2.0), (physiology.breaths, 0.25, 2.0)):
        assert onsets[0] <= 0 <= onsets[1]
        assert onsets[-2] < duration <= onsets[-1]
        slopes = np.diff(phase(onsets, np.linspace(0, duration, 3001))) / 0.01 / (2 * np.pi * mean_rate)
        assert 1 / 1.5 - 1e-6 <= slopes.min() <= slopes.max() <= steepest + 1e-6
    np.testing.assert_array_equal(physiology.pulse_onsets, physiology.beats[1:-1])
