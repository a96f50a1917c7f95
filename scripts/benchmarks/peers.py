"""Denoisers of other libraries, with about as many parameters as ours and the same inputs.

Not like for like: MONAI's and diffusers' networks have self-attention and feed-forward layers beside the
cross-attention, and one residual block more at every level of the decoder; diffusers' is made for video (2-D
convolutions with 1-D ones between frames) and never halves the depth. They are narrower, as the parameters demand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import UNet3DConditionModel
from torch import nn

from eeg2fmri import FDUNetModel
from eeg2fmri.errors import InputError

from .measuring import count_parameters


def predict_ours(unet: nn.Module, volume: torch.Tensor, timestep: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return unet(volume, timestep, tokens).sample


def _predict_monai(unet: nn.Module, volume: torch.Tensor, timestep: torch.Tensor, tokens: torch.Tensor):
    return unet(volume, timesteps=timestep, context=tokens)


def _build_monai(unet: FDUNetModel, widths: tuple[int, ...]) -> nn.Module:
    try:
        import einops  # noqa: F401 - MONAI imports it when the network is built
        from monai.networks.nets import DiffusionModelUNet
    except ImportError as error:
        raise InputError(
            "monai",
            found=f"that it can't be imported ({error})",
            expected="MONAI, to compare with",
            remedy="Run `pip install '.[bench]'`.",
        ) from error
    config = unet.config
    return DiffusionModelUNet(
        spatial_dims=3,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        num_res_blocks=config.layers_per_block,
        channels=widths,
        attention_levels=tuple(level in config.interaction_levels for level in range(len(widths))),
        norm_num_groups=config.norm_num_groups,
        num_head_channels=widths,  # one head, as ours has
        with_conditioning=True,
        cross_attention_dim=config.cross_attention_dim,
        use_flash_attention=True,
    )


def _build_diffusers(unet: FDUNetModel, widths: tuple[int, ...]) -> nn.Module:
    config = unet.config
    kinds = ["CrossAttn" if level in config.interaction_levels else "" for level in range(len(widths))]
    return UNet3DConditionModel(
        sample_size=config.sample_size[1],
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        down_block_types=tuple(f"{kind}DownBlock3D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock3D" for kind in reversed(kinds)),
        block_out_channels=widths,
        layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups,
        cross_attention_dim=config.cross_attention_dim,
        attention_head_dim=config.norm_num_groups,
    )


TOLERANCE = 0.05  # of the number of parameters


@dataclass(frozen=True)
class Peer:
    """A network of another library: `build(unet, widths)` makes one of these widths for the inputs of `unet`."""

    build: Callable[[FDUNetModel, tuple[int, ...]], nn.Module]
    predict: Callable[..., torch.Tensor]

    def widths(self, unet: FDUNetModel) -> tuple[int, ...]:
        """Channels of the levels that give as many parameters as ours has, to 5 %.

        In our proportions, as wide as the parameters allow; the coarsest level is fitted to their number.

        Raises:
            InputError: when no width does.
        """
        wanted, group, (*finer, _) = (
            count_parameters(unet),
            unet.config.norm_num_groups,
            unet.config.block_out_channels,
        )
        for width in range(finer[0], 0, -group):
            scaled = tuple(width * level // finer[0] for level in finer)
            if any(level % group for level in scaled):
                continue
            sizes = {last: self._size(unet, (*scaled, last)) for last in range(scaled[-1], 3 * scaled[-1] + 1, group)}
            last = min(sizes, key=lambda last: abs(sizes[last] - wanted))
            if abs(sizes[last] / wanted - 1) <= TOLERANCE:
                return (*scaled, last)
        raise InputError(
            "unet",
            found=f"{wanted} parameters",
            expected="a size that the other network can have",
            remedy="Compare larger networks.",
        )

    def _size(self, unet: FDUNetModel, widths: tuple[int, ...]) -> int:
        with torch.device("meta"):
            return count_parameters(self.build(unet, widths))


PEERS = {
    "MONAI DiffusionModelUNet": Peer(_build_monai, _predict_monai),
    "diffusers UNet3DConditionModel": Peer(_build_diffusers, predict_ours),
}
