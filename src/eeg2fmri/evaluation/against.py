"""Two models on the same runs: the difference of every score, subject by subject."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import FileError, InputError
from .rows import MODEL
from .scores import BEYOND_MEAN, difference

SAME = ("runs", "num_volumes", "grid", "scored_regions")


def read_scores(folder: str | os.PathLike) -> dict:
    """The results of a finished evaluation.

    Args:
        folder: with `results.json`.

    Raises:
        FileError: when there are none, or they can't be read, or hold no model.
    """
    path = Path(folder) / "results.json"
    try:
        report = json.loads(path.read_text())
        found = "no row of a model" if MODEL not in report["rows"] else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"no readable results ({error})"
    if found:
        raise FileError(
            path, found=found, expected="those of a model", remedy="Give the output of another evaluation."
        )
    return report


def refuse_other_runs(other: dict, dataset: dict, settings: dict) -> None:
    """Refuse results of other measurements than those that are scored now.

    Args:
        other (`dict`): of [`read_scores`].
        dataset (`dict`): what is scored now, as `results.json` describes it.
        settings (`dict`): likewise.

    Raises:
        InputError: naming what differs.
    """
    pairs = {name: (other["dataset"].get(name), dataset[name]) for name in SAME}
    amount = "image_volumes_per_run"
    pairs[amount] = (other["settings"].get(amount), settings[amount])
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise InputError(
                "against",
                found=f"an evaluation with other {name.replace('_', ' ')} ({_short(found)})",
                expected=f"the same test runs, prepared and scored alike ({_short(expected)})",
                remedy="Evaluate both models on the same paired dataset, split and protocol.",
            )


def compare(rows: dict[str, dict], other: dict, seed: int) -> dict:
    """How far this model is above the other one.

    Args:
        rows (`dict`): of this evaluation.
        other (`dict`): of [`read_scores`].
        seed (`int`): of bootstrap and sign flips.

    Returns:
        `dict`: `model`, the other one's name, and `scores`: for each that both have, the mean difference over subjects
        with its interval and two-sided p.
    """
    theirs = other["rows"][MODEL]["scores"]
    scores = {name: difference(rows[MODEL]["scores"][name], theirs.get(name), seed) for name in rows[MODEL]["scores"]}
    return {
        "model": other["model"]["name"],
        "scores": {name: own for name, own in scores.items() if own is not None and BEYOND_MEAN not in name},
    }


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, dict)) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
