"""What a small new group gains from a published pipeline: as many steps from it, in several ways, and from nothing."""

from __future__ import annotations

import inspect
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.prepare import prepare_dataset
from ..data.simulation import simulate_dataset
from ..files import claim_folder, publish_file
from ..hub import load_pipeline, load_processors, resolve_model
from ..pipeline import EEG2fMRIPipeline
from ..recipes import SECTIONS
from .config import TrainingConfig
from .fine_tuning import SECTIONS as NETWORK_SECTIONS
from .fine_tuning_scores import score
from .networks import schedule_of

PRESET = "mini-24"
LORA_RANK = 2  # adapters of at most 5 % of the weights at the sizes of the embedded and the paper's networks
# What the data decide, and a recipe does not say.
DECIDED = {
    "prior": ("sample_size", "volume_size", "window_duration", "window_stop"),
    "eeg_encoder": ("sample_size", "in_channels"),
    "unet": ("sample_size", "in_channels", "cross_attention_dim"),
}
SHARED = {
    "gradient_accumulation_steps": 1,
    "lr_scheduler": "cosine",
    "ema_decay": 0.99,
    "ema_warmup": True,
    "num_validation_samples": 0,
    "early_stopping_patience": 0,
    "checkpoints_total_limit": 1,
    "resume_from_checkpoint": "latest",
    "report_to": "none",
}


@dataclass(frozen=True)
class Comparison:
    """What is compared, on what.

    Args:
        model (`str`): the published pipeline.
        output (`Path`): folder of recordings, pairs, runs and table; what it already holds is not made again.
        num_steps (`int`): optimizer steps of every training.
        num_subjects, num_test_subjects (`int`): of the new group; one of them is for validation.
        num_volumes (`int`, *optional*): of each subject; the preset's by default.
        batch_size, prior_batch_size (`int`): pairs of a step of the diffusion, and of the prior.
        mixed_precision (`str`): of the diffusion; a prior takes logarithms and is trained in float32.
        seed (`int`): of the group and of every training.
        num_jobs (`int`): processes that simulate and prepare.
    """

    model: str
    output: Path
    num_steps: int = 200
    num_subjects: int = 12
    num_test_subjects: int = 4
    num_volumes: int | None = None
    batch_size: int = 16
    prior_batch_size: int = 256
    mixed_precision: str = "bf16"
    seed: int = 42
    num_jobs: int = 1


@dataclass(frozen=True)
class Start:
    """One row of the table.

    Args:
        name, title (`str`): of its folder, of its row.
        settings (`dict`): of its training; without any, the pipeline is scored as it is.
        prior (`str`): the row of `_priors` whose prior it takes; the pipeline's own by default.
    """

    name: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    prior: str = ""


def compare(comparison: Comparison) -> str:
    """Simulate the new group, prepare it with the pipeline's processors, train, score, and make the table.

    Returns:
        `str`: the table in Markdown, which is also in the output folder as `table.md`.

    Raises:
        EEG2fMRIError: when the pipeline can't be loaded, or the folder can't be written or holds another comparison.
    """
    folder = resolve_model(comparison.model)
    pipeline, output = load_pipeline(folder), comparison.output
    claim_folder(output, {**asdict(comparison), "output": None, "num_jobs": None})
    pairs = _make_pairs(comparison, folder)
    published = {"pretrained_model_name_or_path": comparison.model}
    recipe = recipe_of(pipeline)
    if pipeline.prior is not None:
        for name, settings in (("nothing", {"learning_rate": 4e-3}), ("tuned", {"learning_rate": 1e-3, **published})):
            own = {"train_batch_size": comparison.prior_batch_size, "model": "conditional_mean", **settings}
            own["mixed_precision"] = "no"
            _train(_settings(comparison, pairs, f"prior-{name}", own), recipe if name == "nothing" else _empty())
    rows = []
    for start in starts(published, pipeline.prior is not None):
        run = output / start.name
        if start.settings:
            own = {
                "train_batch_size": comparison.batch_size,
                "mixed_precision": comparison.mixed_precision,
                "prior": str(output / start.prior) if start.prior else "",
                **start.settings,
            }
            from_nothing = "pretrained_model_name_or_path" not in own
            _train(_settings(comparison, pairs, start.name, own), recipe if from_nothing else _empty())
        scores = score(str(run) if start.settings else comparison.model, pairs, comparison.seed)
        rows.append((start.title, _num_trained(run) if start.settings else 0, scores))
    table = markdown(rows, comparison)
    with publish_file(output / "table.md") as staged:
        staged.write_text(table)
    return table


def starts(published: dict[str, Any], has_prior: bool) -> Iterator[Start]:
    """The rows: as published, from nothing, and what can be trained of a published pipeline."""
    yield Start("published", "as published, no step")
    yield Start("nothing", "from nothing", {"learning_rate": 5e-4}, "prior-nothing" if has_prior else "")
    yield Start("full", "everything", {"learning_rate": 2e-4, **published})
    yield Start("frozen-encoder", "encoder frozen", {"learning_rate": 2e-4, "freeze": "eeg_encoder", **published})
    yield Start("frozen-unet", "denoiser frozen", {"learning_rate": 2e-4, "freeze": "unet", **published})
    yield Start("lora", f"LoRA of rank {LORA_RANK}", {"learning_rate": 1e-3, "lora_rank": LORA_RANK, **published})
    if has_prior:
        yield Start("prior-and-full", "prior, then everything", {"learning_rate": 2e-4, **published}, "prior-tuned")


def recipe_of(pipeline: EEG2fMRIPipeline) -> dict[str, dict]:
    """A recipe that builds networks and a schedule like a pipeline's, from nothing."""
    recipe = _empty()
    for section in NETWORK_SECTIONS:
        component = getattr(pipeline, section)
        if section == "scheduler":
            recipe[section] = schedule_of(component)
        elif component is not None:
            names = [name for name in inspect.signature(type(component)).parameters if name not in DECIDED[section]]
            recipe[section] = {name: component.config[name] for name in names}
    return recipe


def markdown(rows: list[tuple[str, int, dict[str, Any]]], comparison: Comparison) -> str:
    """The table, with the standard error of r over test subjects."""
    lines = [
        f"{comparison.num_steps} steps of {comparison.batch_size} pairs each; {comparison.num_subjects} subjects of "
        f"the preset {PRESET}, of which {comparison.num_test_subjects} are scored.",
        "",
        "| trained | weights | loss | with another EEG | r | with another EEG |",
        "|---|---|---|---|---|---|",
    ]
    for title, trained, scores in rows:
        values = [f"{scores['loss']:.4f}", f"{scores['loss_other_eeg']:.4f}"]
        values += [_with_error(scores[name]) for name in ("r", "r_other_eeg")]
        lines.append(f"| {title} | {trained:,} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _make_pairs(comparison: Comparison, folder: Path) -> Path:
    recordings, pairs = comparison.output / "recordings", comparison.output / "pairs"
    if not recordings.is_dir():
        simulate_dataset(
            recordings,
            preset=PRESET,
            num_subjects=comparison.num_subjects,
            num_volumes=comparison.num_volumes,
            seed=comparison.seed,
            num_jobs=comparison.num_jobs,
        )
    if not pairs.is_dir():
        prepare_dataset(
            recordings,
            pairs,
            processors=load_processors(folder),
            num_test=comparison.num_test_subjects,
            seed=comparison.seed,
            num_jobs=comparison.num_jobs,
        )
    return pairs


def _settings(comparison: Comparison, pairs: Path, name: str, own: dict[str, Any]) -> TrainingConfig:
    steps = comparison.num_steps
    return TrainingConfig(
        train_data_dir=str(pairs),
        output_dir=str(comparison.output / name),
        seed=comparison.seed,
        max_train_steps=steps,
        lr_warmup_steps=steps // 10,
        validation_steps=steps,
        checkpointing_steps=steps,
        **{**SHARED, **own},
    )


def _train(config: TrainingConfig, recipe: dict[str, dict]) -> None:
    """In a process of its own: Accelerate knows one precision in each. What is published is not trained again."""
    if (Path(config.output_dir) / "training.json").is_file():
        return
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(_train_here, config, recipe).result()


def _train_here(config: TrainingConfig, recipe: dict[str, dict]) -> None:
    from .trainer import Trainer

    Trainer(config, recipe).train()


def _with_error(values: list[float]) -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):.3f} ± {error:.3f}"


def _num_trained(run: Path) -> int:
    return int(json.loads((run / "training.json").read_text())["num_trained_parameters"])


def _empty() -> dict[str, dict]:
    return {name: {} for name in SECTIONS}
