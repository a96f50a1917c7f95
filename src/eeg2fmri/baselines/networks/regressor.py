"""What the networks that turn an EEG window into a volume in one pass have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.utils import BaseOutput
from torch import nn

from ...models.blocks import (
    MAX_AXIS,
    MAX_CHANNELS,
    check_integer,
    check_integers,
    check_model_device,
    check_model_dtype,
    check_tensor,
)
from ...models.loading import CheckedModelMixin


@dataclass
class RegressionOutput(BaseOutput):
    """What a [`RegressionNetwork`] returns.

    Args:
        sample (`torch.Tensor` of shape `[B, 1, D, H, W]`): the volumes, in model units.
    """

    sample: torch.Tensor


class RegressionNetwork(CheckedModelMixin, ConfigMixin):
    """EEG spectra `[B, C, electrode, frequency, window]` to volumes `[B, 1, D, H, W]` in model units.

    A network has the options `in_channels`, `sample_size` (electrodes, frequencies, windows) and `volume_size`
    (D, H, W), which the data decide, beside its own. It implements `predict_volumes`. Its output is not bounded, since
    standardised changes are not.
    """

    _supports_gradient_checkpointing = True
    gradient_checkpointing = False

    @property
    def window_shape(self) -> tuple[int, int, int, int]:
        """Channel, electrode, frequency and window of the input."""
        electrodes, frequencies, windows = self.config.sample_size
        return self.config.in_channels, electrodes, frequencies, windows

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """Channel, depth, height and width of the volume."""
        depth, height, width = self.config.volume_size
        return 1, depth, height, width

    @staticmethod
    def _check_sizes(config) -> None:
        check_integer("in_channels", config.in_channels, 1, MAX_CHANNELS)
        check_integers("sample_size", config.sample_size, 1, MAX_AXIS, (3, 3))
        check_integers("volume_size", config.volume_size, 1, MAX_AXIS, (3, 3))

    def forward(self, sample: torch.Tensor, return_dict: bool = True) -> RegressionOutput | tuple:
        """Predict volumes.

        Args:
            sample (`torch.Tensor` of shape `[B, in_channels, electrode, frequency, window]`): normalised spectra.
            return_dict (`bool`): return a [`RegressionOutput`] instead of a tuple.

        Returns:
            [`RegressionOutput`] or `tuple`: the volumes.

        Raises:
            InputError: when the tensor does not fit the configuration.
        """
        self._check_sample(sample)
        volumes = self.predict_volumes(sample)
        return RegressionOutput(sample=volumes) if return_dict else (volumes,)

    def predict_volumes(self, sample: torch.Tensor) -> torch.Tensor:
        """Volumes `[B, 1, D, H, W]` of spectra that fit the configuration."""
        raise NotImplementedError

    def _check_sample(self, sample: torch.Tensor) -> None:
        names = ("channel", "electrode", "frequency", "window")
        check_tensor("sample", sample, {"batch": None, **dict(zip(names, self.window_shape, strict=True))})
        weight = next(self.parameters())
        check_model_dtype("sample", sample, weight)
        check_model_device("sample", sample, weight)

    def _run(self, block: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, hidden_states)
        return block(hidden_states)
