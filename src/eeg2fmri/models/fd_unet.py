"""FD-UNet, the denoiser of fMRI volumes under the guidance of EEG tokens (paper, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import AttentionMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.utils import BaseOutput
from torch import nn

from ..errors import InputError
from .adapters import AdapterMixin
from .blocks import (
    MAX_AXIS,
    MAX_CHANNELS,
    MAX_LAYERS,
    MAX_LEVELS,
    MAX_PATCH,
    Attention,
    Conv3d,
    ResnetBlock3D,
    check_choice,
    check_divisible,
    check_group_norm,
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
from .loading import CheckedModelMixin

AXES = ("depth", "height", "width")


@dataclass
class FDUNetOutput(BaseOutput):
    """What [`FDUNetModel`] returns.

    Args:
        sample (`torch.Tensor` of shape `[B, out_channels, D, H, W]`): the predicted noise (or whatever the scheduler's
            `prediction_type` says).
        attentions (`dict[str, torch.Tensor]`, *optional*): CIIM's attention maps by place (`"encoder.2"`, ...,
            `"bottleneck"`, `"decoder.2"`), each `[B, heads, positions, tokens]`; positions in D, H, W order.
    """

    sample: torch.Tensor
    attentions: dict[str, torch.Tensor] | None = None


class CrossModalInteraction(nn.Module):
    r"""CIIM, the cross-modal information interaction module (3.2.2, Figure 18).

    From the volume's features X come two maps, each split in two along the channels; the halves are swapped and fused:

    \( F = X + fuse([\tanh(X)_1 \sigma(X)_2, \tanh(X)_2 \sigma(X)_1]) \)

    then every position of F asks the EEG tokens C: \( F + softmax(F W_Q (C W_K)^T / \sqrt{d_k}) C W_V W_O \)
    (equations 29-33). The tokens are not normalised: their overall level is the EEG's power, which drives BOLD.

    Differs from the paper in: "split, reversed, concatenated, and fused" is read as the products above, `fuse` as a
    pointwise convolution; both residuals are ours.
    """

    def __init__(self, channels: int, cross_attention_dim: int, head_dim: int | None):
        super().__init__()
        self.fuse = nn.Conv3d(channels, channels, 1)
        self.attention = Attention(channels, cross_attention_dim, head_dim)

    def forward(
        self, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, return_attention: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        tanh_1, tanh_2 = torch.tanh(hidden_states).chunk(2, 1)
        sigmoid_1, sigmoid_2 = torch.sigmoid(hidden_states).chunk(2, 1)
        fused = hidden_states + self.fuse(torch.cat([tanh_1 * sigmoid_2, tanh_2 * sigmoid_1], 1))
        positions = fused.flatten(2).transpose(1, 2)
        attended, weights = self.attention(positions, encoder_hidden_states, return_attention)
        return fused + attended.transpose(1, 2).unflatten(2, fused.shape[2:]), weights


class DirectConditioning(nn.Module):
    """The ablation without CIIM (3.5.4): the mean EEG token, projected, is added at every position alike.

    Differs from the paper in: it does not say how the tokens come in without CIIM; the mean and the sum are ours.
    """

    def __init__(self, channels: int, cross_attention_dim: int):
        super().__init__()
        self.projection = nn.Linear(cross_attention_dim, channels)

    def forward(
        self, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, return_attention: bool = False
    ) -> tuple[torch.Tensor, None]:
        return hidden_states + self.projection(encoder_hidden_states.mean(1))[:, :, None, None, None], None


class UNetStage(nn.Module):
    """Residual blocks at one resolution, then the EEG where this level has an interaction."""

    def __init__(self, resnets: list[ResnetBlock3D], interaction: CrossModalInteraction | DirectConditioning | None):
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.interaction = interaction

    def forward(
        self,
        hidden_states: torch.Tensor,
        time_embedding: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        return_attention: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        for resnet in self.resnets:
            hidden_states = resnet(hidden_states, time_embedding)
        if self.interaction is None:
            return hidden_states, None
        return self.interaction(hidden_states, encoder_hidden_states, return_attention)


class FDUNetModel(AdapterMixin, CheckedModelMixin, AttentionMixin, ConfigMixin):
    """FD-UNet (section 3.2, Figure 16): a 3-D residual U-Net that denoises a volume, guided by EEG tokens.

    Encoder stages with pooling between them, a bottleneck stage at the lowest resolution (the decoder's side of that
    level, so it too carries the level's interaction), decoder stages after nearest-neighbour upsampling and a skip
    connection. With the defaults, the paper's: volumes 32 x 64 x 64, levels of 32, 64, 128, 256 channels, Q
    `[B, 2048, 128]` and K, V `[B, 1632, 128]` at level 2; 10,350,337 parameters.

    Differs from the paper in: it prints two places for CIIM that contradict each other ([8, 8, 4] is level 3, 2048
    queries are level 2); we take both. The time-step block is linear, since a vector needs no convolution,
    and without the normalisation that the paper names there.

    Args:
        sample_size (`tuple[int, int, int]`): D, H, W of the volume, multiples of 2 ** (levels - 1).
        in_channels (`int`): 1, or 2 when a mean volume is a condition.
        out_channels (`int`): channels of the prediction.
        block_out_channels (`tuple[int, ...]`): channels of each level, from the finest.
        layers_per_block (`int`): residual blocks in a stage.
        cross_attention_dim (`int`): width of the EEG tokens.
        norm_num_groups (`int`): groups of the normalisation.
        interaction_levels (`tuple[int, ...]`): levels whose encoder and decoder stage carry the EEG; the finest is 0.
        attention_head_dim (`int`, *optional*): width of a head; without it one head as wide as the level, so that
            d_k follows the level's channels as in the paper.
        conditioning (`str`): `"ciim"`, or `"direct"` for the ablation without CIIM.
        patch_size (`int`): edge of the cubes of voxels that become channels before the first level; 1 is the paper's.
            With 2 an eighth of the positions is left, for volumes that are smoother than their voxels.

    Raises:
        InputError: when the configuration is impossible.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("UNetStage",)
    _repeated_blocks = ("ResnetBlock3D", "CrossModalInteraction")
    _skip_layerwise_casting_patterns = ("conv_in", "conv_out", "norm", "time_embedding")

    @register_to_config
    def __init__(
        self,
        sample_size: tuple[int, int, int] = (32, 64, 64),
        in_channels: int = 1,
        out_channels: int = 1,
        block_out_channels: tuple[int, ...] = (32, 64, 128, 256),
        layers_per_block: int = 1,
        cross_attention_dim: int = 128,
        norm_num_groups: int = 8,
        interaction_levels: tuple[int, ...] = (2, 3),
        attention_head_dim: int | None = None,
        conditioning: str = "ciim",
        patch_size: int = 1,
    ):
        self._check_config(self.config)
        super().__init__()
        self.gradient_checkpointing = False
        channels = tuple(block_out_channels)
        time_embedding_dim = 4 * channels[0]

        def stage(level: int, in_channels: int) -> UNetStage:
            width = channels[level]
            resnets = [
                ResnetBlock3D(in_channels if layer == 0 else width, width, norm_num_groups, time_embedding_dim)
                for layer in range(layers_per_block)
            ]
            if level not in interaction_levels:
                return UNetStage(resnets, None)
            if conditioning == "direct":
                return UNetStage(resnets, DirectConditioning(width, cross_attention_dim))
            return UNetStage(resnets, CrossModalInteraction(width, cross_attention_dim, attention_head_dim))

        levels = range(len(channels))
        self.time_proj = Timesteps(channels[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(channels[0], time_embedding_dim)
        self.conv_in = Conv3d(in_channels * patch_size**3, channels[0])
        self.encoder = nn.ModuleList(stage(level, channels[max(level - 1, 0)]) for level in levels)
        self.bottleneck = stage(levels[-1], channels[-1])
        self.decoder = nn.ModuleList(stage(level, channels[level + 1] + channels[level]) for level in levels[:-1])
        self.norm_out = nn.GroupNorm(norm_num_groups, channels[0])
        self.conv_out = Conv3d(channels[0], out_channels * patch_size**3)

    @staticmethod
    def _check_config(config) -> None:
        check_integers("sample_size", config.sample_size, 1, MAX_AXIS, (3, 3))
        check_integer("in_channels", config.in_channels, 1, MAX_CHANNELS)
        check_integer("out_channels", config.out_channels, 1, MAX_CHANNELS)
        check_integers("block_out_channels", config.block_out_channels, 2, MAX_CHANNELS, (1, MAX_LEVELS))
        check_integer("layers_per_block", config.layers_per_block, 1, MAX_LAYERS)
        check_integer("cross_attention_dim", config.cross_attention_dim, 1, MAX_CHANNELS)
        check_integer("norm_num_groups", config.norm_num_groups, 1, MAX_CHANNELS)
        check_choice("conditioning", config.conditioning, ("ciim", "direct"))
        channels = config.block_out_channels
        num_levels = len(channels)
        # Without an interaction the network would never see the EEG.
        check_integers("interaction_levels", config.interaction_levels, 0, num_levels - 1, (1, num_levels))
        check_integer("patch_size", config.patch_size, 1, MAX_PATCH)
        smallest = config.patch_size * 2 ** (num_levels - 1)
        check_divisible("sample_size", config.sample_size, smallest, "cut into patches, halved between levels")
        finest = [size // config.patch_size for size in config.sample_size]
        grids = [[size // 2**level for size in finest] for level in range(num_levels)]
        check_group_norm(config.norm_num_groups, channels, grids)
        widths = [channels[level] for level in sorted(config.interaction_levels)]
        if config.conditioning == "ciim":
            check_divisible("block_out_channels", widths, 2, "CIIM's two halves")
        if config.attention_head_dim is not None:
            check_integer("attention_head_dim", config.attention_head_dim, 1, MAX_CHANNELS)
            check_divisible("block_out_channels", widths, config.attention_head_dim, "attention_head_dim")
        convolutions = 108 * config.layers_per_block * sum(width * width for width in channels)
        ends = 27 * (config.in_channels + config.out_channels) * config.patch_size**3 * channels[0]
        check_num_parameters("FDUNetModel", convolutions + ends)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float | int,
        encoder_hidden_states: torch.Tensor,
        return_attention: bool = False,
        return_dict: bool = True,
    ) -> FDUNetOutput | tuple:
        """Predict the noise in a volume.

        Args:
            sample (`torch.Tensor` of shape `[B, in_channels, D, H, W]`): the noisy volume, with its conditions.
            timestep (`torch.Tensor`, `float` or `int`): one step for all, or one for each volume, shape `[B]`.
            encoder_hidden_states (`torch.Tensor` of shape `[B, tokens, cross_attention_dim]`): the EEG tokens.
            return_attention (`bool`): also return CIIM's attention maps; slower, and it needs their memory.
            return_dict (`bool`): return an [`FDUNetOutput`] instead of a tuple.

        Returns:
            [`FDUNetOutput`] or `tuple`: the prediction and, if asked for, the attention maps.

        Raises:
            InputError: when a tensor does not fit the configuration.
        """
        self._check_inputs(sample, encoder_hidden_states, return_attention)
        # The sinusoids are float32 whatever the model is.
        time_embedding = self.time_embedding(self.time_proj(one_per_volume(timestep, sample)).to(sample.dtype))
        attentions = {}

        def run(name: str, stage: UNetStage, hidden_states: torch.Tensor) -> torch.Tensor:
            arguments = (hidden_states, time_embedding, encoder_hidden_states, return_attention)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden_states, weights = self._gradient_checkpointing_func(stage, *arguments)
            else:
                hidden_states, weights = stage(*arguments)
            if weights is not None:
                attentions[name] = weights
            return hidden_states

        hidden_states = self.conv_in(space_to_depth(sample, self.config.patch_size))
        skips = []
        for level, stage in enumerate(self.encoder):
            if level > 0:
                hidden_states = downsample(hidden_states)
            hidden_states = run(f"encoder.{level}", stage, hidden_states)
            skips.append(hidden_states)

        hidden_states = run("bottleneck", self.bottleneck, hidden_states)

        for level in reversed(range(len(self.decoder))):
            hidden_states = torch.cat([upsample(hidden_states), skips[level]], 1)
            hidden_states = run(f"decoder.{level}", self.decoder[level], hidden_states)

        prediction = self.conv_out(F.silu(self.norm_out(hidden_states)))
        prediction = depth_to_space(prediction, self.config.patch_size)
        if not return_dict:
            return (prediction, attentions) if return_attention else (prediction,)
        return FDUNetOutput(sample=prediction, attentions=attentions if return_attention else None)

    def _check_inputs(self, sample: torch.Tensor, tokens: torch.Tensor, return_attention: bool) -> None:
        lengths = dict(zip(AXES, self.config.sample_size, strict=True))
        check_tensor("sample", sample, {"batch": None, "channel": self.config.in_channels, **lengths})
        check_model_dtype("sample", sample, self.conv_in.weight)
        check_model_device("sample", sample, self.conv_in.weight)
        axes = {"batch": sample.shape[0], "token": None, "channel": self.config.cross_attention_dim}
        check_tensor("encoder_hidden_states", tokens, axes)
        check_model_dtype("encoder_hidden_states", tokens, self.conv_in.weight)
        if tokens.device != sample.device:
            raise InputError(
                "encoder_hidden_states",
                found=f"device {tokens.device}",
                expected=f"the sample's device {sample.device}",
                remedy="Move both to one device.",
            )
        if return_attention and self.config.conditioning != "ciim":
            raise InputError(
                "return_attention",
                found=f"True, with conditioning={self.config.conditioning!r}",
                expected="False: there is no attention in this ablation",
                remedy="Ask for attention maps only from conditioning='ciim'.",
            )


def one_per_volume(timestep: torch.Tensor | float | int, sample: torch.Tensor) -> torch.Tensor:
    """The time step as `[B]`, whatever form it came in."""
    num_volumes = sample.shape[0]
    if not isinstance(timestep, torch.Tensor):
        if isinstance(timestep, bool) or not isinstance(timestep, int | float):
            raise InputError(
                "timestep",
                found=f"{type(timestep).__name__}",
                expected="a number or a tensor",
                remedy="Give the scheduler's time step.",
            )
        return torch.full((num_volumes,), timestep, dtype=torch.float32, device=sample.device)
    if timestep.ndim > 1 or timestep.numel() not in (1, num_volumes):
        raise InputError(
            "timestep",
            found=f"shape {list(timestep.shape)}",
            expected=f"one number, or one for each of {num_volumes} volumes",
            remedy="Give the scheduler's time step, or a vector as long as the batch.",
        )
    if timestep.is_complex() or (timestep.device.type == "meta" and sample.device.type != "meta"):
        raise InputError(
            "timestep",
            found=f"dtype {timestep.dtype} on device {timestep.device}",
            expected="a real number on a device that holds it",
            remedy="Give the scheduler's time step.",
        )
    return timestep.to(sample.device).reshape(-1).expand(num_volumes)
