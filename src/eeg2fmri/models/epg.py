"""EPG, the EEG prompt generator: EEG spectra to tokens that guide the denoiser (paper, section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import AttentionMixin
from diffusers.utils import BaseOutput
from torch import nn

from ..errors import InputError
from .adapters import AdapterMixin
from .blocks import (
    MAX_AXIS,
    MAX_CHANNELS,
    MAX_LAYERS,
    MAX_LEVELS,
    Attention,
    Conv3d,
    ResnetBlock3D,
    check_boolean,
    check_choice,
    check_divisible,
    check_group_norm,
    check_integer,
    check_integers,
    check_model_device,
    check_model_dtype,
    check_num_parameters,
    check_tensor,
)
from .loading import CheckedModelMixin

AXES = ("electrode", "frequency", "window")


@dataclass
class EPGOutput(BaseOutput):
    """What [`EPGModel`] returns.

    Args:
        encoder_hidden_states (`torch.Tensor` of shape `[B, tokens, cross_attention_dim]`): the EEG tokens, keys and
            values of the denoiser's cross-attention; electrode varies slowest, window fastest.
        fusion_weights (`tuple` of `torch.Tensor`, *optional*): MHRSA's W (equation 35) of each stage, in [0, 1], shape
            `[B, channel, electrode, frequency, window]`; near 1 the past (or, in the second half of the channels, the
            future) is kept, near 0 this window replaces it.
    """

    encoder_hidden_states: torch.Tensor
    fusion_weights: tuple[torch.Tensor, ...] | None = None


def recur(candidates: torch.Tensor, logits: torch.Tensor, reverse: bool = False) -> torch.Tensor:
    r"""\( O_i = (1 - W_i) Z_i + W_i O_{i-1} \) along the first axis, with \( O_{-1} = 0 \) (equation 36).

    Args:
        candidates (`torch.Tensor` of shape `[window, ...]`): Z.
        logits (`torch.Tensor` of shape `[window, ...]`): W before its sigmoid. \( 1 - W \) is taken as the sigmoid of
            the negative, which is exact where W rounds to one.
        reverse (`bool`): run from the last window to the first.

    Returns:
        `torch.Tensor` of shape `[window, ...]`: O.
    """
    keep = torch.sigmoid(logits).unbind()
    admitted = (torch.sigmoid(-logits) * candidates).unbind()
    order = range(len(keep))
    states: list[torch.Tensor] = []
    for window in reversed(order) if reverse else order:
        states.append(admitted[window] + keep[window] * states[-1] if states else admitted[window])
    if reverse:
        states.reverse()
    return torch.stack(states)


class MultiHeadRecursiveSpectralAttention(nn.Module):
    r"""MHRSA (Figure 21): every window gathers from the others by a learned recursion.

    \( Z = \tanh(MLP_1(E)) \), \( W = sigmoid(MLP_2(E)) \) (equations 34, 35), O from [`recur`], output \( E + O \).
    The MLPs are pointwise; a head is a group of channels that mix only among themselves. The first half of the
    channels runs forward in time, the second half backward.

    Differs from the paper in: the text splits channels in two without saying why; since "each time step" is to
    integrate "all other time steps", the halves run in opposite directions. The residual, which the figure does not
    show, carries the level of the EEG past the tanh.

    Args:
        channels (`int`): an even number of channels.
        num_heads (`int`): groups of channels.
    """

    def __init__(self, channels: int, num_heads: int):
        super().__init__()
        self.candidates = self._mlp(channels, num_heads)
        self.fusion = self._mlp(channels, num_heads)

    @staticmethod
    def _mlp(channels: int, num_heads: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv3d(channels, channels, 1, groups=num_heads),
            nn.SiLU(),
            nn.Conv3d(channels, channels, 1, groups=num_heads),
        )

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`[B, channel, electrode, frequency, window]` to the same shape, and the logits of W."""
        # Errors of the sigmoid add up over the recursion, so that it runs in float32 at least.
        dtype = torch.promote_types(hidden_states.dtype, torch.float32)
        candidates = torch.tanh(self.candidates(hidden_states).to(dtype))
        logits = self.fusion(hidden_states).to(dtype)
        z_forward, z_backward = candidates.movedim(-1, 0).chunk(2, 2)
        w_forward, w_backward = logits.movedim(-1, 0).chunk(2, 2)
        gathered = torch.cat([recur(z_forward, w_forward), recur(z_backward, w_backward, reverse=True)], 2)
        return hidden_states + gathered.movedim(0, -1).to(hidden_states.dtype), logits


class EPGStage(nn.Module):
    """One resolution of [`EPGModel`]: stride-2 convolution (but in the first stage), residual blocks, MHRSA."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_layers: int,
        norm_num_groups: int,
        num_heads: int,
        downsamples: bool,
    ):
        super().__init__()
        self.downsample = Conv3d(in_channels, out_channels, stride=2) if downsamples else nn.Identity()
        self.resnets = nn.ModuleList(
            ResnetBlock3D(out_channels, out_channels, norm_num_groups) for _ in range(num_layers)
        )
        self.attention = MultiHeadRecursiveSpectralAttention(out_channels, num_heads)

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden_states = self.downsample(hidden_states)
        for resnet in self.resnets:
            hidden_states = resnet(hidden_states)
        return self.attention(hidden_states)


class TokenSelfAttention(nn.Module):
    """Self-attention over EEG tokens with a residual; only its input is normalised, so that their level remains."""

    def __init__(self, channels: int, head_dim: int | None):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, channels, head_dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        normalised = self.norm(tokens)
        attended, _ = self.attention(normalised, normalised)
        return tokens + attended


class TokenPositions(nn.Module):
    """Learned position of a token: the sum of one vector for each of its electrode, frequency and window."""

    def __init__(self, grid: tuple[int, int, int], channels: int):
        super().__init__()
        self.electrode = nn.Parameter(torch.empty(grid[0], 1, 1, channels))
        self.frequency = nn.Parameter(torch.empty(1, grid[1], 1, channels))
        self.window = nn.Parameter(torch.empty(1, 1, grid[2], channels))
        for table in (self.electrode, self.frequency, self.window):
            nn.init.normal_(table, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = self.electrode + self.frequency + self.window
        return tokens + positions.flatten(0, 2).to(tokens.dtype)


class EPGModel(AdapterMixin, CheckedModelMixin, AttentionMixin, ConfigMixin):
    r"""EEG prompt generator (section 3.3, Figure 19): spectra `[B, C, electrode, frequency, window]` to tokens.

    Stem convolution; stages of stride-2 convolution, residual blocks and MHRSA; self-attention; linear projection.
    With the defaults, the paper's: 1 x 64 x 134 x 10 becomes 16 x 34 x 3 = 1632 tokens of 128; 1,544,960 parameters.

    Differs from the paper in: MHRSA follows each stage's residual blocks, not every one of them (the same with one a
    stage, the default); a residual block has one skip around both of its convolutions instead of one around each.
    Widths, the stride of the stem and the number of heads are not given there.

    Args:
        in_channels (`int`): 1 for magnitude or power, 2 for complex spectra.
        sample_size (`tuple[int, int, int]`): electrodes, frequencies, windows.
        block_out_channels (`tuple[int, ...]`): channels of each stage, even.
        layers_per_block (`int`): residual blocks in a stage.
        num_spectral_attention_heads (`int`): heads of MHRSA, groups of channels.
        attention_head_dim (`int`, *optional*): head width of the self-attention; one head without it.
        cross_attention_dim (`int`): width of the tokens.
        norm_num_groups (`int`): groups of the normalisation.
        position_embeddings (`bool`): add a learned position to every token (the paper has none, and convolutions
            tell electrodes apart only near the borders).
        stem_stride (`int` or `tuple[int, int, int]`): stride of the stem; 2 is far cheaper than the paper's 1.
        encoder (`str`): `"epg"`, or `"linear"` for the ablation without EPG (3.5.4): one linear layer makes a token of
            each electrode's spectra, `[B, electrodes, cross_attention_dim]`; the options of the stages have no effect.

    Raises:
        InputError: when the configuration is impossible.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("EPGStage", "TokenSelfAttention")
    _repeated_blocks = ("EPGStage", "TokenSelfAttention")
    _skip_layerwise_casting_patterns = ("stem", "norm", "positions", "projection")

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        sample_size: tuple[int, int, int] = (64, 134, 10),
        block_out_channels: tuple[int, ...] = (32, 64, 128),
        layers_per_block: int = 1,
        num_spectral_attention_heads: int = 4,
        attention_head_dim: int | None = None,
        cross_attention_dim: int = 128,
        norm_num_groups: int = 8,
        position_embeddings: bool = False,
        stem_stride: int | tuple[int, int, int] = 1,
        encoder: str = "epg",
    ):
        self._check_config(self.config)
        super().__init__()
        self.gradient_checkpointing = False
        self.token_grid = self._grids(self.config)[-1] if encoder == "epg" else (sample_size[0], 1, 1)
        if encoder == "linear":
            width = cross_attention_dim
            self.projection = nn.Linear(in_channels * sample_size[1] * sample_size[2], cross_attention_dim)
        else:
            width = block_out_channels[-1]
            stride = stem_stride if isinstance(stem_stride, int) else tuple(stem_stride)
            self.stem = Conv3d(in_channels, block_out_channels[0], stride=stride)
            widths = (block_out_channels[0], *block_out_channels)
            self.stages = nn.ModuleList(
                EPGStage(
                    widths[i], widths[i + 1], layers_per_block, norm_num_groups, num_spectral_attention_heads, i > 0
                )
                for i in range(len(block_out_channels))
            )
            self.self_attention = TokenSelfAttention(width, attention_head_dim)
            self.projection = nn.Linear(width, cross_attention_dim)
        self.positions = TokenPositions(self.token_grid, width) if position_embeddings else None

    @staticmethod
    def _grids(config) -> list[tuple[int, int, int]]:
        """Electrodes, frequencies and windows in each stage: a stride rounds up."""
        stride = config.stem_stride
        strides = (stride,) * 3 if isinstance(stride, int) else stride
        grids = [tuple(math.ceil(size / step) for size, step in zip(config.sample_size, strides, strict=True))]
        for _ in config.block_out_channels[1:]:
            grids.append(tuple(math.ceil(size / 2) for size in grids[-1]))
        return grids

    @classmethod
    def _check_config(cls, config) -> None:
        check_integer("in_channels", config.in_channels, 1, MAX_CHANNELS)
        check_integers("sample_size", config.sample_size, 1, MAX_AXIS, (3, 3))
        check_integers("block_out_channels", config.block_out_channels, 2, MAX_CHANNELS, (1, MAX_LEVELS))
        check_integer("layers_per_block", config.layers_per_block, 1, MAX_LAYERS)
        check_integer("num_spectral_attention_heads", config.num_spectral_attention_heads, 1, MAX_CHANNELS)
        check_integer("cross_attention_dim", config.cross_attention_dim, 1, MAX_CHANNELS)
        check_integer("norm_num_groups", config.norm_num_groups, 1, MAX_CHANNELS)
        check_choice("encoder", config.encoder, ("epg", "linear"))
        check_boolean("position_embeddings", config.position_embeddings)
        if isinstance(config.stem_stride, list | tuple):
            check_integers("stem_stride", config.stem_stride, 1, 16, (3, 3))
        else:
            check_integer("stem_stride", config.stem_stride, 1, 16)
        channels = config.block_out_channels
        check_divisible("block_out_channels", channels, 2, "MHRSA's two halves")
        check_divisible(
            "block_out_channels", channels, config.num_spectral_attention_heads, "num_spectral_attention_heads"
        )
        check_group_norm(config.norm_num_groups, channels, cls._grids(config))
        if config.attention_head_dim is not None:
            check_integer("attention_head_dim", config.attention_head_dim, 1, MAX_CHANNELS)
            check_divisible("block_out_channels[-1]", channels[-1:], config.attention_head_dim, "attention_head_dim")
        convolutions = 54 * config.layers_per_block * sum(width * width for width in channels)
        convolutions += 27 * config.in_channels * channels[0]
        linear = config.in_channels * math.prod(config.sample_size[1:]) * config.cross_attention_dim
        check_num_parameters("EPGModel", linear if config.encoder == "linear" else convolutions)

    def forward(
        self, sample: torch.Tensor, return_fusion_weights: bool = False, return_dict: bool = True
    ) -> EPGOutput | tuple:
        """Encode EEG spectra.

        Args:
            sample (`torch.Tensor` of shape `[B, in_channels, electrode, frequency, window]`): normalised spectra.
            return_fusion_weights (`bool`): also return MHRSA's W.
            return_dict (`bool`): return an [`EPGOutput`] instead of a tuple.

        Returns:
            [`EPGOutput`] or `tuple`: the tokens and, if asked for, the fusion weights.

        Raises:
            InputError: when the tensor does not fit the configuration.
        """
        lengths = dict(zip(AXES, self.config.sample_size, strict=True))
        check_tensor("sample", sample, {"batch": None, "channel": self.config.in_channels, **lengths})
        check_model_device("sample", sample, self.projection.weight)
        fusion_logits: list[torch.Tensor] = []
        if self.config.encoder == "linear":
            tokens = self._encode_linear(sample, return_fusion_weights)
        else:
            tokens, fusion_logits = self._encode(sample)
        fusion_weights = tuple(torch.sigmoid(logits) for logits in fusion_logits) if return_fusion_weights else None
        if not return_dict:
            return (tokens,) if fusion_weights is None else (tokens, fusion_weights)
        return EPGOutput(encoder_hidden_states=tokens, fusion_weights=fusion_weights)

    def _encode(self, sample: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        check_model_dtype("sample", sample, self.stem.weight)
        hidden_states = self.stem(sample)
        fusion_logits = []
        for stage in self.stages:
            hidden_states, logits = self._run(stage, hidden_states)
            fusion_logits.append(logits)
        tokens = hidden_states.flatten(2).transpose(1, 2)
        if self.positions is not None:
            tokens = self.positions(tokens)
        tokens = self._run(self.self_attention, tokens)
        return self.projection(tokens), fusion_logits

    def _encode_linear(self, sample: torch.Tensor, return_fusion_weights: bool) -> torch.Tensor:
        if return_fusion_weights:
            raise InputError(
                "return_fusion_weights",
                found="True, with encoder='linear'",
                expected="False: a linear encoder has no MHRSA",
                remedy="Ask for fusion weights only from encoder='epg'.",
            )
        check_model_dtype("sample", sample, self.projection.weight)
        tokens = self.projection(sample.transpose(1, 2).flatten(2))
        return tokens if self.positions is None else self.positions(tokens)

    def _run(self, block: nn.Module, hidden_states: torch.Tensor):
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, hidden_states)
        return block(hidden_states)
