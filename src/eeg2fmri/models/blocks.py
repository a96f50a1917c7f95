"""What both networks are built of: checks of sizes, residual blocks, resampling by two, attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
import torch.nn.functional as F
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import nn

from ..errors import InputError

# Bounds of a configuration: far above any use, far below what would exhaust a machine before a message is shown.
MAX_AXIS = 4096
MAX_CHANNELS = 8192
MAX_LEVELS = 8
MAX_LAYERS = 16
MAX_PATCH = 16
MAX_PARAMETERS = 2**30


def check_integer(subject: str, value: object, low: int, high: int) -> None:
    """Refuse a configuration value that is no integer between `low` and `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(
            subject,
            found=_brief(value),
            expected=f"an integer from {low} to {high}",
            remedy="Correct the model's configuration.",
        )


def check_integers(subject: str, values: object, low: int, high: int, num_values: tuple[int, int]) -> None:
    """Refuse a configuration value that is no list of `num_values` (fewest, most) integers in the range."""
    fewest, most = num_values
    if not isinstance(values, list | tuple) or not fewest <= len(values) <= most:
        raise InputError(
            subject,
            found=_brief(values),
            expected=f"a list of {fewest if fewest == most else f'{fewest} to {most}'} integers",
            remedy="Correct the model's configuration.",
        )
    for index, value in enumerate(values):
        check_integer(f"{subject}[{index}]", value, low, high)


def check_boolean(subject: str, value: object) -> None:
    """Refuse a configuration value that is neither true nor false."""
    if not isinstance(value, bool):
        raise InputError(
            subject, found=_brief(value), expected="true or false", remedy="Correct the model's configuration."
        )


def check_choice(subject: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a configuration value that is none of the names in `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(
            subject,
            found=_brief(value),
            expected=f"one of {list(choices)}",
            remedy="Correct the model's configuration.",
        )


def check_divisible(subject: str, sizes: Sequence[int], divisor: int, why: str) -> None:
    """Refuse sizes that `divisor`, a number with the meaning `why`, does not divide."""
    if any(size % divisor for size in sizes):
        raise InputError(
            subject,
            found=f"{list(sizes)}",
            expected=f"multiples of {divisor} ({why})",
            remedy="Correct the model's configuration.",
        )


def check_num_parameters(subject: str, num_parameters: int) -> None:
    """Refuse a configuration whose network could not be held in memory; the count may be an estimate."""
    if num_parameters > MAX_PARAMETERS:
        raise InputError(
            subject,
            found=f"a configuration of about {num_parameters:.1e} parameters",
            expected=f"at most {MAX_PARAMETERS:.1e}",
            remedy="Reduce channels, layers or sizes in the model's configuration.",
        )


def check_group_norm(num_groups: int, channels: Sequence[int], grids: Sequence[Sequence[int]]) -> None:
    """Refuse groups that do not divide the channels, or that hold one value only (normalised, it is always zero)."""
    check_divisible("block_out_channels", channels, num_groups, "norm_num_groups")
    for width, grid in zip(channels, grids, strict=True):
        if width == num_groups and all(size == 1 for size in grid):
            raise InputError(
                "norm_num_groups",
                found=f"{num_groups} groups of {width} channels at one position",
                expected="more than one value in a group",
                remedy="Use fewer groups, fewer levels or a larger sample_size.",
            )


def check_tensor(subject: str, tensor: object, axes: dict[str, int | None], dtype: torch.dtype | None = None) -> None:
    """Refuse an argument that is no floating tensor of the named axes; only static facts are read, so it compiles.

    Args:
        subject (`str`): the argument's name.
        tensor: what was given.
        axes (`dict`): length of each axis by name, `None` where any will do.
        dtype (`torch.dtype`, *optional*): the dtype it must have.
    """
    if not isinstance(tensor, torch.Tensor):
        _refuse_tensor(subject, type(tensor).__name__, "a torch tensor")
    if not tensor.is_floating_point() or (dtype is not None and tensor.dtype != dtype):
        _refuse_tensor(subject, f"dtype {tensor.dtype}", f"dtype {dtype or 'float32, float64, float16 or bfloat16'}")
    if tensor.ndim != len(axes):
        _refuse_tensor(subject, f"{tensor.ndim} axes, shape {list(tensor.shape)}", f"{len(axes)} axes, {list(axes)}")
    for (name, expected), found in zip(axes.items(), tensor.shape, strict=True):
        if expected is not None and found != expected:
            _refuse_tensor(subject, f"{found} along axis '{name}', shape {list(tensor.shape)}", f"{expected} there")


def check_model_dtype(subject: str, tensor: torch.Tensor, weight: torch.Tensor) -> None:
    """Refuse a tensor in another dtype than the model's, unless autocast converts both."""
    if tensor.dtype != weight.dtype and not torch.is_autocast_enabled(tensor.device.type):
        _refuse_tensor(subject, f"dtype {tensor.dtype}", f"the model's dtype {weight.dtype}")


def check_model_device(subject: str, tensor: torch.Tensor, weight: torch.Tensor) -> None:
    """Refuse a tensor that holds no numbers, or lies on the CPU while the model is on an accelerator.

    The reverse is no error: offloading moves weights to the tensor's device when their layer runs.
    """
    device = weight.device
    if tensor.device != device and tensor.device.type in ("meta", "cpu") and device.type != "meta":
        _refuse_tensor(subject, f"device {tensor.device}", f"the model's device {device}")


def _refuse_tensor(subject: str, found: str, expected: str) -> NoReturn:
    raise InputError(
        subject, found=found, expected=expected, remedy="Give a tensor that matches the model's configuration."
    )


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class Conv3d(nn.Conv3d):
    """3x3x3 convolution that pads by itself where an axis is shorter than the kernel.

    There, the bfloat16 weight gradient of torch's padded convolution on CPUs reads memory that was never written (seen
    with torch 2.13): now and then a gradient is infinite, and more often silently wrong.

    `peft` makes the two halves of an adapter of this same class, of which the second is a 1x1x1 convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...] = 3,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | None = None,
        **options,
    ):
        if padding is None:
            padding = 1 if kernel_size == 3 else 0
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, padding=padding, **options)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if min(hidden_states.shape[2:]) >= self.kernel_size[0]:
            return super().forward(hidden_states)
        return F.conv3d(F.pad(hidden_states, (1,) * 6), self.weight, self.bias, self.stride)


class ConvBlock3D(nn.Module):
    """SiLU(GroupNorm(Conv3d(x))): the paper's order (3.2.1) of convolution, normalisation, activation."""

    def __init__(self, in_channels: int, out_channels: int, norm_num_groups: int):
        super().__init__()
        self.conv = Conv3d(in_channels, out_channels)
        self.norm = nn.GroupNorm(norm_num_groups, out_channels)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return F.silu(self.norm(self.conv(hidden_states)))


class ResnetBlock3D(nn.Module):
    r"""3D-ResNet block (3.2.1, Figures 17 and 20): \( skip(x) + block_2(block_1(x) + time) \).

    Both ConvBlocks normalise the whole feature map and so lose its overall level. In EEG that level is band power,
    which drives BOLD: the skip path carries it on and must never be normalised.

    Args:
        in_channels (`int`): channels of the input.
        out_channels (`int`): channels of the output; the skip is a 1x1x1 convolution where they differ.
        norm_num_groups (`int`): groups of the normalisation.
        time_embedding_dim (`int`, *optional*): width of the embedded time step; without it the block has none.
    """

    def __init__(
        self, in_channels: int, out_channels: int, norm_num_groups: int, time_embedding_dim: int | None = None
    ):
        super().__init__()
        self.block_1 = ConvBlock3D(in_channels, out_channels, norm_num_groups)
        self.block_2 = ConvBlock3D(out_channels, out_channels, norm_num_groups)
        self.time_projection = None if time_embedding_dim is None else nn.Linear(time_embedding_dim, out_channels)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, hidden_states: torch.Tensor, time_embedding: torch.Tensor | None = None) -> torch.Tensor:
        residual = self.skip(hidden_states)
        hidden_states = self.block_1(hidden_states)
        if self.time_projection is not None:
            time_shift = self.time_projection(F.silu(time_embedding))
            hidden_states = hidden_states + time_shift[:, :, None, None, None]
        return residual + self.block_2(hidden_states)


def space_to_depth(sample: torch.Tensor, size: int) -> torch.Tensor:
    """Cubes of voxels to channels: `[B, C, D, H, W]` to `[B, C * size**3, D / size, H / size, W / size]`."""
    if size == 1:
        return sample
    cubes = sample.unflatten(4, (-1, size)).unflatten(3, (-1, size)).unflatten(2, (-1, size))
    return cubes.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def depth_to_space(sample: torch.Tensor, size: int) -> torch.Tensor:
    """Undo [`space_to_depth`]."""
    if size == 1:
        return sample
    cubes = sample.unflatten(1, (-1, size, size, size)).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return cubes.flatten(6, 7).flatten(4, 5).flatten(2, 3)


def downsample(volume: torch.Tensor) -> torch.Tensor:
    """Mean of every 2x2x2 cube, `[B, C, 2D, 2H, 2W]` to `[B, C, D, H, W]` (3.2.1: 3-D pooling).

    Written as sums of neighbours because `avg_pool3d` has no bfloat16 kernel on CPUs and no deterministic backward on
    CUDA, and because `mean` over the split axes is several times slower.
    """
    for axis in (2, 3, 4):
        even, odd = volume.unflatten(axis, (-1, 2)).unbind(axis + 1)
        volume = (even + odd) * 0.5
    return volume


def upsample(volume: torch.Tensor) -> torch.Tensor:
    """Nearest-neighbour doubling of the three spatial axes (3.2.1)."""
    return F.interpolate(volume, scale_factor=2.0, mode="nearest")


class EEG2fMRIAttnProcessor:
    r"""\( softmax(Q K^T / \sqrt{d_k}) V \) (equations 32, 33) through the attention backend chosen in diffusers.

    No backend returns its attention map; where one is asked for, the same formula is computed in the open.
    """

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        return_attention: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        query = attn.to_q(hidden_states).unflatten(-1, (attn.heads, -1))
        key = attn.to_k(encoder_hidden_states).unflatten(-1, (attn.heads, -1))
        value = attn.to_v(encoder_hidden_states).unflatten(-1, (attn.heads, -1))
        if not return_attention:
            attended = dispatch_attention_fn(
                query, key, value, backend=self._attention_backend, parallel_config=self._parallel_config
            )
            return attn.to_out(attended.flatten(2))
        scores = torch.einsum("bqhd,bkhd->bhqk", query * query.shape[-1] ** -0.5, key)
        weights = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(-1)
        attended = torch.einsum("bhqk,bkhd->bqhd", weights.to(value.dtype), value)
        return attn.to_out(attended.flatten(2)), weights


class Attention(nn.Module, AttentionModuleMixin):
    """Multi-head attention of queries `[B, queries, query_dim]` over tokens `[B, tokens, token_dim]`.

    Q, K and V are linear without bias (equations 29-31; a bias of the keys would have no effect on the softmax).

    Args:
        query_dim (`int`): width of the queries and of the output; also the width of all heads together.
        token_dim (`int`): width of the tokens.
        head_dim (`int`, *optional*): width of a head, \\( d_k \\); one head as wide as `query_dim` without it.
    """

    _default_processor_cls = EEG2fMRIAttnProcessor
    _available_processors = (EEG2fMRIAttnProcessor,)
    _supports_qkv_fusion = False

    def __init__(self, query_dim: int, token_dim: int, head_dim: int | None = None):
        super().__init__()
        self.heads = query_dim // (head_dim or query_dim)
        self.to_q = nn.Linear(query_dim, query_dim, bias=False)
        self.to_k = nn.Linear(token_dim, query_dim, bias=False)
        self.to_v = nn.Linear(token_dim, query_dim, bias=False)
        self.to_out = nn.Linear(query_dim, query_dim)
        self.set_processor(EEG2fMRIAttnProcessor())

    def forward(
        self, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, return_attention: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if return_attention:
            return self.processor(self, hidden_states, encoder_hidden_states, return_attention=True)
        return self.processor(self, hidden_states, encoder_hidden_states), None
