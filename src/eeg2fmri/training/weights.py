"""The weights of a network in training as whole tensors, whether each device holds all of them or a shard (FSDP2)."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.training_utils import EMAModel
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ..models.adapters import read_adapter


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor on the CPU. Of a sharded one, every process must ask for it."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu().contiguous()


def like(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A whole tensor, shared out over the devices as `parameter` is."""
    if not isinstance(parameter, DTensor):
        return tensor
    return distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)


def whole_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """All weights by name."""
    return {name: whole(tensor) for name, tensor in network.state_dict().items()}


def averaged_weights(network: nn.Module, ema: EMAModel) -> dict[str, torch.Tensor]:
    """The same with the moving average of every parameter in its place."""
    names = [name for name, _ in network.named_parameters()]
    averages = [whole(tensor) for tensor in ema.shadow_params]
    return {**whole_weights(network), **dict(zip(names, averages, strict=True))}


def load_weights(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Put whole weights into a network, sharded or not; what is not among them stays as it is."""
    state = network.state_dict()
    network.load_state_dict({**state, **{name: like(tensor, state[name]) for name, tensor in weights.items()}})


def models_with(network: nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, ModelMixin]:
    """New models like those of the network, adapters included, with these weights; the network stays as it is."""
    models = {}
    for component, model in network.named_children():
        prefix = f"{component}."
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        with torch.device("meta"):
            models[component] = type(model).from_config(model.config)
            for name, adapter in getattr(model, "peft_config", {}).items():
                models[component].add_adapter(copy.copy(adapter), name)
        models[component].load_state_dict(own, assign=True)
    return models


def save_model(model: ModelMixin, folder: Path) -> None:
    """Save a model, or of a model with an adapter the adapter alone: the rest is what it was trained from."""
    if getattr(model, "peft_config", None):
        model.save_lora_adapter(folder)
    else:
        model.save_pretrained(folder)


def read_weights(model: ModelMixin, folder: Path) -> dict[str, torch.Tensor]:
    """What [`save_model`] saved, by its names in a model like it.

    Raises:
        CheckpointError: when it is missing, damaged, or of another model.
    """
    if not getattr(model, "peft_config", None):
        return type(model).from_pretrained(folder).state_dict()
    adapter, metadata, source = read_adapter(folder, {})
    model.check_lora_adapter(adapter, metadata, source)
    return {
        f"{layer}.default.{leaf}": tensor for name, tensor in adapter.items() for layer, leaf in [name.rsplit(".", 1)]
    }
