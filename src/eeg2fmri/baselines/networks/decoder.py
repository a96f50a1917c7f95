"""From a coarse grid of features to a volume."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ...models.blocks import (
    MAX_CHANNELS,
    MAX_LEVELS,
    Conv3d,
    ResnetBlock3D,
    check_divisible,
    check_group_norm,
    check_integer,
    check_integers,
    upsample,
)


def coarse_grid(volume_size: Sequence[int], num_blocks: int) -> tuple[int, int, int]:
    """D, H and W where [`VolumeDecoder`] starts: every block but the last is followed by a doubling."""
    depth, height, width = (size // 2 ** (num_blocks - 1) for size in volume_size)
    return depth, height, width


class VolumeDecoder(nn.Module):
    """Residual blocks with nearest-neighbour doubling between them, `[B, in_channels, d, h, w]` to `[B, C, D, H, W]`.

    Only the blocks' inner paths are normalised, so that the level of the features, the EEG's power, remains.

    Args:
        in_channels (`int`): features of the coarse grid.
        block_out_channels (`Sequence[int]`): channels of each block, from the coarsest.
        norm_num_groups (`int`): groups of the normalisation.
        out_channels (`int`): channels of the volume.
    """

    gradient_checkpointing = False

    def __init__(
        self, in_channels: int, block_out_channels: Sequence[int], norm_num_groups: int, out_channels: int = 1
    ):
        super().__init__()
        widths = (in_channels, *block_out_channels)
        self.blocks = nn.ModuleList(
            ResnetBlock3D(before, after, norm_num_groups) for before, after in itertools.pairwise(widths)
        )
        self.conv_out = Conv3d(widths[-1], out_channels)

    @staticmethod
    def check_config(block_out_channels, norm_num_groups, volume_size: Sequence[int]) -> None:
        """Refuse channels or groups of a configuration that can't be, or don't fit the volume."""
        check_integers("block_out_channels", block_out_channels, 1, MAX_CHANNELS, (1, MAX_LEVELS))
        check_integer("norm_num_groups", norm_num_groups, 1, MAX_CHANNELS)
        num_blocks = len(block_out_channels)
        check_divisible("volume_size", volume_size, 2 ** (num_blocks - 1), "doubled between blocks")
        grids = [coarse_grid(volume_size, num_blocks - level) for level in range(num_blocks)]
        check_group_norm(norm_num_groups, block_out_channels, grids)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        for level, block in enumerate(self.blocks):
            if level > 0:
                hidden_states = upsample(hidden_states)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden_states = self._gradient_checkpointing_func(block, hidden_states)
            else:
                hidden_states = block(hidden_states)
        return self.conv_out(F.silu(hidden_states))
