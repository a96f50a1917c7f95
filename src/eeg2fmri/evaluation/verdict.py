"""Does this model use the EEG, by how much, and against which null? In words."""

from __future__ import annotations

from .collect import SIMILARITIES
from .rows import CONTROL_ROWS, MODEL, ORACLE, RIDGE, TRAINING_MEAN

ALPHA = 0.05
RECOMMENDED_SUBJECTS = 8
MEAN_VOLUME_SLACK = 0.02  # of SSIM: what a mean volume of one or another kind makes


def judge(rows: dict[str, dict], num_subjects: int, training_known: bool, regions: str) -> dict:
    """Judge the row of the model; where no model was scored, that of the sensor ridge.

    There is EEG information when r is above 0 and all three nulls say so at p < 0.05: the same prediction shifted in
    time by at least 40 s, every subject's prediction against every other subject's BOLD, and, where the model was
    run without its EEG, against those controls.

    Args:
        rows: as of `score_rows`.
        num_subjects (`int`): of the test.
        training_known (`bool`): whether the checkpoint names its training subjects.
        regions (`str`): `"network"` or `"parcel"`.

    Returns:
        `dict`: `row` (which is judged), `eeg_information` (bool), `headline` and `sentences`.
    """
    name = MODEL if MODEL in rows else RIDGE
    if name not in rows:
        return {"row": None, "eeg_information": False, "headline": "No row reads the EEG.", "sentences": []}
    row = rows[name]
    sentences = []
    if row["constant"]:
        informed = False
        sentences.append(
            "The prediction does not change over time: it shows anatomy only, and no correlation over time exists."
        )
    else:
        informed, reasons = _information(rows, name, regions)
        sentences += reasons
    sentences += _about_images(rows, name, informed)
    if not row["constant"]:
        sentences += _about_ridge(row, rows) + _about_oracle(row, rows)
    if num_subjects < RECOMMENDED_SUBJECTS:
        sentences.append(
            f"Only {num_subjects} test subjects: take at least {RECOMMENDED_SUBJECTS} before you publish."
        )
    if name == MODEL and not training_known:
        sentences.append(
            "The model does not say which subjects it was trained on: that none of the test subjects was among them "
            "could not be checked."
        )
    headline = "EEG information: yes" if informed else "EEG information: no. The scores show no EEG information."
    if name == RIDGE:
        headline = f"No model was scored. Sensor ridge: {headline}"
    return {"row": name, "eeg_information": informed, "headline": headline, "sentences": sentences}


def _information(rows: dict[str, dict], judged: str, regions: str) -> tuple[bool, list[str]]:
    row = rows[judged]
    r, null = row["scores"]["r"], row["null"]
    above_shifts = r["mean"] > 0 and null["p"] < ALPHA
    sentences = [
        f"Mean correlation over time in {regions}s: r = {_interval(r)}, over subjects. Shifted in time by at least "
        f"40 s the same prediction reaches r = {null['percentile_95']:.3f} in 5 % of draws (p = {_p(null['p'])}): "
        + ("the prediction follows the measurement." if above_shifts else "it is inside this null.")
    ]
    other = row["scores"]["r_other_subject"]
    p = row["p_beyond_other_subject"]
    above_others = p is not None and p < ALPHA and r["mean"] > other["mean"]
    sentences.append(
        f"Against other subjects' BOLD it reaches r = {other['mean']:.3f} (difference p = {_p(p)}): "
        + ("its own subject's is followed better." if above_others else "no better with its own subject's.")
    )
    informed = above_shifts and above_others
    for name in CONTROL_ROWS:
        difference = rows.get(name, {}).get("model_beyond_control")
        if difference is None:
            continue
        informed = informed and difference["p"] < ALPHA and difference["mean"] > 0
        sentences.append(
            f"Control, {rows[name]['title']}: r is lower by {_interval(difference)} (p = {_p(difference['p'])})."
        )
    return informed, sentences


def _about_images(rows: dict[str, dict], judged: str, informed: bool) -> list[str]:
    score = next((score for score in SIMILARITIES if rows[TRAINING_MEAN]["scores"][score] is not None), None)
    if score is None:
        return []
    own, mean = (rows[name]["scores"][score]["mean"] for name in (judged, TRAINING_MEAN))
    compared = f"SSIM is {own:.3f}; the mean volume of the training subjects, without any EEG, has {mean:.3f}."
    if not informed and own >= mean - MEAN_VOLUME_SLACK:
        return [f"{compared} What the image scores show is anatomy, not EEG."]
    return [f"{compared} Image scores can't see EEG, whatever they are."]


def _about_ridge(row: dict, rows: dict[str, dict]) -> list[str]:
    difference = row["beyond_ridge"]
    if difference is None:
        return []
    ridge = rows[RIDGE]["scores"]["r"]["mean"]
    if difference["p"] < ALPHA and difference["mean"] > 0:
        outcome = "The model is better"
    elif difference["high"] < 0:
        outcome = "The model is worse"
    else:
        outcome = "The model is not better"
    return [
        f"{outcome} than a ridge regression on the same EEG (r = {ridge:.3f}): difference {_interval(difference)}."
    ]


def _about_oracle(row: dict, rows: dict[str, dict]) -> list[str]:
    oracle = rows.get(ORACLE, {}).get("scores", {}).get("r")
    if oracle is None:
        return []
    r = row["scores"]["r"]
    if r["low"] > oracle["high"]:
        return [
            f"r is above what the EEG-driven part itself reaches ({oracle['mean']:.3f}): the prediction knows the "
            "measured BOLD. Look for a leak."
        ]
    return [f"The EEG-driven part itself, which only the simulator knows, reaches r = {oracle['mean']:.3f}."]


def _interval(score: dict) -> str:
    return f"{score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


def _p(value: float | None) -> str:
    return "not available" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
