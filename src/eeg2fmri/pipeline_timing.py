"""When the volumes of a call are: their onsets, and the one time between them that a NIfTI header has place for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .processing.eeg_checks import as_onsets
from .recordings.repetition_time import PLAUSIBLE_TR, check_repetition_time, is_plausible

TOLERANCE = 0.01  # of the repetition time: what triggers of a scanner scatter by


@dataclass(frozen=True)
class VolumeTimes:
    """What a caller says of the volumes' times.

    Args:
        onsets (`np.ndarray` of shape `[volume]`, *optional*): seconds; `None` for one every `repetition_time`.
        repetition_time (`float`): seconds.
    """

    onsets: np.ndarray | None
    repetition_time: float

    @classmethod
    def given(cls, onsets, repetition_time: float | None, default: float, *, needs_spacing: bool) -> VolumeTimes:
        """Check both arguments of a call.

        Args:
            onsets: as the caller gave them.
            repetition_time (`float`, *optional*): likewise.
            default (`float`): the checkpoint's, where neither says it.
            needs_spacing (`bool`): whether the volumes become an image.

        Raises:
            InputError: no times, or for an image: unequal spacing, or another one than `repetition_time`.
        """
        if repetition_time is not None:
            check_repetition_time(repetition_time)
        stated = default if repetition_time is None else repetition_time
        if onsets is None:
            return cls(None, stated)
        onsets = as_onsets(onsets)
        if not needs_spacing or len(onsets) == 1:
            return cls(onsets, stated)
        spacing = np.diff(onsets)
        mean = float(spacing.mean())
        if not is_plausible(mean) or np.abs(spacing - mean).max() > TOLERANCE * mean:
            raise InputError(
                "onsets",
                found=f"volumes {spacing.min():g} to {spacing.max():g} s apart",
                expected=f"equal spacing (within 1 %) of {PLAUSIBLE_TR}, since an image has one repetition time",
                remedy='Ask for another form of volumes, output_type="np" or "pt".',
            )
        if repetition_time is not None and abs(repetition_time - mean) > TOLERANCE * mean:
            raise InputError(
                "repetition_time",
                found=f"{repetition_time:g} s beside onsets {mean:g} s apart",
                expected="one of the two, or equal ones",
                remedy="Leave it out.",
            )
        return cls(onsets, mean)

    def check_count(self, num_volumes: int) -> None:
        """Refuse onsets that are not one for each volume of ready windows or tokens."""
        if self.onsets is not None and len(self.onsets) != num_volumes:
            raise InputError(
                "onsets",
                found=f"{len(self.onsets)} times for {num_volumes} volumes",
                expected="one for each window, or row of tokens",
                remedy="Give the onsets that the windows were made for.",
            )
