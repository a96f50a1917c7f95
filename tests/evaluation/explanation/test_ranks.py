"""Ranks against chance."""

import numpy as np
import pytest

from eeg2fmri.data.simulation import NETWORK_NAMES
from eeg2fmri.evaluation.explanation.ranks import CANDIDATE_NAMES, band_agreement, driver_of, rank_sources

SOURCES = np.arange(len(CANDIDATE_NAMES))


def random(seed=0):
    return np.random.default_rng(seed)


def test_drivers_are_those_of_the_simulator():
    assert CANDIDATE_NAMES[driver_of("visual")] == "visual"
    assert CANDIDATE_NAMES[driver_of("thalamus")] == "visual"
    assert CANDIDATE_NAMES[driver_of("cerebellum")] == "sensorimotor_left"
    assert driver_of("hippocampus") is None
    assert driver_of("parcel 3") is None
    assert len([name for name in NETWORK_NAMES if driver_of(name) is not None]) == 15


def test_the_true_source_on_top_has_rank_one():
    scores = random().random((6, len(SOURCES), len(SOURCES)))
    scores[:, SOURCES, SOURCES] += 1
    ranking = rank_sources(scores, SOURCES, random())
    assert (ranking.ranks == 1).all()
    assert ranking.top_1 == 1
    assert ranking.p == pytest.approx(1e-4)
    assert ranking.p_subjects == pytest.approx(2**-6)


def test_random_scores_are_at_chance_as_often_as_p_says():
    values = [rank_sources(random(seed).standard_normal((3, 12, 12)), SOURCES, random(seed)).p for seed in range(40)]
    assert np.mean(np.array(values) < 0.05) < 0.15
    assert 0.35 < np.mean(values) < 0.65


def test_what_all_regions_share_finds_no_source():
    scores = np.broadcast_to(random().random(12), (4, 12, 12))
    ranking = rank_sources(scores, SOURCES, random())
    assert ranking.mean == ranking.chance == 6.5
    assert ranking.p == 1


def test_ties_share_their_ranks():
    ranking = rank_sources(np.zeros((2, 12, 12)), SOURCES, random())
    assert (ranking.ranks == 6.5).all()
    assert ranking.top_1 == 0
    assert ranking.p_subjects is None  # two subjects can't reach p < 0.05


def test_true_weights_agree_with_themselves():
    weights = random().standard_normal((5, 12, 5))
    responses = random(1).standard_normal((5, 12, 12, 5))
    responses[:, SOURCES, SOURCES] = 3 * weights
    agreement = band_agreement(responses, weights, SOURCES, random())
    assert agreement.r == pytest.approx(1)
    assert agreement.right_signs == 1
    assert agreement.p == pytest.approx(1e-4)
    assert agreement.p_signs == pytest.approx(2**-5)
    opposite = band_agreement(-responses, weights, SOURCES, random())
    assert opposite.r == pytest.approx(-1)
    assert opposite.p == 1
    assert opposite.right_signs == 0
