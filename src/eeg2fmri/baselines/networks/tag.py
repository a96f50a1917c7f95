"""TAG, regression with topographical attention over a graph of electrodes (the paper's reference [24])."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import nn

from ...models.blocks import (
    MAX_AXIS,
    MAX_CHANNELS,
    MAX_LEVELS,
    Conv3d,
    ResnetBlock3D,
    check_group_norm,
    check_integer,
    check_integers,
    check_num_parameters,
)
from ...models.loading import CheckedModelMixin
from .regressor import RegressionNetwork


class TopographicalAttention(nn.Module):
    r"""Every electrode becomes a mixture of all: \( W = softmax(X A^T) \), \( X' = W X \), rows of W sum to one.

    W `[B, electrode, electrode]` is the graph of electrodes: row i says which ones electrode i is made of. The
    score of j for i is the product of i's features with j's learned vector \( A_j \).

    Args:
        num_electrodes (`int`): electrodes.
        num_features (`int`): features of each, all frequencies in all windows.
    """

    def __init__(self, num_electrodes: int, num_features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_electrodes, num_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        graph = (features @ self.weight.T).softmax(-1)
        return graph @ features, graph


class GridEncoder(nn.Module):
    """Residual blocks with stride-2 convolutions before them, then one linear map to a vector.

    Args:
        in_channels (`int`): channels of the input.
        grid (`Sequence[int]`): its three axes.
        block_out_channels (`Sequence[int]`): channels of each block.
        norm_num_groups (`int`): groups of the normalisation.
        out_features (`int`): length of the vector.
    """

    gradient_checkpointing = False

    def __init__(
        self,
        in_channels: int,
        grid: Sequence[int],
        block_out_channels: Sequence[int],
        norm_num_groups: int,
        out_features: int,
    ):
        super().__init__()
        widths = (in_channels, *block_out_channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(Conv3d(before, after, stride=2), ResnetBlock3D(after, after, norm_num_groups))
            for before, after in itertools.pairwise(widths)
        )
        self.projection = nn.Linear(widths[-1] * math.prod(halved(grid, len(self.blocks))), out_features)

    @staticmethod
    def check_config(config, grid: Sequence[int]) -> None:
        """Refuse `block_out_channels` or `norm_num_groups` that can't be, or don't fit the grid."""
        channels = config.block_out_channels
        check_integers("block_out_channels", channels, 1, MAX_CHANNELS, (1, MAX_LEVELS))
        check_integer("norm_num_groups", config.norm_num_groups, 1, MAX_CHANNELS)
        check_group_norm(config.norm_num_groups, channels, [halved(grid, level + 1) for level in range(len(channels))])

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden_states = self._gradient_checkpointing_func(block, hidden_states)
            else:
                hidden_states = block(hidden_states)
        return self.projection(hidden_states.flatten(1))


def halved(grid: Sequence[int], times: int) -> list[int]:
    """A grid after so many strides of two, which round up."""
    return [math.ceil(size / 2**times) for size in grid]


class TAGModel(RegressionNetwork):
    r"""TAG: attention over electrodes, a latent code of the EEG, random Fourier features, a style, a linear decoder.

    \( X', W = attention(X) \), \( z = encoder(X') \),
    \( y = D (\sqrt{2} \cos(\Omega z + \phi) \odot S W) + b \) with the style S of the attention graph W. Its partner
    [`TAGVolumeEncoder`] makes the same code of the volume in training. With the defaults, the paper's sizes:
    9,206,400 parameters, most of them the decoder's.

    Calhas and Henriques 2022, "EEG to fMRI Synthesis Benefits from Attentional Graphs of Electrode Relationships"
    (arXiv:2203.03481).

    Differs from the original in: the architecture of its encoders was found by a search; ours are residual blocks of
    strided convolutions, with group instead of batch normalisation in them. The code has 64 numbers, not 343, so that
    the decoder's map to all voxels has 8.4 million weights.

    Args:
        in_channels (`int`): 1 for magnitude or power, 2 for complex spectra.
        sample_size (`tuple[int, int, int]`): electrodes, frequencies, windows.
        volume_size (`tuple[int, int, int]`): D, H, W.
        block_out_channels (`tuple[int, ...]`): channels of the encoder's blocks.
        norm_num_groups (`int`): groups of the normalisation.
        latent_size (`int`): numbers of the code, and Fourier features of it.

    Raises:
        InputError: when the configuration is impossible.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        sample_size: tuple[int, int, int] = (64, 134, 10),
        volume_size: tuple[int, int, int] = (32, 64, 64),
        block_out_channels: tuple[int, ...] = (16, 16, 16),
        norm_num_groups: int = 8,
        latent_size: int = 64,
    ):
        self._check_config(self.config)
        super().__init__()
        electrodes, frequencies, windows = sample_size
        self.attention = TopographicalAttention(electrodes, in_channels * frequencies * windows)
        self.encoder = GridEncoder(in_channels, sample_size, block_out_channels, norm_num_groups, latent_size)
        self.frequencies = nn.Parameter(torch.randn(latent_size, latent_size))
        self.phases = nn.Parameter(2 * math.pi * torch.rand(latent_size))
        self.style = nn.Linear(electrodes * electrodes, latent_size, bias=False)
        self.decoder = nn.Linear(latent_size, math.prod(volume_size))

    @classmethod
    def _check_config(cls, config) -> None:
        cls._check_sizes(config)
        check_integer("latent_size", config.latent_size, 1, MAX_CHANNELS)
        GridEncoder.check_config(config, config.sample_size)
        check_num_parameters("TAGModel", config.latent_size * math.prod(config.volume_size))

    def encode(self, sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The EEG's code `[B, latent_size]` and the graph of electrodes `[B, electrode, electrode]`.

        Args:
            sample (`torch.Tensor` of shape `[B, in_channels, electrode, frequency, window]`): normalised spectra.

        Raises:
            InputError: when the tensor does not fit the configuration.
        """
        self._check_sample(sample)
        electrodes = sample.transpose(1, 2)
        mixed, graph = self.attention(electrodes.flatten(2))
        return self.encoder(mixed.unflatten(2, electrodes.shape[2:]).transpose(1, 2)), graph

    def decode(self, code: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        """Volumes `[B, 1, D, H, W]` from what `encode` returns."""
        features = math.sqrt(2) * torch.cos(code @ self.frequencies.T + self.phases)
        return self.decoder(features * self.style(graph.flatten(1))).unflatten(1, self.output_shape)

    def predict_volumes(self, sample: torch.Tensor) -> torch.Tensor:
        return self.decode(*self.encode(sample))


class TAGVolumeEncoder(CheckedModelMixin, ConfigMixin):
    """Volumes `[B, 1, D, H, W]` to codes `[B, latent_size]`, which those of the EEG are drawn to in TAG's training.

    Args:
        volume_size (`tuple[int, int, int]`): D, H, W.
        block_out_channels (`tuple[int, ...]`): channels of its blocks.
        norm_num_groups (`int`): groups of the normalisation.
        latent_size (`int`): numbers of the code.

    Raises:
        InputError: when the configuration is impossible.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        volume_size: tuple[int, int, int] = (32, 64, 64),
        block_out_channels: tuple[int, ...] = (16, 16, 16),
        norm_num_groups: int = 8,
        latent_size: int = 64,
    ):
        check_integers("volume_size", self.config.volume_size, 1, MAX_AXIS, (3, 3))
        check_integer("latent_size", self.config.latent_size, 1, MAX_CHANNELS)
        GridEncoder.check_config(self.config, self.config.volume_size)
        super().__init__()
        self.encoder = GridEncoder(1, volume_size, block_out_channels, norm_num_groups, latent_size)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return self.encoder(volume)
