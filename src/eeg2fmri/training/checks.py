"""What is checked before a run starts: its dataset, its recipe against the dataset, its place on disk."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from accelerate import Accelerator, DistributedType
from safetensors import SafetensorError, safe_open
from torch import nn

from ..data.index import INDEX_NAME
from ..data.paired_dataset import PairedDataset
from ..data.schemes import SPLIT_NAME, SPLITS_FOLDER
from ..errors import CheckpointError, FileError, InputError
from ..files import sha256
from .checkpoint import list_checkpoints
from .config import TrainingConfig

# Weights, their averages, and Adam's two moments.
COPIES_IN_CHECKPOINT = 4


def open_datasets(folder: str, scheme: str, recipe: dict[str, dict]) -> tuple[PairedDataset, PairedDataset]:
    """Open the training and the validation pairs.

    Raises:
        FileError: when the folder is no paired dataset, or a run of it is missing or damaged.
        InputError: when a split is empty, or the recipe asks for other processors than the dataset was made with.
    """
    training, validation = (PairedDataset(folder, split, scheme) for split in ("train", "validation"))
    for run in [*training.runs, *validation.runs]:
        _check_file(Path(folder) / run["file"])
    for section in ("eeg_processor", "volume_processor"):
        _check_processor(recipe[section], section, getattr(training, section).config)
    return training, validation


def dataset_identity(dataset: PairedDataset, scheme: str) -> dict[str, str]:
    """Checksums of everything that the pairs of a run depend on; the index has those of the runs' files."""
    return {
        "dataset.index": sha256(dataset.folder / INDEX_NAME),
        "dataset.split": sha256(dataset.folder / SPLITS_FOLDER / scheme / SPLIT_NAME),
        "dataset.eeg_processor": dataset.eeg_processor.checksum(),
        "dataset.volume_processor": dataset.volume_processor.checksum(),
    }


def check_prior(folder: str, dataset: dict[str, str]) -> None:
    """Refuse a prior trained on other data: it may have seen the subjects that this run is validated and tested on.

    Raises:
        CheckpointError: when its record is missing or names other data.
    """
    path = Path(folder) / "training.json"
    try:
        trained_on = json.loads(path.read_text())["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            path,
            found=f"no readable record of a training run ({error})",
            expected="the output folder of a run with --model conditional_mean",
            remedy="Train the prior first, and give its --output_dir as --prior.",
        ) from error
    for name, value in dataset.items():
        if trained_on.get(name) != value:
            raise CheckpointError(
                folder,
                found=f"{name} {trained_on.get(name)}",
                expected=f"{value}, as in this run",
                remedy="Train the prior on the same dataset and split.",
            )


def pair_name(dataset: PairedDataset, index: int) -> str:
    """Which volume of which run a pair is."""
    for run in dataset.runs:
        if index < run["num_pairs"]:
            return f"{run['name']}, volume {run['volumes'][index]}"
        index -= run["num_pairs"]
    raise IndexError(index)


def check_place(config: TrainingConfig, network: nn.Module) -> None:
    """Refuse an output folder that holds another run, or a disk without room for the checkpoints.

    Raises:
        InputError: when there are checkpoints and the run is not to resume from one.
        FileError: when the disk is too full.
    """
    output_dir = Path(config.output_dir)
    present = list_checkpoints(output_dir)
    if present and not config.resume_from_checkpoint:
        raise InputError(
            "--output_dir",
            found=f"{', '.join(path.name for path in present)} in {output_dir}",
            expected="a folder without checkpoints",
            remedy="Continue with --resume_from_checkpoint latest, or choose another folder.",
        )
    weights = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    new_checkpoints = max(config.checkpoints_total_limit - len(present), 0) + 1
    needed = weights * (COPIES_IN_CHECKPOINT * new_checkpoints + 1)
    free = shutil.disk_usage(existing_parent(output_dir)).free
    if free < needed:
        raise FileError(
            output_dir,
            found=f"{free / 1e9:.2f} GB free",
            expected=f"{needed / 1e9:.2f} GB, for {new_checkpoints} checkpoints and the published model",
            remedy="Make room, choose another disk, or lower --checkpoints_total_limit.",
        )


def check_sharding(accelerator: Accelerator) -> None:
    """Refuse the first generation of FSDP, whose flattened shards do not know the weights that they belong to.

    Raises:
        InputError: with the setting to change.
    """
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise InputError(
            "fsdp_version",
            found="1",
            expected="2",
            remedy="Set `fsdp_version: 2` in Accelerate's configuration, as in scripts/configs/fsdp.yaml.",
        )


def check_compiler() -> None:
    """Refuse `--torch_compile` where there is no C++ compiler, which its kernels need on every device.

    Raises:
        InputError: with what to install.
    """
    candidates = (os.environ.get("CXX", "g++"), "clang++")
    if not any(map(shutil.which, candidates)):
        raise InputError(
            "--torch_compile",
            found="no C++ compiler",
            expected=f"one of {', '.join(candidates)}",
            remedy="Install one (apt install g++), or train without --torch_compile.",
        )


def check_processes(accelerator: Accelerator) -> None:
    """Refuse to train alone where `accelerate launch --cpu` was asked for several processes.

    Without MPI it starts one only, and leaves the meeting place of the others in the environment.

    Raises:
        InputError: with the command that starts several.
    """
    asked = os.environ.get("ACCELERATE_USE_CPU") == "True" and "MASTER_PORT" in os.environ
    if asked and accelerator.num_processes == 1 and "WORLD_SIZE" not in os.environ:
        raise InputError(
            "--num_processes",
            found="one process, since Accelerate starts no more on CPUs without MPI",
            expected="the several that `accelerate launch` was asked for",
            remedy="Use the command in scripts/configs/cpu.yaml; for one process, unset MASTER_PORT.",
        )


def check_batch_statistics(accelerator: Accelerator, model: str) -> None:
    """Refuse several processes for the model that standardises by a batch's statistics: each would use its part's.

    Raises:
        InputError: with what to do instead.
    """
    if model == "conditional_mean" and accelerator.num_processes > 1:
        raise InputError(
            "--num_processes",
            found=f"{accelerator.num_processes}",
            expected="1, with --model conditional_mean, which reads the statistics of whole batches",
            remedy="Train it on one device: it takes minutes.",
        )


def existing_parent(path: Path) -> Path:
    """The nearest folder above `path`, or `path` itself, that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _check_file(path: Path) -> None:
    try:
        with safe_open(path, framework="numpy"):
            return
    except (OSError, SafetensorError) as error:
        raise FileError(
            path,
            found=f"no readable run ({error})",
            expected="a run of the paired dataset",
            remedy="Bring the dataset back, or prepare it again.",
        ) from error


def _check_processor(wanted: dict, section: str, config) -> None:
    for name, value in wanted.items():
        # Compare as JSON would give them back: tuples are lists there.
        found = json.loads(json.dumps(config.get(name)))
        if found != json.loads(json.dumps(value)):
            raise InputError(
                f"{section}.{name}",
                found=f"{found!r} in the dataset",
                expected=f"{value!r}, as in the recipe",
                remedy="Train with the recipe that the dataset was prepared with, or prepare it again.",
            )
