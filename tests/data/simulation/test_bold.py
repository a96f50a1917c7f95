"""The simulated BOLD: every stated size of a change, and the dark region."""

import dataclasses

import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask

from eeg2fmri.data.simulation import DARK_NETWORK, LEVELS, NETWORK_NAMES, PRESETS, simulate_run
from eeg2fmri.data.simulation.anatomy import build_anatomy
from eeg2fmri.data.simulation.bold import _voxel_noise, scan
from eeg2fmri.data.simulation.latents import standardise
from eeg2fmri.data.simulation.physiology import draw_physiology
from eeg2fmri.data.simulation.traits import draw_traits

MINI, DEFAULT = PRESETS["mini"], LEVELS["default"]
NUM_VOLUMES = 80
ONSETS = 4.0 + 2.0 * np.arange(NUM_VOLUMES)


@pytest.fixture(scope="module")
def anatomy():
    return build_anatomy(MINI, draw_traits(MINI, DEFAULT, 42, 0))


@pytest.fixture(scope="module")
def scanned(anatomy):
    """Scan with given network and global series; the disturbances are the same each time."""

    def make(series, shared):
        physiology = draw_physiology(np.random.default_rng(0), 1.0, ONSETS[-1])
        random = np.random.default_rng(1), np.random.default_rng(2)
        return scan(MINI, DEFAULT, anatomy, series, shared, physiology, ONSETS, *random)

    return make


@pytest.fixture(scope="module")
def resting(scanned):
    return scanned(np.zeros((len(NETWORK_NAMES), NUM_VOLUMES)), np.zeros(NUM_VOLUMES))


def course():
    return standardise(np.sin(ONSETS / 7))


def percent(anatomy, difference):
    return 100 * difference.std(axis=-1) / np.maximum(anatomy.image, 1)


@pytest.mark.parametrize("network", ["visual", "default_mode", "thalamus"])
def test_a_network_changes_its_peak_by_the_stated_share(anatomy, scanned, resting, network):
    index = NETWORK_NAMES.index(network)
    series = np.zeros((len(NETWORK_NAMES), NUM_VOLUMES))
    series[index] = course()
    difference = scanned(series, np.zeros(NUM_VOLUMES)) - resting
    peak = np.unravel_index(anatomy.maps[index].argmax(), MINI.shape)
    assert percent(anatomy, difference)[peak] == pytest.approx(DEFAULT.change, rel=0.05)
    assert np.corrcoef(difference[peak], course())[0, 1] > 0.99


def test_global_signal_is_everywhere_but_in_the_dark(anatomy, scanned, resting):
    difference = scanned(np.zeros((len(NETWORK_NAMES), NUM_VOLUMES)), course()) - resting
    lit = anatomy.brain & (anatomy.dark < 0.01) & (anatomy.image > 500)
    np.testing.assert_allclose(percent(anatomy, difference)[lit], DEFAULT.global_change, rtol=0.05)
    assert not difference[anatomy.dark > 0.5].any()


def test_no_coupled_network_reaches_the_dark(anatomy, scanned, resting):
    series = np.tile(course(), (len(NETWORK_NAMES), 1))
    series[NETWORK_NAMES.index(DARK_NETWORK)] = 0
    difference = scanned(series, np.zeros(NUM_VOLUMES)) - resting
    assert not difference[anatomy.dark > 0.5].any()


def test_noise_has_the_stated_size_and_memory(anatomy):
    noise = _voxel_noise(MINI, anatomy.brain, 200, np.random.default_rng(3))
    assert noise.std() == pytest.approx(MINI.noise, rel=0.03)
    assert noise[:, 0].std() == pytest.approx(MINI.noise, rel=0.1)
    assert np.mean(noise[:, 1:] * noise[:, :-1]) / noise.var() == pytest.approx(MINI.autocorrelation, abs=0.03)


def test_run_looks_like_a_brain(anatomy, resting):
    mean = resting.mean(axis=-1)
    assert (resting >= 0).all()
    assert 0.2 < anatomy.brain.mean() < 0.5
    assert mean[anatomy.brain].min() > 10 * mean[~anatomy.brain & (anatomy.image < 1)].max() / 2
    changes = 100 * resting[anatomy.brain].std(axis=1) / mean[anatomy.brain]
    assert 1.2 < np.median(changes) < 2.5


def test_the_whole_brain_is_on_the_grid(anatomy):
    mask = load_mni152_brain_mask(resolution=2)
    places = np.argwhere(mask.get_fdata()) @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    voxels = (places - anatomy.affine[:3, 3]) @ np.linalg.inv(anatomy.affine[:3, :3]).T
    assert (voxels > -0.5).all()
    assert (voxels < np.array(MINI.shape) - 0.5).all()


def test_networks_lie_where_they_should(anatomy):
    peak = np.unravel_index(anatomy.maps[NETWORK_NAMES.index("sensorimotor_left")].argmax(), MINI.shape)
    place = anatomy.affine[:3, :3] @ peak + anatomy.affine[:3, 3]
    assert np.linalg.norm(place - [-40, -24, 56]) < 20
    assert np.linalg.det(anatomy.affine[:3, :3]) < 0  # LAS
    np.testing.assert_allclose(anatomy.maps.max(axis=(1, 2, 3)), 1.0)


def test_peak_voxels_follow_their_network():
    run = simulate_run(subject=5)
    correlations = []
    for series, pattern in zip(run.truth["series"], run.truth["maps"], strict=True):
        voxel = run.bold[np.unravel_index(pattern.argmax(), pattern.shape)]
        drift = np.polynomial.Polynomial.fit(run.volume_onsets, voxel, 4)(run.volume_onsets)
        correlations.append(np.corrcoef(voxel - drift, series)[0, 1])
    assert np.mean(correlations) > 0.3
    assert np.min(correlations) > 0


def test_pose_is_only_drawn_when_asked(anatomy):
    posed = dataclasses.replace(MINI, pose=1.0)
    moved = build_anatomy(posed, draw_traits(posed, DEFAULT, 42, 0))
    other = build_anatomy(MINI, draw_traits(MINI, DEFAULT, 42, 1))
    assert np.mean(other.brain != anatomy.brain) == 0
    assert np.mean(moved.brain != anatomy.brain) > 0.01
    assert moved.brain.sum() == pytest.approx(anatomy.brain.sum(), rel=0.5)
