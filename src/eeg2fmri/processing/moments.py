"""Mean and standard deviation of spectra over many recordings, from sums that each recording gives once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, RecordingError
from ..shapes import EEGSpectra

SMALLEST_VARIANCE = 1e-12  # of the mean square: what rounding leaves of a constant


@dataclass(frozen=True)
class SpectralMoments:
    """Sums over the columns of one recording.

    Args:
        count (`int`): columns.
        total (`np.ndarray` of shape `[channel, electrode, frequency]`): their sum, float64.
        squares (`np.ndarray` of shape `[channel, electrode, frequency]`): the sum of their squares, float64.
    """

    count: int
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, spectra: EEGSpectra) -> SpectralMoments:
        """Sum over `[column, channel, electrode, frequency]`."""
        values = spectra.astype(np.float64)
        return cls(len(values), values.sum(axis=0), (values**2).sum(axis=0))


def mean_and_scale(
    moments: Sequence[SpectralMoments], sources: Sequence[str], *, keep_phase: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `[channel, electrode, frequency]`, float32, over the columns of all recordings.

    Args:
        moments: of each recording.
        sources: the recordings' names, for errors.
        keep_phase: the channels are real and imaginary part: mean 0, and one scale for both.

    Raises:
        InputError: fewer than two columns.
        RecordingError: an electrode and frequency that never varies.
    """
    count = sum(own.count for own in moments)
    if count < 2:
        raise InputError(
            "training recordings",
            found=f"{count} columns",
            expected="at least two",
            remedy="Give the training recordings.",
        )
    total = np.sum([own.total for own in moments], axis=0)
    squares = np.sum([own.squares for own in moments], axis=0)
    mean, variance = total / count, squares / count - (total / count) ** 2
    if keep_phase:
        mean = np.zeros_like(mean)
        variance = np.broadcast_to(squares.mean(axis=0) / count, mean.shape)
    if not (variance > SMALLEST_VARIANCE * squares / count).all():
        raise RecordingError(
            ", ".join(sources[:3]),
            found="an electrode and frequency that never varies",
            expected="signals that vary over the training recordings",
            remedy="Remove the recordings without signal.",
        )
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)
