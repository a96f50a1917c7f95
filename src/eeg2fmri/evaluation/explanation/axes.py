"""What the positions of an encoder's input and of its tokens mean: place, frequency, lag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...baselines.features import BANDS
from ...models.epg import EPGModel
from ...pipeline import EEG2fMRIPipeline

BAND_NAMES = tuple(BANDS)


@dataclass(frozen=True)
class InputAxes:
    """The axes of what the EEG encoder reads.

    Args:
        num_places (`int`): electrodes, or the spatial filters of the prior.
        ranges (`np.ndarray` of shape `[frequency, 2]`): Hz, from and to, of each position on the frequency axis.
        lags (`np.ndarray` of shape `[window]`): seconds from a window's middle to the volume's onset.
    """

    num_places: int
    ranges: np.ndarray
    lags: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Places, frequencies, windows."""
        return self.num_places, len(self.ranges), len(self.lags)


def spectrogram_axes(eeg_processor) -> InputAxes:
    """The axes of the electrodes' spectrogram."""
    config = eeg_processor.config
    centres = eeg_processor.frequencies
    half = (centres[1] - centres[0] if len(centres) > 1 else centres[0]) / 2
    middles = config.window_start + eeg_processor.window_duration * (np.arange(config.num_windows) + 0.5)
    return InputAxes(len(config.electrodes), np.stack([centres - half, centres + half], axis=1), -middles)


def encoder_axes(pipe: EEG2fMRIPipeline) -> InputAxes:
    """The axes of what the encoder reads: the spectrogram, or the prior's band powers."""
    axes = spectrogram_axes(pipe.eeg_processor)
    if pipe.prior is None:
        return axes
    ranges = [(axes.ranges[first, 0], axes.ranges[end - 1, 1]) for first, end in pipe.prior.config.bands]
    return InputAxes(pipe.prior.config.num_filters, np.array(ranges), axes.lags)


def band_shares(ranges: np.ndarray) -> np.ndarray:
    """Which share of each frequency range `[frequency, 2]` lies in each of the five bands, `[band, frequency]`."""
    limits = np.array(list(BANDS.values()))[:, None]
    overlap = np.minimum(limits[..., 1], ranges[:, 1]) - np.maximum(limits[..., 0], ranges[:, 0])
    return np.maximum(overlap, 0) / (ranges[:, 1] - ranges[:, 0])


def token_spread(length: int, num_tokens: int, stride: int) -> np.ndarray:
    """How a token's weight is divided among the positions that it stands for, `[position, token]`; columns sum to 1.

    Token j of a padded convolution with this stride is centred on position `j * stride`; its share falls linearly to
    the neighbouring tokens' centres.
    """
    distance = np.abs(np.arange(length)[:, None] - stride * np.arange(num_tokens))
    spread = np.maximum(1 - distance / stride, 0)
    return spread / spread.sum(axis=0)


def strides_at(encoder: EPGModel, stage: int) -> tuple[int, int, int]:
    """By how much each axis of the input is coarser in a stage (or, with the last one, in the tokens)."""
    stem = encoder.config.stem_stride
    first = (stem,) * 3 if isinstance(stem, int) else tuple(stem)
    return first[0] * 2**stage, first[1] * 2**stage, first[2] * 2**stage


def spread_tokens(encoder: EPGModel, weights: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Weights of tokens `[..., token]` to `[..., place, frequency, window]`; sums are kept.

    A linear encoder makes one token of each electrode: its weight is shared by all frequencies and windows alike.
    """
    grid = encoder.token_grid
    if encoder.config.encoder == "linear":
        return np.broadcast_to(weights[..., None, None] / (shape[1] * shape[2]), (*weights.shape[:-1], *shape))
    strides = strides_at(encoder, len(encoder.config.block_out_channels) - 1)
    spreads = [token_spread(*sizes) for sizes in zip(shape, grid, strides, strict=True)]
    return _contract(weights.reshape(*weights.shape[:-1], *grid), spreads)


def interpolate_stage(encoder: EPGModel, values: np.ndarray, stage: int, shape: Sequence[int]) -> np.ndarray:
    """Values `[..., place, frequency, window]` of a stage on the input's grid; a constant stays the same constant."""
    strides = strides_at(encoder, stage)
    spreads = [token_spread(*sizes) for sizes in zip(shape, values.shape[-3:], strides, strict=True)]
    return _contract(values, [spread / spread.sum(axis=1, keepdims=True) for spread in spreads])


def _contract(values: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
    return np.einsum("...abc,xa,yb,zc->...xyz", values, *matrices, optimize=True)
