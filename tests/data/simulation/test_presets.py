"""The presets of real protocols: geometry, determinism, null level, task."""

import dataclasses

import numpy as np
import pytest
from scipy import signal

from eeg2fmri.data.simulation import BANDS, LEVELS, NETWORK_NAMES, PRESETS, Blocks, anatomy, simulate_run
from eeg2fmri.data.simulation.anatomy import DROPOUTS, build_anatomy
from eeg2fmri.data.simulation.networks import NODES
from eeg2fmri.data.simulation.traits import draw_traits
from eeg2fmri.errors import InputError

NUM_VOLUMES = 12
NEW = ("noddi", "xp2")
BLOCKED = dataclasses.replace(PRESETS["mini"], blocks=Blocks(rest=20.0, task=20.0, num_blocks=8, start=2.0))


@pytest.fixture(scope="module", params=NEW)
def run(request):
    return simulate_run(request.param, num_volumes=NUM_VOLUMES, subject=2)


@pytest.fixture(scope="module")
def imagery():
    return [simulate_run(BLOCKED, num_volumes=165, subject=subject) for subject in range(6)]


@pytest.mark.parametrize(
    ("name", "shape", "repetition_time", "num_volumes", "sampling_rate"),
    [("noddi", (64, 64, 30), 2.16, 300, 250.0), ("xp2", (106, 106, 16), 1.0, 322, 200.0)],
)
def test_geometry_and_timing(name, shape, repetition_time, num_volumes, sampling_rate):
    preset = PRESETS[name]
    found = (preset.shape, preset.repetition_time, preset.num_volumes, preset.sampling_rate)
    assert found == (shape, repetition_time, num_volumes, sampling_rate)
    assert len(preset.electrodes) == 63
    assert preset.pose == 1.0
    slices = preset.origin[2] + preset.voxel_size[2] * np.arange(shape[2])
    assert slices[-1] > NODES[:, 2].max()
    if name == "noddi":
        assert slices[0] < NODES[:, 2].min()
    else:
        assert slices[0] > 0  # the upper half
        assert preset.blocks.task_onsets.tolist() == [22, 62, 102, 142, 182, 222, 262, 302]
        assert preset.blocks.task_onsets[-1] + preset.blocks.task == num_volumes * repetition_time


def test_same_arguments_same_bits(run):
    again = simulate_run(run.preset, num_volumes=NUM_VOLUMES, subject=2)
    assert np.array_equal(run.eeg, again.eeg)
    assert np.array_equal(run.bold, again.bold)
    assert run.eeg.shape == (63, round((4 + run.repetition_time * NUM_VOLUMES) * run.sampling_rate))
    assert run.bold.shape == (*run.preset.shape, NUM_VOLUMES)
    assert np.isfinite(run.bold).all()


def test_null_has_no_coupling_and_the_same_eeg(run):
    null = simulate_run(run.preset, "null", num_volumes=NUM_VOLUMES, subject=2)
    assert np.array_equal(run.eeg, null.eeg)
    assert not null.truth["coupled"].any()
    assert run.truth["coupled"].any()
    assert not np.array_equal(run.bold, null.bold)


def test_networks_outside_of_the_slices_are_not_stretched(run):
    peaks = dict(zip(NETWORK_NAMES, run.truth["maps"].max(axis=(1, 2, 3)), strict=True))
    assert np.isfinite(run.truth["maps"]).all()
    for name in ("sensorimotor_left", "sensorimotor_right", "supplementary_motor", "default_mode"):
        assert peaks[name] == 1
    if run.preset.name == "noddi":
        assert set(peaks.values()) == {1}
    else:
        assert max(peaks["hippocampus"], peaks["cerebellum"]) < 0.01


def test_anatomy_differs_between_subjects(run):
    other = build_anatomy(run.preset, draw_traits(run.preset, LEVELS["default"], 42, 3))
    brain = run.bold.mean(axis=-1) > 300
    assert np.mean(brain != other.brain) > 0.02
    assert 0.1 < brain.mean() < 0.5


@pytest.mark.parametrize("name", ["mini", "noddi"])
def test_signal_drops_out_where_it_should(monkeypatch, name):
    preset = PRESETS[name]
    traits = draw_traits(preset, LEVELS["default"], 42, 1)
    image = build_anatomy(preset, traits).image
    monkeypatch.setattr(anatomy, "DROPOUTS", ())
    whole = build_anatomy(preset, traits).image
    kept = np.divide(image, whole, out=np.ones_like(image), where=whole > 1)
    assert kept.max() <= 1
    assert 1 - kept.min() == pytest.approx(max(loss for _, _, loss in DROPOUTS), abs=0.05)
    assert np.mean(kept[whole > 100] > 0.99) > 0.8


def in_blocks(run, times, delay):
    """Which of the times are in a task, and which in a rest, from `delay` seconds after its start on."""
    since = times - run.volume_onsets[0] - BLOCKED.blocks.start
    inside = (since >= 0) & (since < 320) & (since % 20 >= delay)
    return inside & (since % 40 >= 20), inside & (since % 40 < 20)


def log_power_change(run, electrode, band):
    sections = signal.butter(3, BANDS[band], "bandpass", fs=run.sampling_rate, output="sos")
    power = signal.sosfiltfilt(sections, run.eeg[run.electrodes.index(electrode)]) ** 2
    task, rest = in_blocks(run, np.arange(power.size) / run.sampling_rate, delay=1.0)
    return np.log(power[task].mean() / power[rest].mean())


def bold_change(run, network):
    core = run.truth["maps"][NETWORK_NAMES.index(network)] > 0.5
    series = run.bold[core].mean(axis=0)
    series = 100 * (series / np.polyval(np.polyfit(run.volume_onsets, series, 3), run.volume_onsets) - 1)
    task, rest = in_blocks(run, run.volume_onsets, delay=7.0)
    return series[task].mean() - series[rest].mean()


def assert_task_response(runs):
    """Against each subject's twin that rests, all else being the same: slow waves of its own can hide a response."""
    lowered = []
    for run in runs:
        resting = dataclasses.replace(run.preset, blocks=None)
        twin = simulate_run(resting, num_volumes=run.bold.shape[3], subject=run.subject)
        assert bold_change(run, "sensorimotor_left") - bold_change(twin, "sensorimotor_left") > 0.15
        assert abs(bold_change(run, "face") - bold_change(twin, "face")) < 0.1
        assert abs(log_power_change(run, "C3", "delta") - log_power_change(twin, "C3", "delta")) < 0.03
        lowered.append(
            [log_power_change(run, "C3", band) - log_power_change(twin, "C3", band) for band in ("alpha", "beta")]
        )
    assert np.max(lowered) < 0
    assert np.mean(lowered, axis=0).max() < -0.1
    assert np.mean([bold_change(run, "sensorimotor_left") for run in runs]) > 0.3


def test_imagery_raises_bold_and_lowers_rhythms_of_the_left_motor_cortex(imagery):
    assert_task_response(imagery)


def test_imagery_leaves_uncoupled_bold_alone():
    run = simulate_run(BLOCKED, "null", num_volumes=165)
    twin = simulate_run("mini", "null", num_volumes=165)
    assert np.array_equal(run.bold, twin.bold)
    assert not np.array_equal(run.eeg, twin.eeg)


@pytest.mark.slow
def test_imagery_of_the_full_preset():
    assert_task_response([simulate_run("xp2", subject=subject) for subject in range(3)])


def test_task_strength_varies_between_subjects_and_trials(imagery):
    strengths = []
    for run in imagery:
        starts = run.volume_onsets[0] + BLOCKED.blocks.task_onsets
        strengths.append(np.interp(starts + 10, run.truth["latent_times"], run.truth["task_course"]))
        assert np.interp(starts - 10, run.truth["latent_times"], run.truth["task_course"]).max() == 0
    assert np.min(np.std(strengths, axis=1)) > 0.05
    assert np.std(np.mean(strengths, axis=1)) > 0.05
    assert np.min(strengths) > 0


def test_without_blocks_the_latents_are_those_of_rest(imagery):
    resting = simulate_run("mini", num_volumes=165)
    changed = np.any(resting.truth["latents"] != imagery[0].truth["latents"], axis=-1)
    names = [name for name, row in zip(NETWORK_NAMES, changed, strict=True) if row.any()]
    assert names == ["sensorimotor_left", "sensorimotor_right", "supplementary_motor", "cerebellum", "putamen"]
    assert changed.any(axis=0).tolist() == [False, False, True, True, False]
    assert not resting.truth["task_course"].any()


@pytest.mark.parametrize(
    "values", [{"rest": 0.5}, {"task": float("nan")}, {"num_blocks": 0}, {"num_blocks": 2.0}, {"start": -1.0}]
)
def test_impossible_blocks_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        dataclasses.replace(BLOCKED.blocks, **values)
