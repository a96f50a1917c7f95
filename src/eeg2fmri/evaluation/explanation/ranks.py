"""Does what a model looks at single out the network that drives a region? Ranks against chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...data.simulation import NETWORKS
from ...metrics.statistics import sign_flip_p

NUM_PERMUTATIONS = 9_999
FEWEST_SUBJECTS = 5  # with fewer, no one-sided sign-flip test can reach p < 0.05
CANDIDATES = tuple(network for network in NETWORKS if network.rhythms is not None)
CANDIDATE_NAMES = tuple(network.name for network in CANDIDATES)
DEEP = tuple(network.name for network in NETWORKS if network.driver is not None)


def driver_of(region: str) -> int | None:
    """Which candidate drives a region of the simulator: itself, a deep one's driver; None for the dark one."""
    drivers = {network.name: network.driver or network.name for network in NETWORKS}
    name = drivers.get(region)
    return CANDIDATE_NAMES.index(name) if name in CANDIDATE_NAMES else None


@dataclass(frozen=True)
class Ranking:
    """Ranks of the true sources.

    Args:
        ranks (`np.ndarray` of shape `[subject, region]`): of the true source among all candidates, 1 is best.
        num_candidates (`int`).
        null (`np.ndarray` of shape `[permutation]`): the mean rank when sources are dealt to regions at random.
        p (`float`): share of permutations, counting the true one, whose mean rank is as low.
        p_subjects (`float`, *optional*): sign-flip test over subjects of a mean rank below chance, for this model.
    """

    ranks: np.ndarray
    num_candidates: int
    null: np.ndarray
    p: float
    p_subjects: float | None

    @property
    def chance(self) -> float:
        """The mean rank of a random order."""
        return (self.num_candidates + 1) / 2

    @property
    def mean(self) -> float:
        return float(self.ranks.mean())

    @property
    def top_1(self) -> float:
        """The share of first ranks; a tie for the first is none."""
        return float((self.ranks == 1).mean())


def rank_sources(scores: np.ndarray, sources: np.ndarray, generator: np.random.Generator) -> Ranking:
    """Rank the true source of each region among all candidates.

    The null deals the candidates to the sources anew: what all regions share (a candidate that every region seems to
    be driven by) stays, what tells regions apart does not.

    Args:
        scores (`np.ndarray` of shape `[subject, region, candidate]`): high for what seems to drive the region.
        sources (`np.ndarray` of shape `[region]`): the true candidate of each.
        generator: of the permutations.
    """
    higher = (scores[..., None, :] > scores[..., None]).sum(axis=-1)
    equal = (scores[..., None, :] == scores[..., None]).sum(axis=-1)
    ranks = 1 + higher + (equal - 1) / 2
    regions = np.arange(len(sources))
    own = ranks[:, regions, sources]
    over_subjects = ranks.mean(axis=0)
    null = np.array([over_subjects[regions, deal[sources]].mean() for deal in _deals(scores.shape[-1], generator)])
    chance = (scores.shape[-1] + 1) / 2
    return Ranking(
        own,
        scores.shape[-1],
        null,
        _share_as_extreme(-own.mean(), -null),
        sign_flip_p(chance - own.mean(axis=1), generator) if len(own) >= FEWEST_SUBJECTS else None,
    )


@dataclass(frozen=True)
class BandAgreement:
    """How responses to the true source's rhythms agree with the true weights.

    Args:
        r (`float`): their correlation over regions and bands, mean over subjects.
        p (`float`): of it, when sources are dealt to regions at random.
        right_signs (`float`): share of the true weights other than 0 whose sign the response has; chance is one half.
        p_signs (`float`, *optional*): sign-flip test over subjects of that share.
    """

    r: float
    p: float
    right_signs: float
    p_signs: float | None


def band_agreement(
    responses: np.ndarray, weights: np.ndarray, sources: np.ndarray, generator: np.random.Generator
) -> BandAgreement:
    """Compare responses with the truth.

    Args:
        responses (`np.ndarray` of shape `[subject, region, candidate, band]`): signed.
        weights (`np.ndarray` of shape `[subject, region, band]`): true ones.
        sources (`np.ndarray` of shape `[region]`): the true candidate of each.
        generator: of permutations and sign flips.
    """
    regions = np.arange(len(sources))

    def correlation(dealt: np.ndarray) -> float:
        own = responses[:, regions, dealt].reshape(len(responses), -1)
        true = weights.reshape(len(weights), -1)
        own, true = (values - values.mean(axis=1, keepdims=True) for values in (own, true))
        norms = np.linalg.norm(own, axis=1) * np.linalg.norm(true, axis=1)
        return float(np.divide((own * true).sum(axis=1), norms, out=np.zeros(len(own)), where=norms > 0).mean())

    r = correlation(sources)
    null = np.array([correlation(deal[sources]) for deal in _deals(responses.shape[2], generator)])
    known = weights != 0
    right = (np.sign(responses[:, regions, sources]) == np.sign(weights)) & known
    shares = right.sum(axis=(1, 2)) / known.sum(axis=(1, 2))
    p_signs = sign_flip_p(shares - 0.5, generator) if len(shares) >= FEWEST_SUBJECTS else None
    return BandAgreement(r, _share_as_extreme(r, null), float(shares.mean()), p_signs)


def _deals(count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.permuted(np.tile(np.arange(count), (NUM_PERMUTATIONS, 1)), axis=1)


def _share_as_extreme(observed: float, null: np.ndarray) -> float:
    return float((1 + (null >= observed - 1e-9).sum()) / (1 + len(null)))
