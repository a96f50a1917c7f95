"""Training that starts from a published pipeline: its networks, its schedule, its processors, its subjects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ..data.leaks import refuse_leak
from ..data.paired_dataset import PairedDataset
from ..errors import InputError
from ..files import sha256
from ..hub import ADAPTERS_FILE, load_pipeline, read_training_record, resolve_model
from ..pipeline import EEG2fMRIPipeline
from .config import TrainingConfig

SECTIONS = ("prior", "eeg_encoder", "unet", "scheduler")  # of a recipe, named as the pipeline's components


@dataclass(frozen=True)
class Pretrained:
    """A published pipeline, as something to start from.

    Args:
        pipeline ([`EEG2fMRIPipeline`]): on the CPU, in float32.
        identity (`dict`): checksums of all its weights: a resumed run must start from the same ones.
    """

    pipeline: EEG2fMRIPipeline
    identity: dict[str, str]


def load_pretrained(config: TrainingConfig, recipe: dict[str, dict], dataset: PairedDataset) -> Pretrained | None:
    """Load what `--pretrained_model_name_or_path` names; `None` when training starts from nothing.

    Raises:
        CheckpointError: when it can't be found or loaded.
        InputError: when a section of the recipe contradicts it, or the dataset was not prepared with its processors.
    """
    name = config.pretrained_model_name_or_path
    if not name:
        return None
    folder = resolve_model(name, config.revision or None)
    pipeline = load_pipeline(folder)
    if config.lora_rank and not (folder / "model_index.json").is_file():
        raise InputError(
            "--lora_rank",
            found=f"adapters to be trained on top of the adapters {name}",
            expected="a whole pipeline below them",
            remedy="Fuse these first and save the pipeline (docs/fine-tuning.md).",
        )
    _check_recipe(recipe, pipeline, name)
    _check_processors(dataset, pipeline, name)
    weights = sorted([*folder.glob("*/*.safetensors"), *folder.glob(ADAPTERS_FILE)])
    return Pretrained(
        pipeline, {f"pretrained.{path.relative_to(folder).as_posix()}": sha256(path) for path in weights}
    )


def restrict(network: nn.Module, config: TrainingConfig) -> None:
    """Leave only those weights trainable that `--freeze` and `--lora_rank` say.

    Args:
        network (`nn.Module`): whose children are the components.
    """
    for name, component in network.named_children():
        if name == config.freeze:
            component.requires_grad_(False)
        elif config.lora_rank:
            component.add_lora(config.lora_rank)


def save_adapters(network: nn.Module, folder: Path) -> None:
    """Save the adapters of all components in one file, as diffusers' pipelines do."""
    from peft import get_peft_model_state_dict

    given: dict[str, Any] = {}
    for name, component in network.named_children():
        if getattr(component, "peft_config", None):
            adapter = component.peft_config["default"]
            given[f"{name}_lora_layers"] = get_peft_model_state_dict(component, adapter_name="default")
            given[f"{name}_lora_adapter_metadata"] = {"r": adapter.r, "lora_alpha": adapter.lora_alpha}
    EEG2fMRIPipeline.save_lora_weights(folder, **given)


def earlier_training(config: TrainingConfig) -> list[dict | None]:
    """The training records of all that a run starts from; `None` for a pipeline that says nothing of its training.

    Raises:
        CheckpointError: when a record is damaged.
    """
    records: list[dict | None] = []
    if config.pretrained_model_name_or_path:
        folder = resolve_model(config.pretrained_model_name_or_path, config.revision or None)
        records.append(read_training_record(folder))
    if config.prior:  # it was trained on this run's own pairs: what matters is what it started from
        record = read_training_record(config.prior)
        records += [None] if record is None else record["earlier_training"]
    return records


def check_held_out(records: list[dict | None], config: TrainingConfig, validation: PairedDataset) -> None:
    """Refuse held-out subjects that what the run starts from was trained on, and test subjects that it was chosen by.

    Raises:
        InputError: naming the subjects.
    """
    if not any(records):
        return
    test = PairedDataset(validation.folder, "test", config.data_split) if "test" in validation.parts else None
    for record in records:
        refuse_leak(record, validation, parts=["training"])
        if test is not None:
            refuse_leak(record, test)


def base_model(config: TrainingConfig) -> dict[str, str | None] | None:
    """The pipeline that a run starts from, as its training record names it."""
    name = config.pretrained_model_name_or_path
    if not name:
        return None
    return {"name": str(Path(name).resolve()) if Path(name).is_dir() else name, "revision": config.revision or None}


def _check_recipe(recipe: dict[str, dict], pipeline: EEG2fMRIPipeline, name: str) -> None:
    """Networks and schedule are the pipeline's: a recipe may say the same or nothing."""
    for section in SECTIONS:
        component = getattr(pipeline, section)
        own: Mapping[str, Any] = {} if component is None else component.config
        for option, value in recipe[section].items():
            if _plain(own.get(option)) != _plain(value):
                raise InputError(
                    f"recipe, {section}.{option}",
                    found=repr(value),
                    expected=f"{_plain(own.get(option))!r}, as in {name}",
                    remedy="Leave it out: networks and schedule come from --pretrained_model_name_or_path.",
                )


def _check_processors(dataset: PairedDataset, pipeline: EEG2fMRIPipeline, name: str) -> None:
    """The networks understand what these processors make, and nothing else."""
    for section in ("eeg_processor", "volume_processor"):
        own, found = getattr(pipeline, section), getattr(dataset, section)
        if own.checksum() == found.checksum():
            continue
        differing = [key for key in own.config if not key.startswith("_") and _differ(own.config, found.config, key)]
        what = [f"{key} {found.config[key]!r}, not {own.config[key]!r}" for key in differing]
        raise InputError(
            f"--train_data_dir, {section}",
            found=what[0] if what else "statistics of its own training subjects",
            expected=f"the processors of {name}, statistics and all",
            remedy=f"Prepare the dataset with `eeg2fmri prepare --model {name}`.",
        )


def _differ(one: Mapping, other: Mapping, key: str) -> bool:
    return _plain(one[key]) != _plain(other[key])


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
