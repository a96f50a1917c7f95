"""LoRA adapters of a network: small low-rank additions to its weights, saved and loaded through diffusers' methods.

    folder/pytorch_lora_weights.safetensors      X.lora_A.weight, X.lora_B.weight for every adapted layer X

They are as safe as whole checkpoints: safetensors only, sealed with a checksum, and refused when a weight is unknown,
without its counterpart, of another shape, NaN or infinite. Files of other tools without that seal are loaded too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import PeftAdapterMixin
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, LORA_WEIGHT_NAME_SAFE
from huggingface_hub import hf_hub_download
from safetensors.torch import save_file
from torch import nn

from ..errors import CheckpointError, InputError
from ..files import publish_file
from .loading import DOWNLOAD_OPTIONS, brief, checksum_of, read_weights, refuse, sort_metadata

SUFFIXES = (".lora_A.weight", ".lora_B.weight")
MAX_SCALE = 1e3  # of an adapter's addition: more is a damaged file
SPECIAL = ("alpha_pattern", "rank_pattern", "use_dora", "use_rslora")  # forms of LoRA that are not made here
Adapter = dict[str, torch.Tensor]


class AdapterMixin(PeftAdapterMixin):
    """diffusers' `PeftAdapterMixin`, whose `load_lora_adapter` never loads a part of an adapter, or a pickle."""

    def add_lora(self, rank: int) -> None:
        r"""Add an adapter to every linear layer and 3x3x3 convolution, and freeze all other weights.

        A layer's weight W becomes \( W + B A \) with `rank` inner channels (Hu et al. 2021, arXiv:2106.09685); B is
        zero at first, so that nothing changes before training.

        Args:
            rank (`int`): inner channels.

        Raises:
            InputError: when `peft` is not installed.
        """
        try:
            from peft import LoraConfig
        except ImportError as error:
            raise InputError(
                "peft", found="not installed", expected="it, for adapters", remedy="pip install 'eeg2fmri[train]'"
            ) from error
        self.requires_grad_(False)
        names = [name for name, layer in self.named_modules() if _is_adaptable(layer)]
        self.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=names))

    def save_lora_adapter(
        self, save_directory: str | os.PathLike, adapter_name: str = "default", weight_name: str | None = None
    ) -> None:
        """Save an adapter, sealed with a checksum; see diffusers' method.

        Args:
            save_directory: the folder, made if need be.
            adapter_name (`str`): which one.
            weight_name (`str`, *optional*): name of the safetensors file.
        """
        from peft import get_peft_model_state_dict

        folder, config = Path(save_directory), self.peft_config[adapter_name]
        folder.mkdir(parents=True, exist_ok=True)
        write_adapter(
            folder / _safetensors_name(weight_name),
            get_peft_model_state_dict(self, adapter_name=adapter_name),
            {"r": config.r, "lora_alpha": config.lora_alpha},
        )

    def load_lora_adapter(
        self,
        pretrained_model_name_or_path_or_dict: str | os.PathLike | Adapter,
        prefix: str | None = None,
        **kwargs,
    ) -> None:
        """Load what `save_lora_adapter` saved; as diffusers' method, but checked.

        Args:
            pretrained_model_name_or_path_or_dict: a folder, a repository of the Hub, or the weights themselves.
            prefix (`str`, *optional*): what the names of the weights begin with, in files of a whole pipeline:
                `"unet"` or `"eeg_encoder"`.
            kwargs: diffusers' options: `weight_name`, `subfolder`, `revision` and others of the download, `metadata`,
                `adapter_name`, `hotswap`.

        Raises:
            InputError: when the file asked for is not in safetensors format.
            CheckpointError: when it is missing or damaged, or does not fit this network.
        """
        source = pretrained_model_name_or_path_or_dict
        metadata = kwargs.pop("metadata", None)
        if isinstance(source, dict):
            weights, name = source, "the adapter"
        else:
            weights, metadata, name = read_adapter(source, kwargs)
        if prefix is not None:
            weights = without_prefix(weights, prefix)
            metadata = without_prefix(metadata or {}, prefix)
        config = self.check_lora_adapter(weights, metadata or {}, name)
        super().load_lora_adapter(weights, prefix=None, metadata=config, **kwargs)

    def check_lora_adapter(
        self, weights: Adapter, metadata: dict[str, Any], source: str = "the adapter"
    ) -> dict[str, Any]:
        """Refuse an adapter that does not fit this network.

        Args:
            weights (`dict`): by name.
            metadata (`dict`): the adapter's configuration.
            source (`str`): where it comes from, for the error.

        Returns:
            `dict`: what `peft.LoraConfig` needs to be told of it, and nothing else that the file says.

        Raises:
            CheckpointError: naming the first weight that does not fit.
        """
        rank, layers = _check_weights(self, weights, Path(source))
        alpha = metadata.get("lora_alpha", rank)
        special = [key for key in SPECIAL if metadata.get(key)]
        if special or metadata.get("r", rank) != rank:
            refuse(Path(source), f"{', '.join(special) or 'another rank'} in its configuration", "LoRA of one rank")
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= MAX_SCALE * rank:
            refuse(Path(source), f"lora_alpha {alpha!r}", f"a number above 0, at most {MAX_SCALE * rank:g}")
        return {"r": rank, "lora_alpha": alpha, "target_modules": layers}


def read_adapter(source: str | os.PathLike, options: dict[str, Any]) -> tuple[Adapter, dict[str, Any], str]:
    """Read a file of adapters and check its seal.

    Args:
        source: a folder, a safetensors file, or a repository of the Hub.
        options: those of diffusers' `load_lora_adapter`; the ones that say which file are taken out.

    Returns:
        `dict`: the weights by name; `dict`: the adapters' configuration; `str`: the file.

    Raises:
        InputError, CheckpointError: as `load_lora_adapter`.
    """
    if options.pop("use_safetensors", None) is False:
        _refuse_format("use_safetensors=False")
    weight_name, subfolder = _safetensors_name(options.pop("weight_name", None)), options.pop("subfolder", None)
    download = {key: options.pop(key) for key in DOWNLOAD_OPTIONS if key in options}
    path = _find_adapter(os.fspath(source), subfolder, weight_name, download)
    weights, seal = read_weights(path)
    if seal.get("sha256", checksum_of({path: weights})) != checksum_of({path: weights}):
        refuse(path, "weights that do not match their checksum", "equal ones")
    try:
        metadata = json.loads(seal.get(LORA_ADAPTER_METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        refuse(path, "a damaged configuration in the metadata", "that of the adapter")
    return weights, metadata, str(path)


def write_adapter(path: Path, weights: Adapter, metadata: dict[str, Any]) -> None:
    """Write a file of adapters with its seal; equal adapters give equal files.

    Args:
        path: of the safetensors file.
        weights (`dict`): by name.
        metadata (`dict`): the adapters' configuration, `r` and `lora_alpha`.

    Raises:
        FileError: when it can't be written.
    """
    plain = {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
    seal = {
        "format": "pt",
        "sha256": checksum_of({path: plain}),
        LORA_ADAPTER_METADATA_KEY: json.dumps(metadata, sort_keys=True),
    }
    with publish_file(path) as staged:
        save_file(plain, staged, metadata=seal)
        sort_metadata(staged)


def without_prefix(entries: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The entries of one component of a pipeline, by their names in it."""
    return {key.removeprefix(f"{prefix}."): value for key, value in entries.items() if key.startswith(f"{prefix}.")}


def _is_adaptable(layer: nn.Module) -> bool:
    """Of pointwise 3-D convolutions and those in groups, `peft` can't fuse adapters."""
    if isinstance(layer, nn.Conv3d):
        return layer.groups == 1 and layer.kernel_size != (1, 1, 1)
    return isinstance(layer, nn.Linear)


def _safetensors_name(weight_name: str | None) -> str:
    weight_name = weight_name or LORA_WEIGHT_NAME_SAFE
    if not weight_name.endswith(".safetensors"):
        _refuse_format(weight_name)
    return weight_name


def _refuse_format(found: str) -> None:
    raise InputError(
        "weight_name",
        found=found,
        expected="a safetensors file",
        remedy="Convert the adapter; pickles are never opened.",
    )


def _find_adapter(source: str, subfolder: str | None, weight_name: str, download: dict[str, Any]) -> Path:
    if os.path.isdir(source):
        return Path(source, subfolder or "", weight_name)
    if source.endswith(".safetensors"):
        return Path(source)
    try:
        return Path(hf_hub_download(source, weight_name, subfolder=subfolder, **download))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            source,
            found=f"no such folder, and no {weight_name} to download ({error})",
            expected="a folder or a repository of the Hub with adapters",
            remedy="Check the name, the connection and the access rights.",
        ) from error


def _check_weights(model: nn.Module, weights: Adapter, source: Path) -> tuple[int, list[str]]:
    """Refuse weights that are not two factors for each of some layers; their rank and the layers."""
    names = sorted({key.removesuffix(suffix) for key in weights for suffix in SUFFIXES if key.endswith(suffix)})
    expected = {f"{name}{suffix}" for name in names for suffix in SUFFIXES}
    if not names or weights.keys() != expected:
        found = brief(sorted(weights.keys() ^ expected)) or "no weights"
        refuse(source, f"{found} unknown or without counterpart", "X.lora_A.weight and X.lora_B.weight of layers X")
    layers = dict(model.named_modules())
    rank = (*weights[f"{names[0]}{SUFFIXES[0]}"].shape, 0)[0]
    for name in names:
        layer = layers.get(name)
        layer = getattr(layer, "base_layer", layer)  # another adapter may be there already
        if layer is None or not _is_adaptable(layer):
            refuse(source, f"an adapter of {name}", f"linear and convolution layers of {type(model).__name__}")
        width, channels, *kernel = layer.weight.shape
        shapes = (rank, channels, *kernel), (width, rank, *[1] * len(kernel))
        for suffix, shape in zip(SUFFIXES, shapes, strict=True):
            tensor = weights[f"{name}{suffix}"]
            if tensor.shape != shape or not tensor.is_floating_point() or not torch.isfinite(tensor).all():
                found = f"{name}{suffix} of shape {list(tensor.shape)} and {tensor.dtype}, or NaN or Inf in it"
                refuse(source, found, f"shape {list(shape)} and finite numbers")
    return rank, names
