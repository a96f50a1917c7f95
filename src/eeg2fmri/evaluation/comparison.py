"""The paper's model, its ablations and baselines on simulated data: trained alike, scored alike, in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from ..data.prepare import prepare_dataset
from ..data.simulation import PRESETS, simulate_dataset
from ..data.simulation.presets import Preset
from ..errors import InputError
from ..files import claim_folder, publish_file
from ..training.config import TrainingConfig
from ..training.trainer import Trainer
from .protocol import evaluate
from .rows import MODEL, ONE_SAMPLE, RIDGE, TRAINING_MEAN
from .tables import NONE, cell, line, subjects_of

# Those of section 3.5.4, then those of Tables 2 and 3, by their names in `scripts/train.py --model`.
COMPARED = {
    "ef_diffusion": "EF-Diffusion",
    "ef_diffusion_without_ciim": "without CIIM",
    "ef_diffusion_without_ciim_and_epg": "without CIIM and EPG",
    "cnn_plus": "CNN+",
    "tag": "TAG",
    "biot": "BIOT",
    "cdm_3d": "CDM-3D",
    "e2fgan": "E2fGAN",
}
SCORES = {
    "r": "r",
    "r_net_of_global": "r net of global",
    "ssim_3d": "SSIM 3-D",
    "ssim_2d": "SSIM 2-D",
    "psnr": "PSNR (dB)",
    "rmse": "RMSE",
}
TITLES = {"noddi": "NODDI-like", "xp2": "XP-2-like"}
# SSIM, PSNR, RMSE as far as the paper's text has them (3.4, 3.5.4). NODDI's ablations follow from its percentages.
PAPER = {
    "noddi": {
        "ef_diffusion": "0.481, 19.70, 0.130",
        "ef_diffusion_without_ciim": "0.334, 19.44, 0.132",
        "ef_diffusion_without_ciim_and_epg": "0.311, 19.15, 0.147",
        "biot": "0.425, not given, 0.138",
    },
    "xp2": {
        "ef_diffusion": "0.602, 20.29, 0.103",
        "ef_diffusion_without_ciim": "0.552, 20.26, 0.107",
        "ef_diffusion_without_ciim_and_epg": "0.550, 20.22, 0.108",
        "biot": "0.584, not given, 0.114",
    },
}


def coarser(preset: Preset, shape: tuple[int, int, int], **changes) -> Preset:
    """The same field of view with fewer voxels, and fewer of whatever else is changed."""
    x, y, z = (old * count / new for old, count, new in zip(preset.voxel_size, preset.shape, shape, strict=True))
    dx, dy, dz = ((new - old) / 2 for new, old in zip((x, y, z), preset.voxel_size, strict=True))
    origin = (preset.origin[0] - dx, preset.origin[1] + dy, preset.origin[2] + dz)  # x runs from right to left
    return replace(preset, shape=shape, voxel_size=(x, y, z), origin=origin, **changes)


# A quarter of the electrodes, and volumes of the size of `mini`. A repetition time is a whole number of EEG samples.
MINI_PRESETS = {
    "noddi": coarser(
        PRESETS["noddi"],
        (32, 32, 15),
        electrodes=PRESETS["mini"].electrodes,
        sampling_rate=125.0,
        num_volumes=150,
    ),
    "xp2": coarser(PRESETS["xp2"], (32, 32, 8), electrodes=PRESETS["mini"].electrodes, sampling_rate=128.0),
}


@dataclass(frozen=True)
class Study:
    """What all models have in common.

    Args:
        preset (`str`): `"noddi"` or `"xp2"`.
        full (`bool`): at the size of the recordings, instead of the mini sizes.
        level (`str`): how strongly the simulated EEG and BOLD are coupled.
        num_training, num_test (`int`): subjects; one more is for validation.
        num_volumes (`int`, *optional*): of a run; the preset's by default.
        num_samples, num_inference_steps (`int`): of the evaluation.
    """

    preset: str
    full: bool = False
    level: str = "default"
    num_training: int = 20
    num_test: int = 8
    num_volumes: int | None = None
    num_samples: int = 4
    num_inference_steps: int = 4

    def __post_init__(self) -> None:
        if self.preset not in PAPER:
            raise InputError(
                "preset", found=repr(self.preset), expected=" or ".join(PAPER), remedy="Choose one of the paper's."
            )


def run_study(
    study: Study,
    models: Sequence[str],
    recipe: dict[str, dict],
    folder: Path,
    seeds: Sequence[int],
    device: str,
    num_jobs: int = 1,
) -> dict[str, dict[int, dict]]:
    """Simulate, prepare, train every model, and score it. What is finished is used, what was interrupted goes on.

    ```
    folder/study.json  recipe.yaml       what was asked for
    folder/simulated/  pairs/
    folder/MODEL-seed-N/                 of the trainer
    folder/MODEL-seed-N-scores/          of the evaluation
    ```

    Args:
        study ([`Study`]): what the models have in common.
        models: among `COMPARED`.
        recipe: as of `read_recipe`.
        folder (`Path`): everything is kept in it.
        seeds: of the trainings; each is a row.
        device (`str`): where the networks are evaluated.
        num_jobs (`int`): processes of simulation and preparation.

    Returns:
        `dict`: for each model and seed, what `results.json` holds.

    Raises:
        InputError: when the folder holds another study.
        KeyboardInterrupt: when a training was stopped by a signal; it has saved a checkpoint.
    """
    claim_folder(folder, {**asdict(study), "recipe": recipe})
    with publish_file(folder / "recipe.yaml") as path:
        path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    _prepare(study, folder, num_jobs)
    results: dict[str, dict[int, dict]] = {name: {} for name in models}
    for name in models:
        for seed in seeds:
            output = folder / f"{name}-seed-{seed}"
            _train(name, seed, recipe, folder / "pairs", output)
            results[name][seed] = _score(study, output, folder / "pairs", device)
    return results


def _prepare(study: Study, folder: Path, num_jobs: int) -> None:
    if not (folder / "simulated").is_dir():
        simulate_dataset(
            folder / "simulated",
            preset=(PRESETS if study.full else MINI_PRESETS)[study.preset],
            level=study.level,
            layout="bids",
            num_subjects=study.num_training + study.num_test + 1,
            num_volumes=study.num_volumes,
            num_jobs=num_jobs,
        )
    if not (folder / "pairs").is_dir():
        prepare_dataset(
            folder / "simulated",
            folder / "pairs",
            recipe=folder / "recipe.yaml",
            num_test=study.num_test,
            num_jobs=num_jobs,
        )


def _train(name: str, seed: int, recipe: dict[str, dict], pairs: Path, output: Path) -> None:
    if (output / "model_index.json").is_file():
        return
    settings = {
        **recipe["training"],
        "model": name,
        "seed": seed,
        "train_data_dir": str(pairs),
        "output_dir": str(output),
        "resume_from_checkpoint": "latest",
    }
    end = Trainer(TrainingConfig(**settings), recipe).train()
    if end.exit_code:
        raise KeyboardInterrupt(end.message)


def _score(study: Study, model: Path, pairs: Path, device: str) -> dict:
    scores = model.with_name(f"{model.name}-scores")
    if scores.is_dir():
        return json.loads((scores / "results.json").read_text())
    return evaluate(
        str(model),
        pairs,
        scores,
        protocol="quick",
        num_samples=study.num_samples,
        num_inference_steps=study.num_inference_steps,
        batch_size=64,
        device=device,
        dtype="bfloat16",
    )


def as_markdown(study: Study, results: dict[str, dict[int, dict]]) -> str:
    """The table of one study: every model, beside the paper's values, mean volumes and the sensor ridge."""
    titles = ["model", "scored", *SCORES.values(), "p, shifted in time", "EEG information", "paper: SSIM, PSNR, RMSE"]
    lines = [line(titles), line(["---"] * len(titles))]
    several = len(next(iter(results.values()))) > 1
    for name, reports in results.items():
        published = PAPER[study.preset].get(name, NONE)
        for seed, report in reports.items():
            title = f"{COMPARED[name]}, seed {seed}" if several else COMPARED[name]
            verdict = "yes" if report["verdict"]["eeg_information"] else "no"
            if ONE_SAMPLE in report["rows"]:
                lines.append(_line(report, MODEL, [title, f"mean of {study.num_samples} samples"], [verdict, NONE]))
                lines.append(_line(report, ONE_SAMPLE, [title, "one sample"], [NONE, published]))
            else:
                lines.append(_line(report, MODEL, [title, "one pass"], [verdict, published]))
    lines += [
        _line(report, row, [title, NONE], [NONE, NONE])
        for row, title in (
            (TRAINING_MEAN, "training mean, no EEG"),
            ("own_mean", "own mean of 30 volumes, no EEG"),
            (RIDGE, "sensor ridge"),
        )
        if row in report["rows"]
    ]
    volumes = sum(report["dataset"]["num_volumes"])
    size = "full size" if study.full else "mini size"
    facts = (
        f"Simulated, {TITLES[study.preset]}, {size}, level `{study.level}`: {subjects_of(report['dataset'])}, "
        f"{volumes} scored volumes of {' x '.join(map(str, report['dataset']['grid']))} voxels; "
        f"{study.num_inference_steps} denoising steps."
    )
    return "\n".join([f"### {TITLES[study.preset]}", "", facts, "", *lines])


def _line(report: dict, row: str, starts: list[str], ends: list[str]) -> str:
    scores, null = report["rows"][row]["scores"], report["rows"][row]["null"]
    return line(
        [*starts, *(cell(scores[score]) for score in SCORES), NONE if null is None else f"{null['p']:.3f}", *ends]
    )
