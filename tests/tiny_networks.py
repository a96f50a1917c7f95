"""The smallest of each baseline network, on the windows and volumes of `tiny`."""

from types import SimpleNamespace

import numpy as np
import torch

import tiny
from eeg2fmri import BIOTModel, CNNPlusModel, E2fGANModel, EEG2fMRIRegressionPipeline, TAGModel

WINDOW = (len(tiny.ELECTRODES), 6, 4)
OPTIONS = {
    CNNPlusModel: {"spectral_channels": 4, "source_channels": 4, "block_out_channels": (8, 8), "norm_num_groups": 4},
    TAGModel: {"block_out_channels": (8,), "norm_num_groups": 4, "latent_size": 6},
    BIOTModel: {
        "embedding_channels": 8,
        "num_heads": 2,
        "num_layers": 2,
        "grid_channels": 4,
        "block_out_channels": (8, 8),
        "norm_num_groups": 4,
    },
    E2fGANModel: {"block_out_channels": (4, 4, 8), "norm_num_groups": 4, "attention_head_dim": 4},
}


def network(kind, **changes):
    torch.manual_seed(0)
    settings = {"sample_size": WINDOW, "volume_size": tiny.SAMPLE, **OPTIONS[kind], **changes}
    return kind(**settings).eval()


def windows(batch: int = 3, in_channels: int = 1) -> torch.Tensor:
    return torch.randn(batch, in_channels, *WINDOW, generator=torch.Generator().manual_seed(1))


def pipeline(kind=CNNPlusModel, mode: str = "change") -> EEG2fMRIRegressionPipeline:
    pipe = EEG2fMRIRegressionPipeline(network(kind), tiny.eeg_processor(), tiny.volume_processor(mode))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(number: int, pipe, num_volumes: int = 44) -> SimpleNamespace:
    """A test run whose windows are noise, with as much of it as a row of the model asks for."""
    noise = np.random.default_rng(number).standard_normal((num_volumes, 1, *WINDOW)).astype(np.float32)
    return SimpleNamespace(
        name=f"run-{number}",
        subject=str(number),
        repetition_time=tiny.REPETITION_TIME,
        onsets=8 + tiny.REPETITION_TIME * np.arange(num_volumes),
        mean=np.zeros(tiny.GRID[::-1]),
        eeg_processor=pipe.eeg_processor,
        windows=lambda processor: noise,
    )
