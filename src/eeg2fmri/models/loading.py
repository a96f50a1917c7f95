"""Saving and loading of models such that a damaged, incomplete or foreign checkpoint is refused with its reason.

    folder/
        config.json
        diffusion_pytorch_model.safetensors              or, in shards,
        diffusion_pytorch_model-00001-of-00002.safetensors ... and diffusion_pytorch_model.safetensors.index.json

Beside the weights, each safetensors file holds in its metadata the configuration that they were saved with and a
checksum of all weights of the checkpoint, so that a flipped bit or a shard of another checkpoint is noticed. Files of
other tools without that seal are loaded too.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFETENSORS_WEIGHTS_NAME
from diffusers.utils.hub_utils import _add_variant
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..errors import CheckpointError, FileError, InputError
from ..files import publish_file

Weights = dict[Path, dict[str, torch.Tensor]]

CONFIG_NAME = "config.json"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
DOWNLOAD_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")


class CheckedModelMixin(ModelMixin):
    """diffusers' `ModelMixin`, whose `from_pretrained` never returns a model that is not wholly the saved one."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str = "10GB",
        push_to_hub: bool = False,
        **kwargs,
    ) -> None:
        """Save configuration and weights, sealed with a checksum.

        Args:
            save_directory (`str` or `os.PathLike`): the folder, made if need be.
            is_main_process (`bool`): whether this process is the one that writes; the others do nothing.
            safe_serialization (`bool`): must be true: only safetensors are written.
            variant (`str`, *optional*): e.g. `"bf16"`, part of the weights' file name.
            max_shard_size (`int` or `str`): the most that one file holds, in bytes or as `"10GB"`.
            push_to_hub (`bool`): also upload it; `kwargs` are then `repo_id`, `token`, `private`, `commit_message`
                and `create_pr`.

        Raises:
            InputError: when pickles are asked for, or the network has adapters.
            FileError: when the folder can't be written.
            CheckpointError: when what was written can't be read again.
        """
        if not safe_serialization:
            _refuse_option("safe_serialization", False)
        if getattr(self, "peft_config", None):
            raise InputError(
                type(self).__name__,
                found=f"adapters {', '.join(self.peft_config)}",
                expected="none: their names are not a whole network's",
                remedy="Save them with save_lora_adapter, or call fuse_lora and unload_lora first.",
            )
        if not is_main_process:
            return
        folder = Path(save_directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # An index left by an earlier save in shards would win over the single file written now.
            (folder / _add_variant(SAFE_WEIGHTS_INDEX_NAME, variant)).unlink(missing_ok=True)
            super().save_pretrained(folder, variant=variant, max_shard_size=max_shard_size)
            self._seal(folder, variant)
        except (CheckpointError, FileError):
            raise
        except (OSError, SafetensorError) as error:
            raise FileError(
                folder,
                found=f"that it can't be written ({error})",
                expected="a writable folder with enough room",
                remedy="Check permissions and free space; what this save left behind is not complete.",
            ) from error
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", folder.name), variant=variant, **kwargs)

    def _seal(self, folder: Path, variant: str | None) -> None:
        """Write configuration and checksum into the files just saved."""
        weights, _ = _read_checkpoint(folder, variant)
        config = json.dumps(_public(self.config, type(self)), sort_keys=True)
        seal = {"format": "pt", "sha256": checksum_of(weights), "config": config}
        for path, tensors in weights.items():
            with publish_file(path) as staged:
                save_file(tensors, staged, metadata=seal)
                sort_metadata(staged)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs):
        """Load a model from a folder or from a Hub repository, after its files have been checked.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): a folder, or a repository id such as `user/model`.
            kwargs: diffusers' options, e.g. `subfolder`, `variant`, `dtype`, `device_map`, `low_cpu_mem_usage`,
                `output_loading_info`, `revision`, and values that replace those of the configuration.

        Returns:
            The model, in evaluation mode.

        Raises:
            CheckpointError: when a file is missing, damaged, of another model, or when a weight is missing, unknown,
                of another shape, NaN or infinite.
            InputError: when an unsafe option is asked for.
        """
        if kwargs.pop("use_safetensors", None) is False:
            _refuse_option("use_safetensors", False)
        for option in ("use_flashpack", "ignore_mismatched_sizes"):
            # Weights that do not fit would be left uninitialised: the loader skips initialisation.
            if kwargs.pop(option, False):
                _refuse_option(option, True)
        name, variant = os.fspath(pretrained_model_name_or_path), kwargs.get("variant")
        subfolder = kwargs.get("subfolder") or ""
        download = {key: kwargs.pop(key) for key in DOWNLOAD_OPTIONS if key in kwargs}
        root = _local_folder(
            name, subfolder, variant, {key: value for key, value in download.items() if value is not None}
        )
        dtype = kwargs.get("dtype") or kwargs.get("torch_dtype")
        _check_checkpoint(cls, root / subfolder, variant, _public(kwargs, cls), dtype)

        loaded = super().from_pretrained(root, use_safetensors=True, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.register_to_config(_name_or_path=name)
        return loaded


def sort_metadata(path: Path) -> None:
    """Put the metadata in order: safetensors writes it in a random one, and equal models should give equal files."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length))


def _local_folder(name: str, subfolder: str, variant: str | None, download: dict[str, Any]) -> Path:
    """The folder itself, or that of the repository's files in the Hub's cache, downloaded if need be."""
    if os.path.isdir(name):
        return Path(name)
    weights = _add_variant(SAFETENSORS_WEIGHTS_NAME, variant)
    shards = weights.replace(".safetensors", "-*.safetensors")
    patterns = [CONFIG_NAME, weights, shards, _add_variant(SAFE_WEIGHTS_INDEX_NAME, variant)]
    prefix = f"{subfolder}/" if subfolder else ""
    try:
        return Path(snapshot_download(name, allow_patterns=[prefix + pattern for pattern in patterns], **download))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            name,
            found=f"no such folder, and nothing to download ({error})",
            expected="a folder or a repository of the Hub",
            remedy="Check the name, the connection and the access rights.",
        ) from error


def _check_checkpoint(
    cls: type[CheckedModelMixin], folder: Path, variant: str | None, overrides: dict, dtype: torch.dtype | None
) -> None:
    """Refuse a checkpoint unless all that it holds is what the model needs."""
    config = _read_config(folder / CONFIG_NAME, cls)
    try:
        with torch.device("meta"):
            expected = cls(**{**config, **overrides}).state_dict()
    except InputError as error:
        refuse(folder / CONFIG_NAME, str(error), "a possible configuration")
    weights, seals = _read_checkpoint(folder, variant)
    _check_seals(folder, config, weights, seals)
    _check_keys(folder, weights, expected)
    for path, tensors in weights.items():
        damaged = [key for key, tensor in tensors.items() if not _is_finite(tensor, dtype)]
        if damaged:
            refuse(path, f"NaN or Inf in {brief(damaged)} (as {dtype or 'stored'})", "finite weights")


def _check_keys(folder: Path, weights: Weights, expected: dict[str, torch.Tensor]) -> None:
    found = {key: tensor for tensors in weights.values() for key, tensor in tensors.items()}
    if missing := sorted(expected.keys() - found.keys()):
        refuse(folder, f"no weights for {brief(missing)}", f"all {len(expected)} weights of the model")
    for path, tensors in weights.items():
        if unexpected := sorted(tensors.keys() - expected.keys()):
            refuse(path, f"the unknown weights {brief(unexpected)}", "the weights of this model alone")
        for key, tensor in tensors.items():
            if tensor.shape != expected[key].shape or not tensor.is_floating_point():
                refuse(
                    path,
                    f"{key} of shape {list(tensor.shape)} and {tensor.dtype}",
                    f"shape {list(expected[key].shape)} and a floating dtype",
                )


def _check_seals(folder: Path, config: dict, weights: Weights, seals: list[dict[str, str]]) -> None:
    """Compare configuration and checksum with what was written into the files when they were saved."""
    checksums = {seal.get("sha256") for seal in seals}
    if checksums != {None} and checksums != {checksum_of(weights)}:
        refuse(folder, f"weights that do not match their checksum, in {[path.name for path in weights]}", "equal ones")
    try:
        saved = {key: value for seal in seals for key, value in json.loads(seal.get("config", "{}")).items()}
    except (ValueError, AttributeError):
        refuse(folder, "a damaged configuration in the weights' metadata", "that of the model")
    changed = sorted(key for key, value in saved.items() if key not in config or config[key] != value)
    if changed:
        raise CheckpointError(
            folder / CONFIG_NAME,
            found=", ".join(f"{key}={config.get(key)!r}" for key in changed),
            expected=", ".join(f"{key}={saved[key]!r}" for key in changed) + ", as saved with the weights",
            remedy="Download or save the checkpoint again; to change a value on purpose, give it to from_pretrained.",
        )


def _read_config(path: Path, cls: type[CheckedModelMixin]) -> dict[str, Any]:
    config = _read_json(path)
    names = {base.__name__ for base in cls.__mro__}
    if config.get("_class_name", cls.__name__) not in names:
        refuse(path, f"a configuration of {config['_class_name']!r}", f"one of {cls.__name__}")
    return _public(config, cls)


def _read_checkpoint(folder: Path, variant: str | None) -> tuple[Weights, list[dict[str, str]]]:
    """The weights of each safetensors file that diffusers would read, and their metadata."""
    index = folder / _add_variant(SAFE_WEIGHTS_INDEX_NAME, variant)
    if not index.exists():
        path = folder / _add_variant(SAFETENSORS_WEIGHTS_NAME, variant)
        tensors, metadata = read_weights(path)
        return {path: tensors}, [metadata]
    content = _read_json(index)
    weight_map = content.get("weight_map")
    if not isinstance(weight_map, dict) or not isinstance(content.get("metadata"), dict):
        refuse(index, "no weight_map and metadata", "the index of a checkpoint in shards")
    # A name with a path in it could point anywhere, one of another suffix could be a pickle.
    names = sorted({str(name) for name in weight_map.values()})
    if not all(Path(name).name == name and name.endswith(".safetensors") for name in names):
        refuse(index, f"shards named {brief(names)}", "plain names of safetensors files")
    weights: Weights = {}
    seals: list[dict[str, str]] = []
    for name in names:
        weights[folder / name], seal = read_weights(folder / name)
        seals.append(seal)
        if weights[folder / name].keys() != {key for key, shard in weight_map.items() if shard == name}:
            refuse(folder / name, "other weights than its index lists", f"those that {index.name} lists")
    return weights, seals


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    if not path.is_file():
        pickles = [item.name for item in path.parent.glob("*") if item.suffix in PICKLE_SUFFIXES]
        if pickles:
            refuse(path, f"no such file, only {brief(sorted(pickles))}", "safetensors; pickles are never opened")
        refuse(path, "no such file", "the weights in safetensors format")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except Exception as error:
        # Whatever the parser stumbled over, the file is not what was saved.
        with open(path, "rb") as file:
            is_pointer = file.read(64).startswith(b"version https://git-lfs")
        found = "a git-lfs pointer" if is_pointer else f"no whole safetensors file ({error})"
        refuse(path, found, "the weights in safetensors format")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        refuse(path, "no such file", "a JSON file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        refuse(path, f"no readable JSON ({error})", "a JSON file")
    if not isinstance(content, dict):
        refuse(path, f"a JSON {type(content).__name__}", "a JSON object")
    return content


def _public(config: dict[str, Any], cls: type[CheckedModelMixin]) -> dict[str, Any]:
    """The entries of a configuration that the model's constructor takes."""
    names = list(inspect.signature(cls.__init__).parameters)[1:]
    return {name: config[name] for name in names if name in config}


def checksum_of(weights: Weights) -> str:
    """SHA-256 of all weights in the order of their names, however they are spread over files."""
    digest = hashlib.sha256()
    for key, tensor in sorted((key, tensor) for tensors in weights.values() for key, tensor in tensors.items()):
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _is_finite(tensor: torch.Tensor, dtype: object) -> bool:
    """Whether every value is finite, also after the conversion that the loader will make."""
    if isinstance(dtype, torch.dtype) and dtype.is_floating_point and dtype.itemsize > 1:
        tensor = tensor.to(dtype)
    return bool(torch.isfinite(tensor).all())


def brief(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def refuse(path: Path, found: str, expected: str) -> NoReturn:
    raise CheckpointError(
        path, found=found, expected=expected, remedy="Download the checkpoint again, or choose another one."
    )


def _refuse_option(option: str, value: bool) -> NoReturn:
    raise InputError(
        option,
        found=str(value),
        expected=str(not value),
        remedy="Only whole checkpoints in safetensors format are written and read; pickles are never opened.",
    )
