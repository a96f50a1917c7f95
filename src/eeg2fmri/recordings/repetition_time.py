"""The repetition time of a BOLD run: what its header and its BIDS sidecar say, and whether that can be."""

from __future__ import annotations

import math
import os
from numbers import Real
from pathlib import Path
from typing import TypeGuard

import nibabel
import numpy as np

from ..errors import InputError, RecordingError
from .sidecars import read_json, sidecars_of

SECONDS_PER_UNIT = {0: 1.0, 8: 1.0, 16: 1e-3, 24: 1e-6}  # NIfTI time units: unknown, s, ms, us
TIME_UNITS_MASK = 0x38
SHORTEST_TR, LONGEST_TR = 0.05, 60.0  # s
LARGEST_DIFFERENCE = 0.01  # share of the repetition time
LARGEST_SHIFT = 0.1  # repetition times, of a run's last volume
PLAUSIBLE_TR = f"{SHORTEST_TR} to {LONGEST_TR:g} s"


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite real number (a bool is none)."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond float's range
        return False


def is_plausible(repetition_time: object) -> TypeGuard[float]:
    """Whether this can be the time between two volumes, in seconds."""
    return is_number(repetition_time) and SHORTEST_TR <= repetition_time <= LONGEST_TR


def agree(one: float, other: float, num_volumes: int) -> bool:
    """Whether two repetition times, in seconds, agree within 1 % and place a run's last volume within 0.1 of them."""
    largest = min(LARGEST_DIFFERENCE, LARGEST_SHIFT / max(1, num_volumes - 1))
    return abs(one - other) <= largest * min(one, other)


def check_repetition_time(repetition_time: object) -> None:
    """Refuse an argument that can't be the time between two volumes, in seconds.

    Raises:
        InputError: no number, or outside 0.05 to 60 s.
    """
    if not is_plausible(repetition_time):
        raise InputError(
            "repetition_time",
            found=repr(repetition_time),
            expected=PLAUSIBLE_TR,
            remedy="Give the time between two volumes in seconds (not milliseconds).",
        )


def repetition_time_of(path: Path, header: nibabel.Nifti1Header, num_volumes: int) -> float:
    """The time between two volumes, from the header, checked against its JSON sidecars.

    Args:
        path (`Path`): the image.
        header (`nibabel.Nifti1Header`): its header.
        num_volumes (`int`): its volumes; a small difference adds up over them.

    Returns:
        `float`: seconds. The sidecar's where the header's is missing or implausible, otherwise the header's.

    Raises:
        RecordingError: no plausible value, or two that differ by more than 1 %, or by 0.1 repetition times at the last
            volume.
        FileError: a sidecar is a pointer or no JSON.
    """
    in_header, in_sidecar = _header_repetition_time(header), _sidecar_repetition_time(path)
    stated = f"a repetition time of {in_header:g} s in the header"
    stated += f" and {in_sidecar:g} s in the JSON sidecar" if in_sidecar is not None else " and no sidecar value"
    plausible = [value for value in (in_header, in_sidecar) if is_plausible(value)]
    if not plausible:
        raise RecordingError(
            path,
            found=stated,
            expected=PLAUSIBLE_TR,
            remedy="State it in seconds (repetition_time=), or put RepetitionTime into a JSON file beside the image.",
        )
    if not agree(plausible[0], plausible[-1], num_volumes):
        raise RecordingError(
            path,
            found=f"{stated}: {abs(plausible[0] - plausible[-1]) * (num_volumes - 1):g} s over {num_volumes} volumes",
            expected=f"values that agree within 1 %, and within {LARGEST_SHIFT:g} repetition times at the last volume",
            remedy="Find out which one the scanner used, and state it in seconds (repetition_time=).",
        )
    return plausible[0]


def _header_repetition_time(header: nibabel.Nifti1Header) -> float:
    seconds = SECONDS_PER_UNIT.get(int(header["xyzt_units"]) & TIME_UNITS_MASK, math.nan)
    # Through the shortest decimal, so that a float32 2.16 is 2.16 again.
    return round(float(str(np.float32(header["pixdim"][4]))) * seconds, 9)


def bold_sidecars(path: Path) -> list[Path]:
    """The JSON sidecars of an image, the most general first: those of a BIDS tree, and that of the same name."""
    namesake = path.absolute().with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    inherited = [sidecar for sidecar in sidecars_of(path, "bold", ".json") if sidecar != namesake]
    return [*inherited, namesake] if os.path.lexists(namesake) else inherited


def _sidecar_repetition_time(path: Path) -> float | None:
    value, sidecar = read_json(bold_sidecars(path)).get("RepetitionTime", (None, path))
    if value is not None and not is_number(value):
        raise RecordingError(
            sidecar,
            found=f"RepetitionTime {value!r}",
            expected="a number of seconds",
            remedy="Repair the sidecar.",
        )
    return None if value is None else float(value)
