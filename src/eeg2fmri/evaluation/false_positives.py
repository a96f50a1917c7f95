"""How often the protocol finds EEG information where there is none: many groups of subjects simulated at `null`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.stats import binomtest

from ..data.paired_dataset import PairedDataset
from ..data.prepare import prepare_dataset
from ..data.simulation import simulate_dataset
from ..errors import InputError
from ..files import claim_folder, sha256
from ..hub import load_pipeline, resolve_model
from .gather import Cache, Part, RunReader, TrainingRuns, gather
from .model_rows import DiffusionModel, PriorModel
from .rows import MODEL, PRIOR, TRAINING_MEAN, Row, baseline_rows
from .runs import DatasetRun
from .scores import FEWEST_SUBJECTS, Results, score_rows
from .tables import line
from .verdict import ALPHA

BASELINES = ("posterior_alpha", "sensor_ridge", "spatial_filter_ridge")
BATCH_SIZE = 64


@dataclass(frozen=True)
class FalsePositives:
    """Of one row, in how many groups a test was below 5 %.

    Args:
        title (`str`): of the row.
        groups (`int`): of test subjects, none of which is in two.
        shifted (`int`): where the test against shifts in time was.
        both (`int`): where that and the test against other subjects were, as the verdict asks for.
    """

    title: str
    groups: int
    shifted: int
    both: int


def false_positives(
    output: Path,
    recipe: Path,
    *,
    model: str | None = None,
    num_groups: int = 25,
    group_size: int = 8,
    num_training: int = 20,
    num_volumes: int | None = None,
    seed: int = 0,
    num_jobs: int = 1,
) -> list[FalsePositives]:
    """Fit the ridges once, predict every test subject, and test them in groups.

    The same command goes on where it was interrupted. One step of the model stands for its conditional mean.

    Args:
        output (`Path`): simulation, pairs and predictions are kept in it.
        recipe (`Path`): of the pairs.
        model (`str`, *optional*): a pipeline to test too, and its prior.
        num_groups, group_size, num_training (`int`): groups, and subjects.
        num_volumes (`int`, *optional*): of each run; the preset's by default.
        seed (`int`): of the simulation, the draw of test subjects, and the tests.
        num_jobs (`int`): processes of simulation and preparation.

    Raises:
        InputError: for fewer than six subjects in a group, or when the folder holds another study.
        CheckpointError: when the model can't be found.
    """
    if group_size < FEWEST_SUBJECTS:
        raise InputError(
            "group_size",
            found=str(group_size),
            expected=f"at least {FEWEST_SUBJECTS}, for a test over subjects",
            remedy="Take larger groups.",
        )
    num_test = num_groups * group_size
    weights = [] if model is None else sorted(resolve_model(model).rglob("*.safetensors"))
    settings = {
        "recipe": recipe.read_text(),
        "model": [sha256(path) for path in weights],
        "subjects": [num_training, num_test],
        "volumes": num_volumes,
        "seed": seed,
    }
    claim_folder(output, settings)
    tree, pairs = output / "simulated", output / "pairs"
    if not tree.is_dir():
        simulate_dataset(
            tree,
            level="null",
            num_subjects=num_training + num_test,
            num_volumes=num_volumes,
            seed=seed,
            num_jobs=num_jobs,
        )
    if not pairs.is_dir():
        prepare_dataset(tree, pairs, recipe=recipe, num_validation=0, num_test=num_test, seed=seed, num_jobs=num_jobs)
    reader, test = RunReader(tree), PairedDataset(pairs, "test")
    runs = reader.read(test, "Test runs")
    rows = [row for row in baseline_rows() if row.name in (TRAINING_MEAN, *BASELINES)] + _model_rows(model, runs, seed)
    part = Part(rows, runs, TrainingRuns(PairedDataset(pairs, "train"), reader))
    results, _ = gather([part], Cache(output / "predictions", settings), 1)
    # The mean volume is there because scores are taken relative to it; it has no time course to test.
    return _count(rows[1:], results, runs, group_size, seed)


def _model_rows(model: str | None, runs: Sequence[DatasetRun], seed: int) -> list[Row]:
    if model is None:
        return []
    pipe = load_pipeline(resolve_model(model), torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    sampled = DiffusionModel(pipe, runs, num_samples=1, num_inference_steps=1, batch_size=BATCH_SIZE, seed=seed)
    rows = [Row(MODEL, "model, one step", "EEG", sampled, num_steps=1)]
    if pipe.prior is not None:
        rows.append(Row(PRIOR, "model's prior", "EEG", PriorModel(pipe, BATCH_SIZE)))
    return rows


def _count(
    rows: Sequence[Row], results: Results, runs: Sequence[DatasetRun], group_size: int, seed: int
) -> list[FalsePositives]:
    groups = [slice(start, start + group_size) for start in range(0, len(runs), group_size)]
    scored = [score_rows({name: own[group] for name, own in results.items()}, runs[group], seed) for group in groups]
    return [
        FalsePositives(
            row.title,
            len(groups),
            sum(_above_shifts(table[row.name]) for table in scored),
            sum(_above_shifts(table[row.name]) and _above_others(table[row.name]) for table in scored),
        )
        for row in rows
    ]


def _above_shifts(row: Mapping) -> bool:
    return not row["constant"] and row["scores"]["r"]["mean"] > 0 and row["null"]["p"] < ALPHA


def _above_others(row: Mapping) -> bool:
    p = row["p_beyond_other_subject"]
    return p is not None and p < ALPHA


def as_markdown(counts: Sequence[FalsePositives]) -> str:
    """The counts as a table, with exact 95 % intervals of their share."""
    titles = ["row", "groups", "shifted in time: p < 0.05", "and against other subjects"]
    lines = [line(titles), line(["---"] * len(titles))]
    lines += [
        line([own.title, str(own.groups), *(_share(k, own.groups) for k in (own.shifted, own.both))]) for own in counts
    ]
    return "\n".join(lines)


def _share(count: int, total: int) -> str:
    interval = binomtest(count, total).proportion_ci(method="exact")
    return f"{count} ({100 * interval.low:.0f} to {100 * interval.high:.0f} %)"
