"""The weights of a network in training as whole tensors, whether each device holds all of them or a shard (FSDP2)."""

from __future__ import annotations

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.training_utils import EMAModel
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor


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
    """Put whole weights into a network, sharded or not."""
    state = network.state_dict()
    network.load_state_dict({name: like(tensor, state[name]) for name, tensor in weights.items()})


def models_with(network: nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, ModelMixin]:
    """New models like those of the network, by name, with these weights; the network itself stays as it is."""
    models = {}
    for component, model in network.named_children():
        prefix = f"{component}."
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        with torch.device("meta"):
            models[component] = type(model).from_config(model.config)
        models[component].load_state_dict(own, assign=True)
    return models
