"""From what was kept of every row and run to the table: one number per subject, then statistics over subjects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..baselines.run import Regions
from ..errors import InputError, RecordingError
from ..metrics.agreement import functional_connectivity_agreement, spectrum_agreement
from ..metrics.probabilistic import coverage, crps, variance_ratio, widest_level
from ..metrics.statistics import (
    MINIMUM_SHIFT,
    Interval,
    circular_shift_null,
    fisher_mean,
    fisher_mean_interval,
    mean_interval,
    paired_comparison,
    sign_flip_p,
)
from ..metrics.temporal import (
    identification,
    r_squared,
    temporal_correlation,
    without_global,
    without_regressors,
)
from ..randomness import seed_for
from .collect import IMAGE_SCORES, RunResult
from .rows import CONTROL_ROWS, MODEL, ORACLE, RIDGE, TRAINING_MEAN
from .runs import NUM_CALIBRATION_VOLUMES, DatasetRun

FEWEST_SUBJECTS = 6  # with fewer, no two-sided sign-flip test over subjects can reach p < 0.05
FEWEST_SHIFTS = 20  # with 20, the smallest p is 1 / 21
NUM_CANDIDATES = 20
FEWEST_CONNECTED = 3
COVERAGE = 0.9
BEYOND_MEAN = "_beyond_training_mean"
TIME_TOLERANCE = 0.01  # of the repetition time
CORRELATIONS = ("r", "r_net_of_global", "r_task_removed", "r_parcel", "r_voxel", "r_dark", "r_other_subject")
CALIBRATION = ("variance_ratio", "crps", "coverage_90")
TEMPORAL_SCORES = (*CORRELATIONS, "r2", "identification", "connectivity_agreement", "spectrum_agreement", *CALIBRATION)
Results = Mapping[str, Sequence[RunResult]]


def check_subjects(subjects: Sequence[str]) -> None:
    """Refuse a split on which nothing can be tested.

    Raises:
        InputError: with fewer than six test subjects.
    """
    count = len(set(subjects))
    if count < FEWEST_SUBJECTS:
        raise InputError(
            "test subjects",
            found=str(count),
            expected=f"at least {FEWEST_SUBJECTS}, for a test over subjects to be able to reach p < 0.05; better 8",
            remedy="Prepare the dataset with more (--test-subjects), or split it into folds.",
        )


def check_length(run: DatasetRun) -> None:
    """Refuse a run that is too short for its nulls, before anything is generated.

    Raises:
        RecordingError: when it holds too few shifts of 40 s or more for a p below 0.05, or no volume after the
            first 30.
    """
    fewest = max(2 * math.ceil(MINIMUM_SHIFT / run.repetition_time) + FEWEST_SHIFTS - 1, NUM_CALIBRATION_VOLUMES + 1)
    if len(run.onsets) < fewest:
        raise RecordingError(
            run.name,
            found=f"{len(run.onsets)} volumes with a whole EEG window",
            expected=f"at least {fewest}, for {FEWEST_SHIFTS} shifts in time of {MINIMUM_SHIFT:g} s or more, "
            f"and image scores after volume {NUM_CALIBRATION_VOLUMES}",
            remedy="Leave this run out of the test subjects' data.",
        )


def check_timing(runs: Sequence[DatasetRun]) -> None:
    """Refuse runs that can't be shifted alike, nor be compared volume by volume with those of other subjects.

    Raises:
        InputError: naming runs with other repetition times than the first.
    """
    time = runs[0].repetition_time
    others = [run for run in runs if abs(run.repetition_time - time) > TIME_TOLERANCE * time]
    if others:
        raise InputError(
            "test runs",
            found=f"{runs[0].name} with a volume every {time:g} s, and "
            + ", ".join(f"{run.name} with one every {run.repetition_time:g} s" for run in others),
            expected="one repetition time",
            remedy="Evaluate runs of each repetition time by themselves.",
        )


def primary_kind(regions: Regions) -> str:
    """The regions whose correlation decides: networks where there are any, otherwise parcels."""
    return "network" if "network" in regions.kinds else "parcel"


def score_rows(results: Results, runs: Sequence[DatasetRun], seed: int) -> dict[str, dict]:
    """Every row's scores: for each score the mean with its 95 % interval over subjects and the subjects' values.

    Args:
        results: for each row's name, what was kept of every run.
        runs: the test runs, in the same order.
        seed (`int`): of bootstrap and sign flips.
    """
    per_run = {name: [_run_scores(i, own, runs) for i in range(len(runs))] for name, own in results.items()}
    table: dict[str, dict] = {}
    for name, own in results.items():
        values = {score: _per_subject([run[score] for run in per_run[name]], runs) for score in per_run[name][0]}
        _add_differences(values, per_run, runs)
        table[name] = {
            "scores": {score: _summary(score, subject_values, seed) for score, subject_values in values.items()},
            "constant": _constant(own),
            "seconds_per_volume": float(np.mean([result.seconds for result in own])),
            "null": _shift_null(own, runs),
            "p_beyond_other_subject": _above(values["r"] - values["r_other_subject"], seed),
        }
    for name, row in table.items():
        for key, score in (("beyond_ridge", "r"), ("net_beyond_ridge", "r_net_of_global")):
            known = RIDGE in table and name != RIDGE
            row[key] = difference(row["scores"][score], table[RIDGE]["scores"][score], seed) if known else None
        row["share_of_oracle"] = _share(row, table.get(ORACLE))
        if name in CONTROL_ROWS:
            row["model_beyond_control"] = _beyond_control(results, name, table, runs, seed)
    return table


def _run_scores(i: int, results: Sequence[RunResult], runs: Sequence[DatasetRun]) -> dict[str, float]:
    """All scores of one run; NaN where one doesn't apply. One constant run of several follows nothing: its r is 0."""
    run, result = runs[i], results[i]
    scores = dict(zip(IMAGE_SCORES, result.image.mean(axis=1).tolist(), strict=True))
    scores |= dict.fromkeys(TEMPORAL_SCORES, float("nan"))
    if _constant(results):
        return scores
    chosen = run.regions.of(primary_kind(run.regions)) & run.regions.present
    predicted, measured = result.series[:, chosen], run.series[:, chosen]
    scores["r"] = _mean_r(predicted, measured)
    scores["r_net_of_global"] = _mean_r(without_global(predicted), without_global(measured))
    if run.task is not None:
        scores["r_task_removed"] = _mean_r(
            without_regressors(predicted, run.task), without_regressors(measured, run.task)
        )
    scores["r_voxel"] = float(result.voxel_r[run.voxels].mean())
    for score, kind in (("r_parcel", "parcel"), ("r_dark", "dark")):
        own = run.regions.of(kind) & run.regions.present
        if own.any():
            scores[score] = _mean_r(result.series[:, own], run.series[:, own])
    scores["r_other_subject"] = _r_with_others(i, results, runs)
    scores["r2"] = float(np.mean(r_squared(predicted, measured)))
    scores["identification"] = float(identification(predicted, measured, NUM_CANDIDATES))
    scores["spectrum_agreement"] = float(np.mean(spectrum_agreement(predicted, measured, run.repetition_time)))
    if np.count_nonzero(chosen) >= FEWEST_CONNECTED:
        scores["connectivity_agreement"] = float(functional_connectivity_agreement(predicted, measured))
    if len(result.sample_series) > 1:
        samples = result.sample_series[:, :, chosen]
        scores["variance_ratio"] = float(np.mean(variance_ratio(samples, measured)))
        if len(samples) > 2:
            independent = samples[::2]  # one of each pair of opposite noise
            scores["crps"] = float(np.mean(crps(independent, measured)))
        if widest_level(len(samples)) >= COVERAGE:
            scores["coverage_90"] = float(np.mean(coverage(samples, measured, COVERAGE)))
    return scores


def _constant(results: Sequence[RunResult]) -> bool:
    return not any(result.series.any() for result in results)


def _mean_r(predicted: np.ndarray, measured: np.ndarray) -> float:
    return float(temporal_correlation(predicted, measured).mean())


def _r_with_others(i: int, results: Sequence[RunResult], runs: Sequence[DatasetRun]) -> float:
    """The same prediction against every other subject's measurement: what the paradigm alone explains."""
    values = []
    for other in runs:
        if other.subject == runs[i].subject:
            continue
        both = runs[i].regions.of(primary_kind(other.regions)) & runs[i].regions.present & other.regions.present
        length = min(len(other.series), len(runs[i].series))
        values.append(_mean_r(results[i].series[:length, both], other.series[:length, both]))
    return float(np.mean(values))


def _shift_null(results: Sequence[RunResult], runs: Sequence[DatasetRun]) -> dict | None:
    """r when each run's prediction is shifted in a circle by at least 40 s, averaged as the row's own r is."""
    if _constant(results):
        return None
    pairs = []
    for result, run in zip(results, runs, strict=True):
        chosen = run.regions.of(primary_kind(run.regions)) & run.regions.present
        pairs.append((result.series[:, chosen], run.series[:, chosen]))
    predicted, measured = zip(*pairs, strict=True)
    null = circular_shift_null(
        _mean_r,
        predicted,
        measured,
        runs[0].repetition_time,
        average=lambda values: fisher_mean(_over_subjects(values, runs)),
    )
    return {"p": null.p, "percentile_95": null.percentile_95, "scores": null.scores.tolist()}


def _over_subjects(values: np.ndarray, runs: Sequence[DatasetRun]) -> np.ndarray:
    """`[run, ...]` to `[subject, ...]`: a subject's runs are averaged."""
    subjects = np.array([run.subject for run in runs])
    return np.stack([values[subjects == subject].mean(axis=0) for subject in sorted(set(subjects))])


def _per_subject(values: Sequence[float], runs: Sequence[DatasetRun]) -> np.ndarray:
    return _over_subjects(np.array(values, np.float64), runs)


def _add_differences(values: dict[str, np.ndarray], per_run: Mapping, runs: Sequence[DatasetRun]) -> None:
    for score in IMAGE_SCORES:
        means = _per_subject([run[score] for run in per_run[TRAINING_MEAN]], runs)
        values[score + BEYOND_MEAN] = values[score] - means


def _summary(score: str, values: np.ndarray, seed: int) -> dict | None:
    if np.isnan(values).any():
        return None
    if score.endswith(BEYOND_MEAN):
        return {**_paired(values, np.zeros_like(values), seed), "per_subject": values.tolist()}
    interval = fisher_mean_interval if score in CORRELATIONS else mean_interval
    return {**_as_dict(interval(values, _generator(seed))), "per_subject": values.tolist()}


def _as_dict(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _generator(seed: int) -> np.random.Generator:
    """The same draws of subjects for every score and row."""
    return np.random.default_rng(seed_for(seed, "bootstrap"))


def _above(values: np.ndarray, seed: int) -> float | None:
    return None if np.isnan(values).any() else sign_flip_p(values, _generator(seed))


def difference(own: dict | None, other: dict | None, seed: int) -> dict | None:
    """How far a score is above another one, subject by subject; None where either doesn't apply."""
    if own is None or other is None:
        return None
    return _paired(np.array(own["per_subject"]), np.array(other["per_subject"]), seed)


def _beyond_control(results: Results, name: str, table: dict, runs: Sequence[DatasetRun], seed: int) -> dict | None:
    """How far the model, with as many samples as this control has, is above it."""
    if table[name]["scores"]["r"] is None:
        return None
    own = []
    for result, control, run in zip(results[MODEL], results[name], runs, strict=True):
        samples = result.sample_series[: max(1, len(control.sample_series))]
        chosen = run.regions.of(primary_kind(run.regions)) & run.regions.present
        series = samples.mean(axis=0) if len(samples) else result.series
        own.append(_mean_r(series[:, chosen], run.series[:, chosen]))
    return _paired(_per_subject(own, runs), np.array(table[name]["scores"]["r"]["per_subject"]), seed)


def _paired(own: np.ndarray, other: np.ndarray, seed: int) -> dict:
    comparison = paired_comparison(own, other, _generator(seed))
    return {**_as_dict(comparison.difference), "p": comparison.p}


def _share(row: dict, oracle: dict | None) -> float | None:
    if oracle is None or row["scores"]["r"] is None or not oracle["scores"]["r"]:
        return None
    return row["scores"]["r"]["mean"] / oracle["scores"]["r"]["mean"]
