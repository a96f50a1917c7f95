"""A training step of EPG and FD-UNet at the paper's size, beside other denoisers with as many parameters.

All get the same volume and the tokens of an EPG of their own, which is part of the step: it is encoder and denoiser,
forward, backward and optimizer, on one pair. The denoiser's part is printed by itself too.
"""

from __future__ import annotations

import copy
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from eeg2fmri import EPGModel, FDUNetModel

from .flops import denoiser_cost
from .measuring import Seconds, convert_to_channels_last, in_turn, machine, median
from .peers import PEERS, Peer, predict_ours

OURS = "FD-UNet"
GOAL = 1.3


class Format(NamedTuple):
    """Numbers of autocast (float32 is none), the layout of the convolutions' weights, and whether it is compiled."""

    dtype: torch.dtype
    channels_last: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return name + ", channels last" * self.channels_last + ", compiled" * self.compiled


FORMATS = (Format(torch.float32), Format(torch.bfloat16), Format(torch.bfloat16, channels_last=True))
COMPILED = (Format(torch.float32, compiled=True), Format(torch.bfloat16, compiled=True))


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="Measured steps of every variant.")
    parser.add_argument("--threads", type=int, default=1, help="Threads; waiting ones count as CPU time.")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="What to compare with.")
    parser.add_argument("--compile", action="store_true", help="Our networks through torch.compile too.")


def run(options: Namespace) -> None:
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    encoder, unet = EPGModel(), FDUNetModel()
    peers = {name: PEERS[name] for name in options.peers}
    print_networks(encoder, unet, peers)
    steps = training_steps(encoder, unet, peers, COMPILED if options.compile else ())
    times = {name: median_times(rounds) for name, rounds in in_turn(steps, options.rounds).items()}
    print(f"one training step on one pair, EPG included in all; median of {options.rounds} rounds in turn, seconds")
    print(machine())
    print_times(times)


def print_networks(encoder: EPGModel, unet: FDUNetModel, peers: dict[str, Peer]) -> None:
    """Sizes and operations of the denoisers."""
    num_tokens = torch.Size(encoder.token_grid).numel()
    with torch.device("meta"):
        ours = FDUNetModel.from_config(unet.config)
        networks = {OURS: (ours, predict_ours, unet.config.block_out_channels)}
        for name, peer in peers.items():
            widths = peer.widths(ours)
            networks[name] = (peer.build(ours, widths), peer.predict, widths)
    print(f"{'denoiser':32s}{'parameters':>12s}{'GFLOP a step':>14s}  channels of the levels")
    for name, (network, predict, widths) in networks.items():
        cost = denoiser_cost(network, ours, num_tokens, lambda *inputs, p=predict, n=network: p(n, *inputs))
        print(f"{name:32s}{cost.parameters:12,d}{cost.training / 1e9:14.0f}  {tuple(widths)}")


def training_steps(
    encoder: EPGModel, unet: FDUNetModel, peers: dict[str, Peer], ours_alone: Sequence[Format] = ()
) -> dict[str, TrainingStep]:
    """A step of every denoiser in every format, by name, and of ours in more; each has weights of its own."""
    denoisers = {OURS: (unet, predict_ours)}
    for name, peer in peers.items():
        denoisers[name] = peer.build(unet, peer.widths(unet)), peer.predict
    return {
        f"{name}, {form}": TrainingStep(
            copy.deepcopy(encoder), copy.deepcopy(denoiser), predict, unet.config.sample_size, form
        )
        for name, (denoiser, predict) in denoisers.items()
        for form in (*FORMATS, *(ours_alone if name == OURS else ()))
    }


class StepTimes(NamedTuple):
    """A whole step, and the part of it that is the denoiser's forward and backward pass."""

    whole: Seconds
    denoiser: Seconds


def median_times(rounds: list[StepTimes]) -> StepTimes:
    return StepTimes(*map(median, zip(*rounds, strict=True)))


def print_times(times: dict[str, StepTimes]) -> None:
    """The table, and for each number format our best layout against the best of the others."""
    print(f"{'':58s}{'CPU':>8s}{'denoiser':>10s}{'wall':>8s}")
    for name, step in times.items():
        print(f"{name:58s}{step.whole.cpu:8.2f}{step.denoiser.cpu:10.2f}{step.whole.wall:8.2f}")
    for dtype in ("float32", "bfloat16"):
        of_format = {name: step for name, step in times.items() if f", {dtype}" in name and "compiled" not in name}
        ours = min((name for name in of_format if name.startswith(OURS)), key=lambda name: times[name].whole.cpu)
        others = [name for name in of_format if not name.startswith(OURS)]
        if others:
            best = min(others, key=lambda name: times[name].whole.cpu)
            whole, denoiser = (times[best][i].cpu / times[ours][i].cpu for i in range(2))
            print(f"{ours} is {whole:.2f} times faster than {best} (denoiser alone {denoiser:.2f}; goal {GOAL})")
        plain, compiled = (f"{OURS}, {Format(getattr(torch, dtype), compiled=compiled)}" for compiled in (False, True))
        if compiled in times:
            gained = times[plain].whole.cpu / times[compiled].whole.cpu
            print(f"{compiled} is {gained:.2f} times as fast as without")


class TrainingStep:
    """One training step on one random pair; calling it takes the step and returns its [`StepTimes`].

    Args:
        encoder ([`EPGModel`]): makes the tokens.
        denoiser (`nn.Module`): what reads them.
        predict: `(denoiser, volume, timestep, tokens)` to the predicted noise.
        volume_size (`tuple[int, int, int]`): D, H, W.
        form ([`Format`]): numbers, memory layout, compiled or not.
    """

    def __init__(
        self,
        encoder: EPGModel,
        denoiser: nn.Module,
        predict: Callable[..., torch.Tensor],
        volume_size: tuple[int, int, int],
        form: Format = FORMATS[0],
    ):
        self.encoder, self.denoiser, self.predict, self.form = encoder.train(), denoiser.train(), predict, form
        if form.channels_last:
            convert_to_channels_last(encoder)
            convert_to_channels_last(denoiser)
        if form.compiled:
            encoder.compile()
            denoiser.compile()
        parameters = [*encoder.parameters(), *denoiser.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0)
        generator = torch.Generator().manual_seed(0)
        self.eeg = torch.randn(1, encoder.config.in_channels, *encoder.config.sample_size, generator=generator)
        self.volume, self.noise = torch.randn(2, 1, 1, *volume_size, generator=generator)
        self.timestep = torch.tensor([500])

    def __call__(self) -> StepTimes:
        start = Seconds.now()
        with self._autocast():
            tokens = self.encoder(self.eeg).encoder_hidden_states
        # Cut in two, so that the denoiser's part can be timed by itself; the gradients are the same.
        given = tokens.detach().requires_grad_()
        start_denoiser = Seconds.now()
        with self._autocast():
            predicted = self.predict(self.denoiser, self.volume, self.timestep, given)
        F.mse_loss(predicted.float(), self.noise).backward()
        denoiser = Seconds.now() - start_denoiser
        tokens.backward(given.grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return StepTimes(Seconds.now() - start, denoiser)

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.form.dtype == torch.bfloat16)
