"""CDM-3D, conditional diffusion by concatenation on channels: Med-DDPM (the paper's reference [36])."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import AttentionMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import nn

from ...models.adapters import AdapterMixin
from ...models.blocks import (
    MAX_AXIS,
    MAX_CHANNELS,
    MAX_LAYERS,
    MAX_LEVELS,
    MAX_PATCH,
    Conv3d,
    ResnetBlock3D,
    check_divisible,
    check_integer,
    check_integers,
    check_model_device,
    check_model_dtype,
    check_num_parameters,
    check_tensor,
    depth_to_space,
    downsample,
    space_to_depth,
    upsample,
)
from ...models.epg import TokenSelfAttention
from ...models.fd_unet import FDUNetOutput, UNetStage, one_per_volume
from ...models.loading import CheckedModelMixin
from .decoder import VolumeDecoder, coarse_grid


class CDM3DModel(AdapterMixin, CheckedModelMixin, AttentionMixin, ConfigMixin):
    r"""CDM-3D: a 3-D U-Net that denoises a volume, the condition being further channels of its input.

    \( \epsilon_\theta([x_t, c], t) \) with \( c = C(EEG) \), a volume that the EEG tokens are decoded to.
    Self-attention at the lowest resolution. It takes the place of [`FDUNetModel`] in [`EEG2fMRIPipeline`]. With the
    defaults, the paper's sizes: 11,221,209 parameters.

    Dorjsembe et al. 2024, "Conditional Diffusion Models for Semantic 3D Brain MRI Synthesis" (Med-DDPM).

    Differs from the original in: its condition is a mask on the voxels of the image; the paper does not say how it
    made a volume of EEG, so that C is ours: a linear map of every token, one of all tokens to a coarse grid, and a
    decoder. The U-Net is narrower, of the same blocks as FD-UNet, and the noise levels are those of the recipe, not a
    cosine's.

    Args:
        sample_size (`tuple[int, int, int]`): D, H, W of the volume, multiples of 2 ** (levels - 1).
        in_channels (`int`): 1, or 2 when a mean volume is a condition.
        out_channels (`int`): channels of the prediction.
        block_out_channels (`tuple[int, ...]`): channels of each level, from the finest.
        layers_per_block (`int`): residual blocks in a stage.
        cross_attention_dim (`int`): width of the EEG tokens.
        num_tokens (`int`): EEG tokens of a volume.
        norm_num_groups (`int`): groups of the normalisation.
        attention_head_dim (`int`): width of a head of the self-attention.
        token_channels (`int`): features that are kept of a token.
        condition_channels (`int`): features of the coarse grid, and channels of c.
        condition_block_out_channels (`tuple[int, ...]`): channels of the condition's decoder, from the coarsest; every
            block but the last is followed by a doubling.
        patch_size (`int`): edge of the cubes of voxels that become channels before the first level, as of FD-UNet; 1
            is the original's. The condition has a voxel for each cube.

    Raises:
        InputError: when the configuration is impossible.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("UNetStage", "TokenSelfAttention")
    _repeated_blocks = ("ResnetBlock3D", "TokenSelfAttention")

    @register_to_config
    def __init__(
        self,
        sample_size: tuple[int, int, int] = (32, 64, 64),
        in_channels: int = 1,
        out_channels: int = 1,
        block_out_channels: tuple[int, ...] = (32, 64, 128, 256),
        layers_per_block: int = 1,
        cross_attention_dim: int = 128,
        num_tokens: int = 64,
        norm_num_groups: int = 8,
        attention_head_dim: int = 32,
        token_channels: int = 8,
        condition_channels: int = 8,
        condition_block_out_channels: tuple[int, ...] = (64, 32, 16, 8),
        patch_size: int = 1,
    ):
        self._check_config(self.config)
        super().__init__()
        self.gradient_checkpointing = False
        channels = tuple(block_out_channels)
        levels = range(len(channels))
        time_embedding_dim = 4 * channels[0]

        def stage(level: int, in_channels: int) -> UNetStage:
            width = channels[level]
            resnets = [
                ResnetBlock3D(in_channels if layer == 0 else width, width, norm_num_groups, time_embedding_dim)
                for layer in range(layers_per_block)
            ]
            return UNetStage(resnets, None)

        self.grid = coarse_grid(_patches(sample_size, patch_size), len(condition_block_out_channels))
        self.token_projection = nn.Linear(cross_attention_dim, token_channels)
        self.grid_projection = nn.Linear(num_tokens * token_channels, condition_channels * math.prod(self.grid))
        self.condition_decoder = VolumeDecoder(
            condition_channels, condition_block_out_channels, norm_num_groups, condition_channels
        )
        self.time_proj = Timesteps(channels[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(channels[0], time_embedding_dim)
        self.conv_in = Conv3d(in_channels * patch_size**3 + condition_channels, channels[0])
        self.encoder = nn.ModuleList(stage(level, channels[max(level - 1, 0)]) for level in levels)
        self.attention = TokenSelfAttention(channels[-1], attention_head_dim)
        self.bottleneck = stage(levels[-1], channels[-1])
        self.decoder = nn.ModuleList(stage(level, channels[level + 1] + channels[level]) for level in levels[:-1])
        self.norm_out = nn.GroupNorm(norm_num_groups, channels[0])
        self.conv_out = Conv3d(channels[0], out_channels * patch_size**3)

    @staticmethod
    def _check_config(config) -> None:
        check_integers("sample_size", config.sample_size, 1, MAX_AXIS, (3, 3))
        check_integers("block_out_channels", config.block_out_channels, 2, MAX_CHANNELS, (2, MAX_LEVELS))
        check_integer("layers_per_block", config.layers_per_block, 1, MAX_LAYERS)
        names = ("in_channels", "out_channels", "cross_attention_dim", "num_tokens", "attention_head_dim")
        for name in (*names, "token_channels", "condition_channels"):
            check_integer(name, config[name], 1, MAX_CHANNELS)
        channels, condition_channels = config.block_out_channels, config.condition_block_out_channels
        check_integer("patch_size", config.patch_size, 1, MAX_PATCH)
        check_divisible("sample_size", config.sample_size, config.patch_size, "patch_size")
        finest = _patches(config.sample_size, config.patch_size)
        VolumeDecoder.check_config(condition_channels, config.norm_num_groups, finest)
        VolumeDecoder.check_config(channels[::-1], config.norm_num_groups, finest)
        check_divisible("block_out_channels[-1]", channels[-1:], config.attention_head_dim, "attention_head_dim")
        grid = config.condition_channels * math.prod(coarse_grid(finest, len(condition_channels)))
        check_num_parameters(
            "CDM3DModel",
            config.num_tokens * config.token_channels * grid
            + 108 * config.layers_per_block * sum(width * width for width in channels),
        )

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float | int,
        encoder_hidden_states: torch.Tensor,
        return_dict: bool = True,
    ) -> FDUNetOutput | tuple:
        """Predict the noise in a volume.

        Args:
            sample (`torch.Tensor` of shape `[B, in_channels, D, H, W]`): the noisy volume, with its conditions.
            timestep (`torch.Tensor`, `float` or `int`): one step for all, or one for each volume, shape `[B]`.
            encoder_hidden_states (`torch.Tensor` of shape `[B, num_tokens, cross_attention_dim]`): the EEG tokens.
            return_dict (`bool`): return an [`FDUNetOutput`] instead of a tuple.

        Returns:
            [`FDUNetOutput`] or `tuple`: the prediction.

        Raises:
            InputError: when a tensor does not fit the configuration.
        """
        self._check_inputs(sample, encoder_hidden_states)
        time_embedding = self.time_embedding(self.time_proj(one_per_volume(timestep, sample)).to(sample.dtype))
        condition = self.condition(encoder_hidden_states)

        patches = space_to_depth(sample, self.config.patch_size)
        hidden_states = self.conv_in(torch.cat([patches, condition], dim=1))
        skips = []
        for level, stage in enumerate(self.encoder):
            if level > 0:
                hidden_states = downsample(hidden_states)
            hidden_states = self._run(stage, hidden_states, time_embedding, None)[0]
            skips.append(hidden_states)

        attended = self._run(self.attention, hidden_states.flatten(2).transpose(1, 2))
        hidden_states = attended.transpose(1, 2).unflatten(2, hidden_states.shape[2:])
        hidden_states = self._run(self.bottleneck, hidden_states, time_embedding, None)[0]

        for level in reversed(range(len(self.decoder))):
            hidden_states = torch.cat([upsample(hidden_states), skips[level]], 1)
            hidden_states = self._run(self.decoder[level], hidden_states, time_embedding, None)[0]

        prediction = self.conv_out(F.silu(self.norm_out(hidden_states)))
        prediction = depth_to_space(prediction, self.config.patch_size)
        return FDUNetOutput(sample=prediction) if return_dict else (prediction,)

    def condition(self, encoder_hidden_states: torch.Tensor) -> torch.Tensor:
        """The EEG as a volume `[B, condition_channels, D, H, W]`, each axis divided by `patch_size`."""
        features = F.silu(self.token_projection(encoder_hidden_states)).flatten(1)
        coarse = self.grid_projection(features).unflatten(1, (self.config.condition_channels, *self.grid))
        return self.condition_decoder(coarse)

    def _run(self, block: nn.Module, *arguments):
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *arguments)
        return block(*arguments)

    def _check_inputs(self, sample: torch.Tensor, tokens: torch.Tensor) -> None:
        config, weight = self.config, self.conv_in.weight
        lengths = dict(zip(("depth", "height", "width"), config.sample_size, strict=True))
        check_tensor("sample", sample, {"batch": None, "channel": config.in_channels, **lengths})
        axes = {"batch": sample.shape[0], "token": config.num_tokens, "channel": config.cross_attention_dim}
        check_tensor("encoder_hidden_states", tokens, axes)
        for name, tensor in (("sample", sample), ("encoder_hidden_states", tokens)):
            check_model_dtype(name, tensor, weight)
            check_model_device(name, tensor, weight)


def _patches(sample_size: Sequence[int], patch_size: int) -> tuple[int, ...]:
    return tuple(size // patch_size for size in sample_size)
