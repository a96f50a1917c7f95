"""From runs to subjects to numbers and words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.simulation import DARK_NETWORK
from ...randomness import seed_for
from .axes import BAND_NAMES
from .collect import RunFindings
from .ranks import CANDIDATE_NAMES, DEEP, Ranking, band_agreement, driver_of, rank_sources

ALPHA = 0.05
TITLES = {
    "attention": "CIIM attention",
    "response_model": "Response of the model's expected signal",
    "response_prior": "Response of the prior alone",
    "response_diffusion": "Response of the diffusion alone",
}


def over_subjects(findings: Sequence[RunFindings], name: str, key: str | int | None = None) -> np.ndarray:
    """One finding of every subject, the mean over its runs: `[subject, ...]`."""
    values: dict[str, list[np.ndarray]] = {}
    for own in findings:
        value = getattr(own, name)
        values.setdefault(own.subject, []).append(value if key is None else value[key])
    return np.array([np.mean(own, axis=0) for _, own in sorted(values.items())])


def against_truth(
    findings: Sequence[RunFindings],
    regions: Sequence[str],
    present: np.ndarray,
    coupling: Sequence[dict[str, np.ndarray]],
    seed: int,
) -> dict[str, dict]:
    """Ranks of the true sources, for attention and for the response to each source.

    Args:
        findings: of all runs.
        regions: names of the networks.
        present (`np.ndarray` of shape `[region]`): those that every run holds.
        coupling: true weights by network, of each run.
        seed: of permutations.

    Returns:
        `dict`: by measure; see docs/interpretability.md.
    """
    weights: dict[str, list[np.ndarray]] = {}
    for run, true in zip(findings, coupling, strict=True):
        weights.setdefault(run.subject, []).append(np.array([true[region] for region in regions]))
    true_weights = np.array([np.mean(own, axis=0) for _, own in sorted(weights.items())])
    measures: dict[str, dict] = {}
    if findings[0].similarity is not None:
        measures["attention"] = _ranked(over_subjects(findings, "similarity"), regions, present, seed)
    for target in findings[0].source_response:
        responses = over_subjects(findings, "source_response", target)  # [subject, region, band, window, candidate]
        beyond = responses - responses[:, present].mean(axis=1, keepdims=True)
        own = _ranked(np.sqrt(np.square(beyond).sum(axis=(2, 3))), regions, present, seed)
        by_band = responses.sum(axis=3).swapaxes(2, 3)
        rows, sources = _driven(regions, present, deep=False)
        if len(rows):
            random = np.random.default_rng(seed_for(seed, "explanation bands"))
            own["bands"] = vars(band_agreement(by_band[:, rows], true_weights[:, rows], sources, random))
        strength = np.sqrt(np.square(responses).sum(axis=(2, 3, 4))).mean(axis=0)
        if DARK_NETWORK in regions and present[regions.index(DARK_NETWORK)] and len(rows):
            own["dark"]["strength"] = float(strength[regions.index(DARK_NETWORK)] / strength[rows].mean())
        measures[f"response_{target}"] = own
    return measures


def _driven(regions: Sequence[str], present: np.ndarray, deep: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the regions with a known source, and the sources."""
    pairs = [
        (row, driver_of(region))
        for row, region in enumerate(regions)
        if present[row] and driver_of(region) is not None and (region in DEEP) == deep
    ]
    return np.array([row for row, _ in pairs], int), np.array([source for _, source in pairs], int)


def _ranked(scores: np.ndarray, regions: Sequence[str], present: np.ndarray, seed: int) -> dict:
    """Cortical and deep regions, and what the dark one is most like; scores `[subject, region, candidate]`."""
    described: dict = {}
    for group, deep in (("cortical", False), ("deep", True)):
        rows, sources = _driven(regions, present, deep)
        if len(rows):
            random = np.random.default_rng(seed_for(seed, "explanation ranks", deep))
            names = [regions[row] for row in rows]
            described[group] = _described(rank_sources(scores[:, rows], sources, random), names)
    described["dark"] = None
    if DARK_NETWORK in regions and present[regions.index(DARK_NETWORK)]:
        mean = scores[:, regions.index(DARK_NETWORK)].mean(axis=0)
        described["dark"] = {"region": DARK_NETWORK, "most_like": CANDIDATE_NAMES[int(mean.argmax())]}
    return described


def _described(ranking: Ranking, names: Sequence[str]) -> dict:
    return {
        "mean_rank": ranking.mean,
        "chance_rank": ranking.chance,
        "num_candidates": ranking.num_candidates,
        "top_1": ranking.top_1,
        "chance_top_1": 1 / ranking.num_candidates,
        "p": ranking.p,
        "null_5_percent": float(np.percentile(ranking.null, 5)),
        "p_subjects": ranking.p_subjects,
        "mean_rank_per_subject": ranking.ranks.mean(axis=1).tolist(),
        "mean_rank_per_region": dict(zip(names, ranking.ranks.mean(axis=0).tolist(), strict=True)),
    }


def words(measures: dict[str, dict], not_available: dict[str, str], num_subjects: int) -> dict:
    """What was found, in sentences; the headline is about the driving networks."""
    sentences, found = [], []
    for name, own in measures.items():
        for group, what in (("cortical", "cortical regions"), ("deep", "deep regions, driven through others")):
            if group not in own:
                continue
            ranks = own[group]
            above = ranks["p"] < ALPHA
            if group == "cortical":
                found.append((TITLES[name], above))
            sentences.append(
                f"{TITLES[name]}, {what}: the network that drives a region has the mean rank {ranks['mean_rank']:.1f} "
                f"of {ranks['num_candidates']} (chance {ranks['chance_rank']:.1f}, p = {ranks['p']:.4f} when sources "
                f"are dealt to regions at random) and comes first in {ranks['top_1']:.0%} (chance "
                f"{ranks['chance_top_1']:.0%}): " + ("better than chance." if above else "at chance.")
            )
        bands = own.get("bands")
        if bands is not None:
            sentences.append(
                f"{TITLES[name]} to its own network's rhythms: the sign is that of the true weight in "
                f"{bands['right_signs']:.0%} of cases (chance 50 %"
                + (f", p = {bands['p_signs']:.4f} over subjects" if bands["p_signs"] is not None else "")
                + f"), r = {bands['r']:.2f} with the true weights of all bands (p = {bands['p']:.4f} when sources are "
                "dealt at random)."
            )
        if own["dark"] is not None and "strength" in own["dark"]:
            sentences.append(
                f"{TITLES[name]}, the dark {own['dark']['region']}, which no EEG drives: "
                f"{own['dark']['strength']:.2f} of a cortical region's."
            )
    if measures and num_subjects == 1:
        sentences.append("One test subject: what holds for others is not known.")
    sentences += [f"Not available, {name}: {reason}" for name, reason in not_available.items()]
    return {"headline": _headline(found), "sentences": sentences}


def _headline(found: Sequence[tuple[str, bool]]) -> str:
    if not found:
        return "Driving networks: not known for this dataset, so that nothing here is tested."
    parts = [f"{title}: {'better than chance' if above else 'no, at chance'}" for title, above in found]
    return "Is the network that drives a region found? " + "; ".join(parts) + "."


def by_band(values: np.ndarray) -> dict[str, object]:
    """`[band, ...]` with the bands' names."""
    return {name: np.asarray(own).tolist() for name, own in zip(BAND_NAMES, values, strict=True)}
