"""LoRA adapters of a pipeline in one file, loaded and saved as diffusers' pipelines do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE, LoraBaseMixin

from .errors import CheckpointError, InputError
from .models.adapters import Adapter, read_adapter, without_prefix, write_adapter

COMPONENTS = ("eeg_encoder", "unet")


class EEG2fMRILoraLoaderMixin(LoraBaseMixin):
    """Adapters of the EEG encoder and of the denoiser, their names beginning with `eeg_encoder.` and `unet.`."""

    _lora_loadable_modules: ClassVar[list[str]] = list(COMPONENTS)

    @classmethod
    def lora_state_dict(cls, pretrained_model_name_or_path_or_dict: str | os.PathLike | Adapter, **kwargs):
        """Read the adapters of a folder or a repository of the Hub.

        Returns:
            `dict` of tensors by name; with `return_lora_metadata=True` also their configuration.

        Raises:
            InputError: when the file asked for is not in safetensors format, or an option is unknown.
            CheckpointError: when it is missing or damaged.
        """
        with_metadata = kwargs.pop("return_lora_metadata", False)
        if isinstance(pretrained_model_name_or_path_or_dict, dict):
            weights: Adapter = dict(pretrained_model_name_or_path_or_dict)
            metadata: dict = {}
        else:
            weights, metadata, _ = read_adapter(pretrained_model_name_or_path_or_dict, kwargs)
        if kwargs:
            raise InputError(
                ", ".join(kwargs),
                found="an option that means nothing here",
                expected="options of a download, and none beside weights by name",
                remedy="Leave it out.",
            )
        return (weights, metadata) if with_metadata else weights

    def load_lora_weights(
        self,
        pretrained_model_name_or_path_or_dict: str | os.PathLike | Adapter,
        adapter_name: str | None = None,
        hotswap: bool = False,
        **kwargs,
    ) -> None:
        """Load adapters into the networks of this pipeline.

        Args:
            pretrained_model_name_or_path_or_dict: the output folder of a training run with `--lora_rank`, a repository
                of the Hub, or weights by name.
            adapter_name (`str`, *optional*): for `set_adapters`, `delete_adapters` and the like.
            hotswap (`bool`): put the weights in the place of those of the loaded adapter `adapter_name`.
            kwargs: diffusers' `low_cpu_mem_usage`; `weight_name`, `subfolder`, `revision` and other options of the
                download.

        Raises:
            InputError: when the file asked for is not in safetensors format, or an option is unknown.
            CheckpointError: when it is missing or damaged, or does not fit this pipeline; nothing is loaded then.
        """
        low_cpu_mem_usage = kwargs.pop("low_cpu_mem_usage", False)
        weights, metadata = self.lora_state_dict(
            pretrained_model_name_or_path_or_dict, return_lora_metadata=True, **kwargs
        )
        parts = {name: without_prefix(weights, name) for name in COMPONENTS}
        if not weights or sum(map(len, parts.values())) < len(weights):
            raise CheckpointError(
                pretrained_model_name_or_path_or_dict
                if isinstance(pretrained_model_name_or_path_or_dict, str | os.PathLike)
                else "adapters",
                found="no weights" if not weights else "weights of other components",
                expected=f"weights of {' and '.join(COMPONENTS)}",
                remedy="Load it into the network that it belongs to, with its method load_lora_adapter.",
            )
        present = {name: part for name, part in parts.items() if part}
        for name, part in present.items():
            getattr(self, name).check_lora_adapter(part, without_prefix(metadata, name))
        for name, part in present.items():
            getattr(self, name).load_lora_adapter(
                part,
                adapter_name=adapter_name,
                metadata=without_prefix(metadata, name),
                hotswap=hotswap,
                low_cpu_mem_usage=low_cpu_mem_usage,
                _pipeline=self,  # so that offloading is taken off while weights are added
            )

    @classmethod
    def save_lora_weights(
        cls,
        save_directory: str | os.PathLike,
        eeg_encoder_lora_layers: dict[str, torch.Tensor] | None = None,
        unet_lora_layers: dict[str, torch.Tensor] | None = None,
        is_main_process: bool = True,
        weight_name: str = LORA_WEIGHT_NAME_SAFE,
        eeg_encoder_lora_adapter_metadata: dict | None = None,
        unet_lora_adapter_metadata: dict | None = None,
    ) -> None:
        """Save the adapters of both networks, or of one, in one file.

        Args:
            save_directory: the folder, made if need be.
            eeg_encoder_lora_layers, unet_lora_layers: what `peft.get_peft_model_state_dict` gives of each network.
            is_main_process (`bool`): whether this process is the one that writes.
            weight_name (`str`): name of the safetensors file.
            eeg_encoder_lora_adapter_metadata, unet_lora_adapter_metadata: the adapters' configurations, with
                `lora_alpha` and `r`.
        """
        if not is_main_process:
            return
        layers = {"eeg_encoder": eeg_encoder_lora_layers, "unet": unet_lora_layers}
        metadata = {"eeg_encoder": eeg_encoder_lora_adapter_metadata, "unet": unet_lora_adapter_metadata}
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_adapter(folder / weight_name, _with_prefixes(layers), _with_prefixes(metadata))

    def fuse_lora(self, components: Sequence[str] = COMPONENTS, **kwargs) -> None:
        """Add the adapters into the weights; see diffusers' method."""
        super().fuse_lora(components=list(components), **kwargs)

    def unfuse_lora(self, components: Sequence[str] = COMPONENTS, **kwargs) -> None:
        """Undo [`fuse_lora`]."""
        super().unfuse_lora(components=list(components), **kwargs)


def _with_prefixes(parts: dict[str, dict | None]) -> dict:
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in (part or {}).items()}
