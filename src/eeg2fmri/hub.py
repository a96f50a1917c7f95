"""Find a published pipeline: embedded in the package, in a folder, or on the Hub."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from .errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from .pipeline import EEG2fMRIPipeline
    from .processing.eeg import EEGProcessor
    from .processing.volume import VolumeProcessor
    from .regression_pipeline import EEG2fMRIRegressionPipeline

    Pipeline: TypeAlias = EEG2fMRIPipeline | EEG2fMRIRegressionPipeline

TRAINING_FILE = "training.json"
ADAPTERS_FILE = "pytorch_lora_weights.safetensors"  # diffusers' name
EMBEDDED = ("eeg2fmri-sim-small",)
# For those who load with `DiffusionPipeline.from_pretrained(repo, custom_pipeline=repo, trust_remote_code=True)`.
PIPELINE_FILE = "from eeg2fmri import {name}  # noqa: F401\n"
INDEX_FILE = "model_index.json"


def save_for_hub(pipeline: Pipeline, folder: str | os.PathLike) -> None:
    """Save a pipeline in the layout of a Hub repository: as `save_pretrained` does, with a one-line `pipeline.py`.

    Where the pipeline was loaded from is left out: it may be a path of somebody's machine.
    """
    pipeline.save_pretrained(folder)
    for path in Path(folder).rglob("*.json"):
        content = json.loads(path.read_text())
        if content.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    (Path(folder) / "pipeline.py").write_text(PIPELINE_FILE.format(name=type(pipeline).__name__))


def write_training_record(folder: str | os.PathLike, record: dict) -> None:
    """Note in a pipeline's folder what it was trained on, so that it is never tested on it.

    Args:
        folder: of the pipeline.
        record (`dict`): of [`data.leaks.training_record`].
    """
    (Path(folder) / TRAINING_FILE).write_text(json.dumps(record, indent=1) + "\n")


def read_training_record(folder: str | os.PathLike) -> dict | None:
    """What a pipeline was trained on; `None` when its folder doesn't say.

    Raises:
        CheckpointError: when the record is damaged.
    """
    from .data.leaks import recorded

    path = Path(folder) / TRAINING_FILE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
        return {**recorded(record), "earlier_training": record.get("earlier_training", [])}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            path, found=f"no readable record ({error})", expected="the training subjects", remedy="Save it again."
        ) from error


def resolve_model(model: str, revision: str | None = None) -> Path:
    """The folder that holds a pipeline, downloaded from the Hub when need be.

    Args:
        model (`str`): name of an embedded pipeline, a folder, or a Hub repository id.
        revision (`str`, *optional*): branch, tag or commit of a Hub repository.

    Returns:
        `Path`: a folder with a `model_index.json`, or with adapters that name the pipeline that they belong to.

    Raises:
        CheckpointError: when it can't be found, or downloaded.
    """
    folder = Path(model)
    if model in EMBEDDED and not folder.is_dir():
        folder = _embedded(model)
    if (folder / INDEX_FILE).is_file() or (folder / ADAPTERS_FILE).is_file():
        return folder
    if folder.is_dir() or model.count("/") != 1 or model.startswith((".", "/")):
        raise CheckpointError(
            model,
            found="no model_index.json there" if folder.is_dir() else "no such folder",
            expected=f"one of {', '.join(EMBEDDED)}, the folder of a pipeline, or a Hub id such as user/model",
            remedy="Check the spelling of --model.",
        )
    return _download(model, revision)


def load_pipeline(folder: str | os.PathLike, dtype: torch.dtype | None = None) -> Pipeline:
    """Load a pipeline from its folder, of the class that its index names.

    Adapters are loaded with the pipeline that they were trained on, and fused.

    Args:
        folder: of the pipeline.
        dtype (`torch.dtype`, *optional*): of its networks; float32 by default.

    Raises:
        CheckpointError: whatever is wrong with it.
    """
    folder = Path(folder)
    if not (folder / INDEX_FILE).is_file() and (folder / ADAPTERS_FILE).is_file():
        pipeline = load_pipeline(_base_of(folder), dtype)
        pipeline.load_lora_weights(folder)
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
        return pipeline
    return _pipeline_class(folder).from_pretrained(folder, dtype=dtype)


def load_processors(folder: Path) -> tuple[EEGProcessor, VolumeProcessor]:
    """The processors of a published pipeline, or of the one that adapters belong to, with their statistics.

    Raises:
        CheckpointError: whatever is wrong with them.
    """
    from .processing.eeg import EEGProcessor
    from .processing.volume import VolumeProcessor

    if not (folder / INDEX_FILE).is_file():
        folder = _base_of(folder)
    return (
        EEGProcessor.from_pretrained(folder / "eeg_processor"),
        VolumeProcessor.from_pretrained(folder / "volume_processor"),
    )


def denoising_steps_of(folder: Path) -> int:
    """The steps that a published pipeline, or the one that adapters belong to, takes by default."""
    from .pipeline import NUM_INFERENCE_STEPS

    index = _read_index(folder if (folder / INDEX_FILE).is_file() else _base_of(folder))
    return index.get("default_denoising_steps") or NUM_INFERENCE_STEPS


def _pipeline_class(folder: Path) -> type[Pipeline]:
    from .pipeline import EEG2fMRIPipeline
    from .regression_pipeline import EEG2fMRIRegressionPipeline

    one_pass = _read_index(folder).get("_class_name") == EEG2fMRIRegressionPipeline.__name__
    return EEG2fMRIRegressionPipeline if one_pass else EEG2fMRIPipeline


def _read_index(folder: Path) -> dict:
    """A pipeline's index; an empty one where it can't be read: loading the pipeline says what is wrong."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def revision_of(folder: Path) -> str | None:
    """The commit that a folder of the Hub's cache holds; `None` for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def _base_of(folder: Path) -> Path:
    """The pipeline that adapters were trained on, which their training record names."""
    path = folder / TRAINING_FILE
    try:
        base = json.loads(path.read_text())["base_model"]
        name, revision = str(base["name"]), base["revision"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            path,
            found=f"no readable name of a pipeline ({error})",
            expected="that of the pipeline that the adapters were trained on",
            remedy="Load that pipeline, then its method load_lora_weights with this folder.",
        ) from error
    return resolve_model(name, revision)


def _embedded(name: str) -> Path:
    """In an installed package the pipelines lie inside it, in a checkout beside `src`."""
    package = Path(__file__).parent
    inside = package / "pipelines" / name
    return inside if inside.is_dir() else package.parents[1] / "pipelines" / name


def _download(model: str, revision: str | None) -> Path:
    """Fetch a pipeline or adapters, with the training record, which diffusers leaves on the Hub."""
    from .pipeline import EEG2fMRIPipeline

    try:
        try:
            folder = Path(hf_hub_download(model, INDEX_FILE, revision=revision)).parent
        except EntryNotFoundError:
            folder = Path(hf_hub_download(model, ADAPTERS_FILE, revision=revision)).parent
        else:
            EEG2fMRIPipeline.download(model, revision=revision_of(folder))
        with suppress(EntryNotFoundError):  # of a repository without one, or offline
            hf_hub_download(model, TRAINING_FILE, revision=revision_of(folder))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            model,
            found=f"that it can't be downloaded ({reason})",
            expected=f"a Hub repository with {INDEX_FILE} (a pipeline) or {ADAPTERS_FILE} (adapters)",
            remedy="Check the id, the revision and the network; private repositories need `hf auth login`.",
        ) from error
    return folder
