"""The smallest training state, a pure function of its step."""

from pathlib import Path

import torch
from diffusers.training_utils import EMAModel

import tiny
from eeg2fmri.training.checkpoint import load_checkpoint, save_checkpoint
from eeg2fmri.training.networks import DenoisingNetwork

IDENTITY = {"learning_rate": 1e-4, "recipe": {"unet": {"block_out_channels": [8, 16]}}}


class State:
    """Networks, their averages and Adam's moments as after `step` optimizer steps."""

    def __init__(self, step: int):
        pipe = tiny.pipeline()
        self.step = step
        self.network = DenoisingNetwork(pipe.eeg_encoder, pipe.unet)
        generator = torch.Generator().manual_seed(step)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
        for parameter in self.network.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        self.ema = EMAModel(self.network.parameters(), decay=0.9)
        # The first step of an average is a copy.
        self.ema.step(self.network.parameters())
        self.optimizer.step()
        self.ema.step(self.network.parameters())

    def save(self, output: Path, limit: int = 3, identity: dict = IDENTITY, is_main_process: bool = True) -> Path:
        return save_checkpoint(
            output, self.step, self.network, self.ema, self.optimizer, identity, limit, is_main_process
        )

    def load(self, path: Path, identity: dict = IDENTITY) -> None:
        self.step = load_checkpoint(path, self.network, self.ema, self.optimizer, identity)

    def tensors(self) -> dict[str, torch.Tensor]:
        moments = self.optimizer.state_dict()["state"]
        return {
            **{f"weights.{name}": tensor for name, tensor in self.network.state_dict().items()},
            **{f"average.{i}": tensor for i, tensor in enumerate(self.ema.shadow_params)},
            **{f"moment.{i}.{name}": tensor for i in moments for name, tensor in moments[i].items()},
        }


def tree(folder: Path) -> dict[str, bytes]:
    """Content of all files by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
