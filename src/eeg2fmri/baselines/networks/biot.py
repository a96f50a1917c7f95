"""BIOT, the biosignal transformer (the paper's reference [35]), with a decoder of volumes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from ...models.blocks import MAX_CHANNELS, MAX_LAYERS, check_divisible, check_integer, check_num_parameters
from .decoder import VolumeDecoder, coarse_grid
from .regressor import RegressionNetwork


class LinearAttention(nn.Module):
    r"""Self-attention at a cost linear in the tokens: \( softmax_d(Q) (softmax_n(K)^T V) \) for every head.

    Queries are normalised over their width d, keys over the tokens n (Shen et al. 2021), so that no map of all pairs
    of tokens is made.

    Args:
        channels (`int`): width of the tokens.
        num_heads (`int`): heads, a divisor of it.
    """

    def __init__(self, channels: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.to_qkv(tokens).unflatten(2, (3, self.num_heads, -1)).unbind(2)
        context = torch.einsum("bnhd,bnhe->bhde", key.softmax(1), value)
        attended = torch.einsum("bnhd,bhde->bnhe", query.softmax(3) * query.shape[3] ** -0.5, context)
        return self.to_out(attended.flatten(2))


class TransformerLayer(nn.Module):
    """Linear attention, then a feed-forward network four times as wide; both see normalised tokens, both residual."""

    def __init__(self, channels: int, num_heads: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = LinearAttention(channels, num_heads)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attention(self.attention_norm(tokens))
        return tokens + self.feed_forward(tokens)


def window_positions(num_windows: int, channels: int, like: torch.Tensor) -> torch.Tensor:
    """Sinusoids of a window's place in its electrode's row, `[window, channel]` (Vaswani et al. 2017)."""
    place = torch.arange(num_windows, device=like.device, dtype=torch.float32)
    rates = torch.exp(-math.log(10_000) * torch.arange(0, channels, 2, device=like.device) / channels)
    angles = place[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1).to(like.dtype)


class BIOTModel(RegressionNetwork):
    r"""BIOT: one token for each electrode's spectrum in each window, a transformer over all, their mean to a volume.

    \( token_{et} = W x_{et} + channel_e + position_t \); layers of linear attention and feed-forward networks; the
    mean token, through an ELU and a linear layer to a coarse grid, is decoded to the volume. With the defaults, the
    paper's sizes (and BIOT's own width, heads and depth): 8,537,665 parameters.

    Yang, Westover and Sun 2023, "BIOT: Biosignal Transformer for Cross-data Learning in the Wild".

    Differs from the original in: it classifies, and so ends with ELU and a linear layer to the classes; the paper does
    not say how it made volumes of it, so that the coarse grid and the decoder in their place are ours. Tokens are the
    stored spectra, one a repetition time, not spectra of a second every half second. It is not pre-trained, and has no
    dropout: everything random of a run follows from seed and step.

    Args:
        in_channels (`int`): 1 for magnitude or power, 2 for complex spectra.
        sample_size (`tuple[int, int, int]`): electrodes, frequencies, windows.
        volume_size (`tuple[int, int, int]`): D, H, W, multiples of 2 ** (blocks - 1).
        embedding_channels (`int`): width of the tokens, even.
        num_heads (`int`): attention heads.
        num_layers (`int`): layers of the transformer.
        grid_channels (`int`): features at each position of the coarse grid.
        block_out_channels (`tuple[int, ...]`): channels of the decoder's blocks, from the coarsest.
        norm_num_groups (`int`): groups of the decoder's normalisation.

    Raises:
        InputError: when the configuration is impossible.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        sample_size: tuple[int, int, int] = (64, 134, 10),
        volume_size: tuple[int, int, int] = (32, 64, 64),
        embedding_channels: int = 256,
        num_heads: int = 8,
        num_layers: int = 4,
        grid_channels: int = 64,
        block_out_channels: tuple[int, ...] = (128, 64, 32, 16),
        norm_num_groups: int = 8,
    ):
        self._check_config(self.config)
        super().__init__()
        electrodes, frequencies, _ = sample_size
        self.grid = coarse_grid(volume_size, len(block_out_channels))
        self.embedding = nn.Linear(in_channels * frequencies, embedding_channels)
        self.channel_embedding = nn.Parameter(torch.randn(electrodes, embedding_channels))
        self.layers = nn.ModuleList(TransformerLayer(embedding_channels, num_heads) for _ in range(num_layers))
        self.head = nn.Linear(embedding_channels, grid_channels * math.prod(self.grid))
        self.decoder = VolumeDecoder(grid_channels, block_out_channels, norm_num_groups)

    @classmethod
    def _check_config(cls, config) -> None:
        cls._check_sizes(config)
        for name in ("embedding_channels", "num_heads", "grid_channels"):
            check_integer(name, config[name], 1, MAX_CHANNELS)
        check_integer("num_layers", config.num_layers, 1, MAX_LAYERS)
        check_divisible("embedding_channels", [config.embedding_channels], 2, "sines and cosines")
        check_divisible("embedding_channels", [config.embedding_channels], config.num_heads, "num_heads")
        VolumeDecoder.check_config(config.block_out_channels, config.norm_num_groups, config.volume_size)
        width = config.embedding_channels
        grid = config.grid_channels * math.prod(coarse_grid(config.volume_size, len(config.block_out_channels)))
        check_num_parameters("BIOTModel", 12 * config.num_layers * width**2 + width * grid)

    def predict_volumes(self, sample: torch.Tensor) -> torch.Tensor:
        spectra = sample.permute(0, 2, 4, 1, 3).flatten(3)  # [B, electrode, window, channel x frequency]
        tokens = self.embedding(spectra) + self.channel_embedding[:, None]
        tokens = tokens + window_positions(tokens.shape[2], tokens.shape[3], tokens)
        tokens = tokens.flatten(1, 2)
        for layer in self.layers:
            tokens = self._run(layer, tokens)
        coarse = self.head(F.elu(tokens.mean(1))).unflatten(1, (self.config.grid_channels, *self.grid))
        return self.decoder(coarse)
