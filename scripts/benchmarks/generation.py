"""Generation: the EEG encoded once a window against once a step, and the number formats, side by side."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial

import torch

from eeg2fmri import EPGModel, FDUNetModel
from eeg2fmri.hub import load_pipeline, resolve_model

from .measuring import convert_to_channels_last, in_turn, machine, median, timed

NAIVE = "naive (encoded every step), float32"
ONCE = "encoded once, float32"
FAST = "encoded once, bfloat16, channels last"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--model", default="eeg2fmri-sim-small", help="Embedded name, folder, Hub id, or `paper`.")
    parser.add_argument("--steps", type=int, default=5, help="Denoising steps of one measurement.")
    parser.add_argument("--batch_size", type=int, default=2, help="Windows at once.")
    parser.add_argument("--rounds", type=int, default=5, help="Measurements of every variant.")


def run(options: Namespace) -> None:
    encoder, unet = _networks(options.model)
    variants = denoising_loops(encoder, unet, options.batch_size, options.steps)
    outputs = {name: function() for name, function in variants.items()}
    timers = {name: partial(timed, function) for name, function in variants.items()}
    times = {name: median(seconds).cpu for name, seconds in in_turn(timers, options.rounds).items()}
    print(f"{options.model}: {options.steps} steps, batch {options.batch_size}, {options.rounds} rounds, CPU seconds")
    print(machine())
    for name, seconds in times.items():
        print(f"  {name:42s} {seconds:8.3f}")
    print(f"encoding once is {times[NAIVE] / times[ONCE]:.2f} times faster than the naive loop")
    print(f"  equal to the bit: {torch.equal(outputs[NAIVE], outputs[ONCE])}")
    print(f"bfloat16 and channels last are {times[ONCE] / times[FAST]:.2f} times faster than float32")
    difference = (outputs[FAST] - outputs[ONCE]).norm() / outputs[ONCE].norm()
    print(f"  relative difference {float(difference):.4f}")


def denoising_loops(
    encoder: EPGModel, unet: FDUNetModel, batch_size: int, steps: int
) -> dict[str, Callable[[], torch.Tensor]]:
    """The three ways to run the same network calls, by name."""
    generator = torch.Generator().manual_seed(0)
    eeg = torch.randn(batch_size, encoder.config.in_channels, *encoder.config.sample_size, generator=generator)
    volume = torch.randn(batch_size, unet.config.in_channels, *unet.config.sample_size, generator=generator)
    networks, fast = (encoder, unet), (_fast_copy(encoder), _fast_copy(unet))
    return {
        NAIVE: partial(_denoise, *networks, eeg, volume, steps, once=False),
        ONCE: partial(_denoise, *networks, eeg, volume, steps, once=True),
        FAST: partial(_denoise, *fast, eeg, volume, steps, once=True),
    }


def _networks(model: str) -> tuple[EPGModel, FDUNetModel]:
    if model == "paper":
        torch.manual_seed(0)
        return EPGModel().eval(), FDUNetModel().eval()
    pipe = load_pipeline(resolve_model(model))
    return pipe.eeg_encoder, pipe.unet


def _fast_copy(network):
    copy = type(network).from_config(network.config).bfloat16().eval()
    copy.load_state_dict(network.state_dict())
    convert_to_channels_last(copy)
    return copy


@torch.no_grad()
def _denoise(encoder, unet, eeg, volume, steps: int, *, once: bool) -> torch.Tensor:
    """The network calls of a denoising loop; a scheduler's own arithmetic costs nothing beside them."""
    eeg, volume = eeg.to(unet.dtype), volume.to(unet.dtype)
    tokens = encoder(eeg).encoder_hidden_states if once else None
    noise = volume[:, :1]
    for step in range(steps):
        used = tokens if once else encoder(eeg).encoder_hidden_states
        sample = torch.cat([noise, volume[:, 1:]], dim=1)
        noise = unet(sample, torch.tensor(900 - step), used).sample
    return noise.float()
