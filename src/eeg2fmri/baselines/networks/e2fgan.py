"""E2fGAN (the paper's reference [37]): E2fNet, an encoder-decoder from EEG to slices, against a discriminator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import nn

from ...models.blocks import (
    MAX_AXIS,
    MAX_CHANNELS,
    MAX_LEVELS,
    check_divisible,
    check_integer,
    check_integers,
    check_num_parameters,
)
from ...models.conditional_mean import Standardisation
from ...models.loading import CheckedModelMixin
from .regressor import RegressionNetwork

NUM_STRIDED = 2  # of the encoder's layers
LEAK = 0.2


class ConvLayer(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, strided: bool = False):
        super().__init__()
        kernel, stride, padding = ((1, 5), (1, 2), (0, 2)) if strided else (3, 1, 1)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding)
        self.norm = Standardisation(out_channels)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(hidden_states)))


def resized(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps `[B, channel, height, width]` at another size, bicubic.

    Written as two matrix products, whose backward is deterministic on every device; that of `interpolate` is not.
    """
    down, across = (_bicubic(old, new, maps) for old, new in zip(maps.shape[2:], size, strict=True))
    return down @ maps @ across.T


def _bicubic(old: int, new: int, like: torch.Tensor) -> torch.Tensor:
    """Matrix `[new, old]` that resamples one axis."""
    identity = torch.eye(old, device=like.device)[None, None]
    return F.interpolate(identity, size=(new, old), mode="bicubic")[0, 0].to(like.dtype)


class E2fGANModel(RegressionNetwork):
    """The generator of E2fGAN, which is E2fNet: two-dimensional convolutions over electrodes and frequencies.

    The windows are channels; two convolutions along the frequencies halve these, so that electrodes stay apart; two
    more see both axes; the map is resized to a slice's height and width, passes a U-Net, and is decoded to slices as
    channels. With the defaults, E2fNet's widths on the paper's sizes: 19,150,112 parameters.

    Roos, Fukuda and Cap 2025, "From Brainwaves to Brain Scans: A Robust Neural Network for EEG-to-fMRI Synthesis"
    (arXiv:2502.08025). As there, the U-Net is diffusers' `UNet2DModel` at time step 0.

    Differs from the original in: no sigmoid at the end, since standardised changes are not bounded; batch
    normalisation without scale and shift; two voxels of padding along the frequencies instead of three.

    Args:
        in_channels (`int`): 1 for magnitude or power, 2 for complex spectra.
        sample_size (`tuple[int, int, int]`): electrodes, frequencies, windows.
        volume_size (`tuple[int, int, int]`): D, H, W; H and W are even.
        block_out_channels (`tuple[int, ...]`): widths of the encoder's layers, the first two strided, the last that of
            the U-Net; the decoder's are the others in reverse.
        norm_num_groups (`int`): groups of the U-Net's normalisation.
        attention_head_dim (`int`): width of an attention head in the middle of the U-Net.

    Raises:
        InputError: when the configuration is impossible.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        sample_size: tuple[int, int, int] = (64, 134, 10),
        volume_size: tuple[int, int, int] = (32, 64, 64),
        block_out_channels: tuple[int, ...] = (32, 64, 128, 256),
        norm_num_groups: int = 32,
        attention_head_dim: int = 8,
    ):
        self._check_config(self.config)
        super().__init__()
        *inner, width = block_out_channels
        widths = (in_channels * sample_size[2], *inner)
        self.encoder = nn.Sequential(
            *(ConvLayer(widths[i], widths[i + 1], strided=i < NUM_STRIDED) for i in range(len(inner))),
            nn.Conv2d(widths[-1], width, 3, padding=1),
        )
        self.unet = UNet2DModel(
            in_channels=width,
            out_channels=width,
            layers_per_block=1,
            block_out_channels=(width, width),
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=norm_num_groups,
            attention_head_dim=attention_head_dim,
        )
        widths = (width, *reversed(inner))
        self.decoder = nn.Sequential(
            *(ConvLayer(widths[i], widths[i + 1]) for i in range(len(inner))),
            nn.Conv2d(widths[-1], volume_size[0], 3, padding=1),
        )

    @classmethod
    def _check_config(cls, config) -> None:
        cls._check_sizes(config)
        check_integers("block_out_channels", config.block_out_channels, 1, MAX_CHANNELS, (3, MAX_LEVELS))
        check_integer("norm_num_groups", config.norm_num_groups, 1, MAX_CHANNELS)
        check_integer("attention_head_dim", config.attention_head_dim, 1, MAX_CHANNELS)
        width = config.block_out_channels[-1]
        check_divisible("block_out_channels[-1]", [width], config.norm_num_groups, "norm_num_groups")
        check_divisible("block_out_channels[-1]", [width], config.attention_head_dim, "attention_head_dim")
        check_divisible("volume_size[1:]", config.volume_size[1:], 2, "halved in the U-Net")
        check_num_parameters("E2fGANModel", 250 * width**2)

    def predict_volumes(self, sample: torch.Tensor) -> torch.Tensor:
        # Checkpointing is the U-Net's own: in the other layers it would count a batch twice in the running statistics.
        maps = self.encoder(sample.movedim(4, 2).flatten(1, 2))  # [B, channel, electrode, frequency]
        maps = resized(maps, tuple(self.config.volume_size[1:]))
        maps = self.unet(maps, 0, return_dict=False)[0]
        return self.decoder(maps).unsqueeze(1)


class E2fGANDiscriminator(CheckedModelMixin, ConfigMixin):
    """Volumes `[B, 1, D, H, W]` to one score each `[B]`, the log odds of being measured; slices are channels.

    Differs from the original in: group instead of batch normalisation, so that a volume is judged by itself.

    Args:
        volume_size (`tuple[int, int, int]`): D, H, W; H and W multiples of 2 ** layers.
        block_out_channels (`tuple[int, ...]`): widths of its strided layers.
        norm_num_groups (`int`): groups of the normalisation.

    Raises:
        InputError: when the configuration is impossible.
    """

    @register_to_config
    def __init__(
        self,
        volume_size: tuple[int, int, int] = (32, 64, 64),
        block_out_channels: tuple[int, ...] = (64, 64, 128, 128),
        norm_num_groups: int = 8,
    ):
        self._check_config(self.config)
        super().__init__()
        widths = (volume_size[0], *block_out_channels)
        layers: list[nn.Module] = []
        for i in range(len(block_out_channels)):
            layers.append(nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1))
            if i > 0:
                layers.append(nn.GroupNorm(norm_num_groups, widths[i + 1]))
            layers.append(nn.LeakyReLU(LEAK))
        height, width = (size // 2 ** len(block_out_channels) for size in volume_size[1:])
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, (height, width)))

    @staticmethod
    def _check_config(config) -> None:
        channels = config.block_out_channels
        check_integers("volume_size", config.volume_size, 1, MAX_AXIS, (3, 3))
        check_integers("block_out_channels", channels, 1, MAX_CHANNELS, (1, MAX_LEVELS))
        check_integer("norm_num_groups", config.norm_num_groups, 1, MAX_CHANNELS)
        check_divisible("volume_size[1:]", config.volume_size[1:], 2 ** len(channels), "halved by every layer")
        check_divisible("block_out_channels", channels, config.norm_num_groups, "norm_num_groups")

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return self.layers(volume.squeeze(1)).flatten()
