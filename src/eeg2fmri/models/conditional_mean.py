"""The conditional mean of the volume given the EEG: what a diffusion model's samples should scatter around."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils import BaseOutput
from torch import nn

from ..errors import InputError
from .blocks import (
    MAX_AXIS,
    MAX_CHANNELS,
    check_integer,
    check_integers,
    check_model_device,
    check_model_dtype,
    check_num_parameters,
    check_tensor,
)
from .loading import CheckedModelMixin

MAX_BANDS = 64
MOMENTUM = 0.02  # of the running statistics: about fifty batches
POWER_FLOOR = 1e-3  # of the normalised spectra's mean power: keeps the logarithm finite


@dataclass
class ConditionalMeanOutput(BaseOutput):
    """What [`ConditionalMeanModel`] returns.

    Args:
        sample (`torch.Tensor` of shape `[B, 1, D, H, W]`): the expected volume, in model units.
        band_powers (`torch.Tensor` of shape `[B, 1, filter, band, window]`): log power of the virtual channels,
            standardised: what an encoder above reads.
    """

    sample: torch.Tensor
    band_powers: torch.Tensor


class BandPower(nn.Module):
    r"""Log power of learned virtual channels in one frequency band.

    \( p_s = \ln(c + \sum_f h_f |\sum_e w_{se} X_{ef}|^2) \) with spatial filters w, a profile h over the band's
    frequencies that is positive and sums to one, and a small constant c. The filters act on the complex spectrum,
    before the power: sources that overlap at the scalp can't be separated afterwards.

    Args:
        num_electrodes (`int`): electrodes.
        band (`tuple[int, int]`): first frequency, and the one after the last, as indices.
        num_filters (`int`): virtual channels.
    """

    def __init__(self, num_electrodes: int, band: tuple[int, int], num_filters: int):
        super().__init__()
        self.band = slice(*band)
        self.filters = nn.Parameter(torch.randn(num_filters, num_electrodes) / math.sqrt(num_electrodes))
        self.profile = nn.Parameter(torch.zeros(band[1] - band[0]))

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        r"""`[B, 2, electrode, frequency, window]` to `[B, filter, window]`.

        Computed as \( w^T C w \) with the band's covariance C of the electrodes, which is smaller than the virtual
        channels' spectra; in float32 at least, since filters may cancel most of C.
        """
        dtype = torch.promote_types(spectra.dtype, torch.float32)
        filters, profile = self.filters.to(dtype), self.profile.to(dtype).softmax(0)
        columns = spectra[:, :, :, self.band].to(dtype).permute(0, 4, 2, 1, 3)  # [B, window, electrode, 2, frequency]
        covariance = (columns * profile).flatten(-2) @ columns.flatten(-2).transpose(-1, -2)
        pairs = (filters[:, :, None] * filters[:, None]).flatten(1)
        power = covariance.flatten(-2) @ pairs.T
        return torch.log(power.clamp(min=0) + POWER_FLOOR).transpose(1, 2).to(spectra.dtype)


class Standardisation(nn.Module):
    """Channels `[B, channel, ...]` to zero mean and unit variance: a batch's own in training, then running ones.

    Batch normalisation without its counter, an integer that no checkpoint of floating weights holds.
    """

    def __init__(self, num_channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_channels))
        self.register_buffer("variance", torch.ones(num_channels))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(values, self.mean, self.variance, training=self.training, momentum=MOMENTUM)


def haemodynamic_response(times: torch.Tensor) -> torch.Tensor:
    """SPM's canonical double-gamma response, with a sum of one.

    Args:
        times (`torch.Tensor`): seconds since the activity; negative ones have no response.
    """
    since = times.clamp(min=0).double()
    shapes = torch.tensor([6.0, 16.0], dtype=torch.float64)
    rise, undershoot = (since ** (shape - 1) * torch.exp(-since - torch.lgamma(shape)) for shape in shapes)
    response = rise - undershoot / 6
    return (response / response.sum()).to(times.dtype)


class ConditionalMeanModel(CheckedModelMixin, ConfigMixin):
    r"""EEG spectra `[B, 2, electrode, frequency, window]` to the expected volume `[B, 1, D, H, W]`.

    [`BandPower`] of every band, standardised by running statistics of training; in each window alike, a linear map
    and a small network beside it unmix the powers into components; each component is summed over the windows with
    weights of its own, which start as the canonical haemodynamic response; a map for each component makes the volume.
    Trained with the mean squared error on the volumes, it tends to their conditional mean.

    821,056 parameters with the defaults, all but 34,624 of them maps.

    No counterpart in the paper. A regression below a diffusion model of its residual is CorrDiff's arrangement
    (Mardani et al. 2023, arXiv:2309.15214).

    Args:
        sample_size (`tuple[int, int, int]`): electrodes, frequencies, windows.
        volume_size (`tuple[int, int, int]`): depth, height, width of the volume.
        bands (`tuple[tuple[int, int], ...]`): each band's first frequency, and the one after its last, as indices;
            bands may overlap.
        num_filters (`int`): spatial filters of each band.
        hidden_channels (`int`): width of the network that unmixes the powers.
        num_components (`int`): components with a response and a map.
        window_duration (`float`): seconds of one window.
        window_stop (`float`): seconds from the volume's onset to the last window's end.
        dropout (`float`): share of the powers that are zeroed in training, each in all windows.

    Raises:
        InputError: when the configuration is impossible.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        sample_size: tuple[int, int, int] = (16, 90, 12),
        volume_size: tuple[int, int, int] = (16, 32, 32),
        bands: tuple[tuple[int, int], ...] = ((1, 9), (7, 17), (15, 27), (25, 61), (59, 89)),
        num_filters: int = 48,
        hidden_channels: int = 64,
        num_components: int = 48,
        window_duration: float = 2.0,
        window_stop: float = 0.0,
        dropout: float = 0.0,
    ):
        self._check_config(self.config)
        super().__init__()
        self.band_powers = nn.ModuleList(BandPower(sample_size[0], (band[0], band[1]), num_filters) for band in bands)
        num_powers = len(bands) * num_filters
        self.norm = Standardisation(num_powers)
        self.power_dropout = nn.Dropout1d(dropout)
        self.unmix = nn.Conv1d(num_powers, num_components, 1)
        self.unmix_hidden = nn.Sequential(
            nn.Conv1d(num_powers, hidden_channels, 1), nn.GELU(), nn.Conv1d(hidden_channels, num_components, 1)
        )
        middles = window_stop - window_duration * (torch.arange(sample_size[2]).flip(0) + 0.5)
        self.response = nn.Parameter(haemodynamic_response(-middles).repeat(num_components, 1))
        # Without any map the model starts at the training mean, which is zero in standardised change.
        self.maps = nn.Parameter(torch.zeros(num_components, math.prod(volume_size)))

    @property
    def window_shape(self) -> tuple[int, int, int, int]:
        """Channel, electrode, frequency and window of the input."""
        electrodes, frequencies, windows = self.config.sample_size
        return 2, electrodes, frequencies, windows

    @property
    def band_power_shape(self) -> tuple[int, int, int, int]:
        """Channel, filter, band and window of the band powers."""
        return 1, self.config.num_filters, len(self.config.bands), self.config.sample_size[2]

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """Channel, depth, height and width of the volume."""
        depth, height, width = self.config.volume_size
        return 1, depth, height, width

    @staticmethod
    def _check_config(config) -> None:
        check_integers("sample_size", config.sample_size, 1, MAX_AXIS, (3, 3))
        check_integers("volume_size", config.volume_size, 1, MAX_AXIS, (3, 3))
        for name in ("num_filters", "hidden_channels", "num_components"):
            check_integer(name, config[name], 1, MAX_CHANNELS)
        _check_bands(config.bands, config.sample_size[1])
        _check_seconds("window_duration", config.window_duration, 1e-3, 3600.0)
        _check_seconds("window_stop", config.window_stop, -3600.0, 3600.0)
        if (
            isinstance(config.dropout, bool)
            or not isinstance(config.dropout, int | float)
            or not 0 <= config.dropout < 1
        ):
            raise InputError(
                "dropout",
                found=repr(config.dropout)[:80],
                expected="a share in [0, 1)",
                remedy="Correct the model's configuration.",
            )
        first = config.window_stop - config.window_duration * config.sample_size[2]
        if first + config.window_duration / 2 >= 0:
            raise InputError(
                "window_stop",
                found=f"windows from {first:g} to {config.window_stop:g} s",
                expected="some before the volume's onset, since BOLD follows the activity",
                remedy="Correct the model's configuration.",
            )
        num_powers = len(config.bands) * config.num_filters
        check_num_parameters(
            "ConditionalMeanModel",
            num_powers * (config.sample_size[0] + config.hidden_channels + config.num_components)
            + config.num_components * (math.prod(config.volume_size) + config.sample_size[2] + config.hidden_channels),
        )

    def forward(self, sample: torch.Tensor, return_dict: bool = True) -> ConditionalMeanOutput | tuple:
        """Predict the expected volumes.

        Args:
            sample (`torch.Tensor` of shape `[B, 2, electrode, frequency, window]`): normalised complex spectra, real
                and imaginary part.
            return_dict (`bool`): return a [`ConditionalMeanOutput`] instead of a tuple.

        Returns:
            [`ConditionalMeanOutput`] or `tuple`: the volumes and the band powers.

        Raises:
            InputError: when the tensor does not fit the configuration.
        """
        names = ("channel", "electrode", "frequency", "window")
        check_tensor("sample", sample, {"batch": None, **dict(zip(names, self.window_shape, strict=True))})
        check_model_dtype("sample", sample, self.maps)
        check_model_device("sample", sample, self.maps)
        courses, powers = self.components(sample)
        volumes = (courses @ self.maps).unflatten(1, self.output_shape)
        _, filters, bands, _ = self.band_power_shape
        band_powers = powers.unflatten(1, (bands, filters)).transpose(1, 2).unsqueeze(1)
        if not return_dict:
            return volumes, band_powers
        return ConditionalMeanOutput(sample=volumes, band_powers=band_powers)

    def components(self, sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Components `[B, component]`, which the maps weigh, and standardised powers `[B, band * filter, window]`.

        Args:
            sample (`torch.Tensor` of shape `[B, 2, electrode, frequency, window]`): as for the whole model.
        """
        powers = self.norm(torch.cat([band(sample) for band in self.band_powers], dim=1))
        kept = self.power_dropout(powers)
        components = self.unmix(kept) + self.unmix_hidden(kept)
        return (components * self.response).sum(-1), powers


def _check_bands(bands: object, num_frequencies: int) -> None:
    """Refuse bands that are empty or leave the spectrum."""
    if not isinstance(bands, list | tuple) or not 1 <= len(bands) <= MAX_BANDS:
        raise InputError(
            "bands",
            found=repr(bands)[:80],
            expected=f"1 to {MAX_BANDS} pairs of frequency indices",
            remedy="Correct the model's configuration.",
        )
    for index, band in enumerate(bands):
        check_integers(f"bands[{index}]", band, 0, num_frequencies, (2, 2))
        if not band[0] < band[1]:
            raise InputError(
                f"bands[{index}]",
                found=repr(list(band)),
                expected="a first frequency below the end",
                remedy="Correct the model's configuration.",
            )


def _check_seconds(subject: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(
            subject,
            found=repr(value)[:80],
            expected=f"a number of seconds from {low:g} to {high:g}",
            remedy="Correct the model's configuration.",
        )
