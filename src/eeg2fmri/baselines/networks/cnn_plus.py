"""CNN+, the convolutional transcoder from EEG to fMRI (the paper's reference [34])."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from ...models.blocks import MAX_CHANNELS, check_integer, check_num_parameters
from .decoder import VolumeDecoder, coarse_grid
from .regressor import RegressionNetwork


class CNNPlusModel(RegressionNetwork):
    r"""CNN+: every window of EEG becomes activity in a latent source space, which a learned response turns into BOLD.

    \( s_t = silu(W_2\, silu(W_1 x_t)) \) on a coarse grid of sources, with W1 over the frequencies of each electrode
    alike and W2 over electrodes; \( y = decoder(\sum_t h_t s_t) \) with a response h for each kind of source. Neither
    a lead field nor a haemodynamic response is given. With the defaults, the paper's sizes: 5,148,753 parameters.

    Liu and Sajda 2019, "A convolutional neural network for transcoding simultaneously acquired EEG-fMRI data".

    Differs from the original in: it maps voltages over time to BOLD over time, on simulated sources, and trains a
    second network back from fMRI to EEG; here spectra take the place of voltages, the windows before one volume the
    place of time, and the way back is left out. The paper says neither how it made volumes of it nor what the plus
    stands for: the coarse grid and the decoder are ours.

    Args:
        in_channels (`int`): 1 for magnitude or power, 2 for complex spectra.
        sample_size (`tuple[int, int, int]`): electrodes, frequencies, windows.
        volume_size (`tuple[int, int, int]`): D, H, W, multiples of 2 ** (blocks - 1).
        spectral_channels (`int`): features of an electrode's spectrum.
        source_channels (`int`): kinds of sources at each position of the coarse grid.
        block_out_channels (`tuple[int, ...]`): channels of the decoder's blocks, from the coarsest.
        norm_num_groups (`int`): groups of the normalisation.

    Raises:
        InputError: when the configuration is impossible.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        sample_size: tuple[int, int, int] = (64, 134, 10),
        volume_size: tuple[int, int, int] = (32, 64, 64),
        spectral_channels: int = 16,
        source_channels: int = 16,
        block_out_channels: tuple[int, ...] = (128, 64, 32, 16),
        norm_num_groups: int = 8,
    ):
        self._check_config(self.config)
        super().__init__()
        electrodes, frequencies, windows = sample_size
        self.grid = coarse_grid(volume_size, len(block_out_channels))
        self.spectral = nn.Linear(in_channels * frequencies, spectral_channels)
        self.sources = nn.Linear(electrodes * spectral_channels, source_channels * math.prod(self.grid))
        self.response = nn.Parameter(torch.randn(source_channels, windows) / math.sqrt(windows))
        self.decoder = VolumeDecoder(source_channels, block_out_channels, norm_num_groups)

    @classmethod
    def _check_config(cls, config) -> None:
        cls._check_sizes(config)
        check_integer("spectral_channels", config.spectral_channels, 1, MAX_CHANNELS)
        check_integer("source_channels", config.source_channels, 1, MAX_CHANNELS)
        VolumeDecoder.check_config(config.block_out_channels, config.norm_num_groups, config.volume_size)
        num_sources = config.source_channels * math.prod(
            coarse_grid(config.volume_size, len(config.block_out_channels))
        )
        check_num_parameters("CNNPlusModel", config.sample_size[0] * config.spectral_channels * num_sources)

    def predict_volumes(self, sample: torch.Tensor) -> torch.Tensor:
        spectra = sample.permute(0, 4, 2, 1, 3).flatten(3)  # [B, window, electrode, channel x frequency]
        features = F.silu(self.spectral(spectra)).flatten(2)
        sources = F.silu(self.sources(features)).unflatten(2, (self.config.source_channels, -1))
        activity = torch.einsum("btsp,st->bsp", sources, self.response).unflatten(2, self.grid)
        return self.decoder(activity)
