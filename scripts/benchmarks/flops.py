"""What one pair costs: operations, memory kept for the backward pass, and hours on a GPU projected from these.

Counted, not timed: the networks run on the meta device, which computes nothing.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eeg2fmri import EPGModel, FDUNetModel
from eeg2fmri.hub import resolve_model

from .measuring import count_parameters

# Dense bfloat16 operations a second with float32 accumulation, in 1e12, from the makers' data sheets.
PEAK_TERAFLOPS = {"RTX 3090": 71, "RTX 4090": 165, "A100": 312, "H100, H200": 989}
UTILIZATIONS = (0.1, 0.2, 0.4)
RECIPE_PAIRS = 30_000 * 16  # steps of the paper's recipe, pairs in each


@dataclass(frozen=True)
class Cost:
    """What one pair costs in a network.

    Args:
        parameters (`int`): of the network.
        forward (`int`): operations of a forward pass; a multiplication and an addition count as two.
        training (`int`): those of a forward and a backward pass.
        saved_bytes (`int`): what the forward pass keeps for the backward pass, without the weights.
    """

    parameters: int
    forward: int
    training: int
    saved_bytes: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters,
            self.forward + other.forward,
            self.training + other.training,
            self.saved_bytes + other.saved_bytes,
        )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", default=["paper", "eeg2fmri-sim-small"], help="`paper`, or pipelines.")


def run(options: Namespace) -> None:
    print("one pair; GFLOP, a multiplication and an addition being two operations; MiB kept for the backward pass")
    print(f"{'':38s}{'parameters':>12s}{'forward':>10s}{'training':>10s}{'float32':>10s}{'bfloat16':>10s}")
    for model in options.models:
        encoder, unet = meta_networks(model)
        parts = network_costs(encoder, unet)
        halves = network_costs(encoder.bfloat16(), unet.bfloat16())
        for name, cost, half in zip(("encoder", "denoiser", "both"), parts, halves, strict=True):
            print(
                f"{f'{model}, {name}':38s}{cost.parameters:12,d}{cost.forward / 1e9:10.2f}{cost.training / 1e9:10.2f}"
                f"{cost.saved_bytes / 2**20:10.0f}{half.saved_bytes / 2**20:10.0f}"
            )
        _print_projection(model, parts[-1].training)


def _print_projection(model: str, training_flops: int) -> None:
    print(f"{model}: projected hours for 30,000 steps of 16 pairs in bfloat16, no GPU measured")
    print(f"  {'share of the peak':24s}" + "".join(f"{share:>10.0%}" for share in UTILIZATIONS))
    for name, peak in PEAK_TERAFLOPS.items():
        hours = [RECIPE_PAIRS / pairs_per_second(training_flops, peak, share) / 3600 for share in UTILIZATIONS]
        print(f"  {f'{name} ({peak} TFLOP/s)':24s}" + "".join(f"{value:10.3g}" for value in hours))


def pairs_per_second(training_flops: int, peak_teraflops: float, utilization: float) -> float:
    """Pairs a second that a GPU trains on at this share of its peak: a projection."""
    return utilization * peak_teraflops * 1e12 / training_flops


def meta_networks(model: str) -> tuple[EPGModel, FDUNetModel]:
    """Encoder and denoiser without weights: of the paper's size, or of a pipeline."""
    with torch.device("meta"):
        if model == "paper":
            return EPGModel(), FDUNetModel()
        folder = resolve_model(model)
        encoder = EPGModel.from_config(EPGModel.load_config(folder / "eeg_encoder"))
        return encoder, FDUNetModel.from_config(FDUNetModel.load_config(folder / "unet"))


def network_costs(encoder: EPGModel, unet: FDUNetModel) -> tuple[Cost, Cost, Cost]:
    """The cost of one pair in the encoder, in the denoiser and in both; both are on the meta device."""
    eeg = torch.empty(1, encoder.config.in_channels, *encoder.config.sample_size, device="meta", dtype=encoder.dtype)
    num_tokens = torch.Size(encoder.token_grid).numel()
    encoding = count(encoder, lambda: encoder(eeg).encoder_hidden_states)
    denoising = denoiser_cost(unet, unet, num_tokens, lambda *inputs: unet(*inputs).sample)
    return encoding, denoising, encoding + denoising


def denoiser_cost(network: nn.Module, like: FDUNetModel, num_tokens: int, predict: Callable) -> Cost:
    """The cost of one volume in a denoiser on the meta device that takes the inputs of `like`."""
    options = {"device": "meta", "dtype": like.dtype}
    volume = torch.empty(1, like.config.in_channels, *like.config.sample_size, **options)
    tokens = torch.empty(1, num_tokens, like.config.cross_attention_dim, **options, requires_grad=True)
    timestep = torch.zeros(1, dtype=torch.int64, device="meta")
    return count(network, lambda: predict(volume, timestep, tokens))


def count(network: nn.Module, forward: Callable[[], torch.Tensor]) -> Cost:
    """Count what a forward pass and its backward pass take.

    Attention is computed in the open: torch's counter does not know the fused kernel of CPUs.
    """
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage
        return tensor

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward_counter:
        forward()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as training_counter:
        forward().sum().backward()
    # The fused kernel keeps no attention map, and neither do the kernels of GPUs.
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return Cost(
        count_parameters(network),
        forward_counter.get_total_flops(),
        training_counter.get_total_flops(),
        sum(storage.nbytes() for storage in saved.values()),
    )
