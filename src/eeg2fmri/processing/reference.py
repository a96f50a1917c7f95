"""VolumeReference: what a subject's volumes are relative to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import nibabel
import numpy as np

from ..errors import InputError, RecordingError
from ..recordings.bold import BOLDRun
from .filters import brain_mask
from .grids import same_axes

AFFINE_TOLERANCE = 1e-3  # mm
SMALLEST_SCALE = 1e-3  # of the brain's median signal
SMALLEST_OVERLAP = 0.5  # Dice
FEWEST_VOLUMES = 20  # for a standard deviation of a run's own


@dataclass(frozen=True)
class VolumeReference:
    """What a subject's volumes are relative to, on the model's padded grid.

    Args:
        mean (`np.ndarray` of shape `[D, H, W]`): mean volume, BOLD units; 0 in the padding.
        scale (`np.ndarray` of shape `[D, H, W]`): standard deviation over time, BOLD units; never 0. The min-max
            modes don't need it: a run's own reference has 1 there.
        mask (`np.ndarray` of shape `[D, H, W]`): bool, the brain; in a min-max mode's own reference the whole grid.
        low, high (`float`): what -1 and 1 mean in the min-max modes, BOLD units.
        affine (`np.ndarray` of shape `[4, 4]`): voxel indices (x, y, z) of the grid without padding to mm.
        source (`str`): the file, or `"template"`.
    """

    mean: np.ndarray
    scale: np.ndarray
    mask: np.ndarray
    low: float
    high: float
    affine: np.ndarray
    source: str

    def relative_scale(self) -> np.ndarray:
        """Scale over mean inside the brain, and its median outside, where the mean says nothing."""
        inside = self.mask & (self.mean > 0)
        relative = np.divide(self.scale, self.mean, out=np.zeros_like(self.mean), where=inside)
        return np.where(inside, relative, np.median(relative[inside]))


def average(references: Iterable[VolumeReference], *, same_space: bool) -> VolumeReference:
    """The template of many runs, one in memory at a time.

    The mean is that of the runs' means, each first scaled to the same median in its brain, since the scanner's gain
    differs; the scale is the mean relative scale times that mean; the mask is the majority's; low and high are the
    mean's; the affine is the first run's.

    Args:
        references (iterable of `VolumeReference`): the runs' own, all of one shape.
        same_space (`bool`): all affines must be those of the first; otherwise their axes' directions.

    Raises:
        InputError: there are none.
        RecordingError: another affine or orientation than the first, or no voxel that most masks share.
    """
    first, medians = None, []
    for own in references:
        if first is None:
            first = own
            mean, relative, inside = np.zeros((3, *own.mean.shape))
        if same_space and not same_affine(own.affine, first.affine):
            raise RecordingError(
                own.source,
                found=f"the affine {own.affine.round(3).tolist()}",
                expected=f"that of {first.source}, {first.affine.round(3).tolist()}",
                remedy="Resample all training runs to one grid, or fit with space='native'.",
            )
        if not same_axes(own.affine, first.affine):
            raise other_axes(own, first)
        medians.append(np.median(own.mean[own.mask]))
        mean += own.mean / medians[-1]
        relative += own.relative_scale() * own.mask
        inside += own.mask
    if first is None:
        raise InputError("runs", found="no run", expected="at least one", remedy="Give the training runs.")
    mask = 2 * inside > len(medians)
    if not mask.any():
        raise RecordingError(
            first.source,
            found="no voxel that lies in the brain in most runs",
            expected="runs of the same space",
            remedy="Normalise the training runs to one space first.",
        )
    mean = (mean * np.mean(medians) / len(medians)).astype(np.float32)
    scale = floored(mean * relative / np.maximum(inside, 1), mean, mask)
    return VolumeReference(mean, scale, mask, float(mean.min()), float(mean.max()), first.affine, "template")


def floored(scale: np.ndarray, mean: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Raise scales that are too small for BOLD (constant voxels) to a thousandth of the brain's median signal."""
    return np.maximum(scale, SMALLEST_SCALE * np.median(mean[mask])).astype(np.float32)


def within(own: VolumeReference, template: VolumeReference) -> VolumeReference:
    """A run's reference with the template's brain, as far as it lies in the run's field of view (its mean above 0)."""
    return replace(own, mask=template.mask & (own.mean > 0))


def same_affine(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two affines agree within 0.001 mm."""
    return np.allclose(one, other, rtol=0, atol=AFFINE_TOLERANCE)


def other_axes(own: VolumeReference, common: VolumeReference) -> RecordingError:
    """The error for a run whose voxel axes run elsewhere than the others': left would be taken for right."""
    codes = ["".join(nibabel.aff2axcodes(reference.affine)) for reference in (own, common)]
    return RecordingError(
        own.source,
        found=f"voxel axes in the order {codes[0]}",
        expected=f"{codes[1]}, as {common.source} has them",
        remedy="Store all runs in one orientation, e.g. with nibabel.as_closest_canonical or fslreorient2std.",
    )


def check_overlap(mean: np.ndarray, template: VolumeReference, source: str) -> None:
    """Refuse a run whose brain isn't where the template's is.

    Raises:
        RecordingError: less than half of both brains in common (Dice).
    """
    mask = brain_mask(mean, source) if mean.any() else np.zeros(mean.shape, bool)
    overlap = 2 * np.count_nonzero(mask & template.mask) / (np.count_nonzero(mask) + np.count_nonzero(template.mask))
    if overlap < SMALLEST_OVERLAP:
        raise RecordingError(
            source,
            found=f"a brain that shares {overlap:.0%} with the template's (Dice): not in the checkpoint's space",
            expected=f"at least {SMALLEST_OVERLAP:.0%}",
            remedy="Normalise the run to the checkpoint's space first, e.g. with fMRIPrep to MNI152NLin2009cAsym.",
        )


def too_short(source: str, num_volumes: int) -> RecordingError:
    """The error for a run that is too short to measure its standard deviation."""
    return RecordingError(
        source,
        found=f"{num_volumes} volumes",
        expected=f"at least {FEWEST_VOLUMES}, to measure each voxel's standard deviation",
        remedy="Give a longer run; a single mean volume is enough for a processor that was fitted.",
    )


def wrong_grid(bold: BOLDRun, grid_shape: tuple[int, ...]) -> RecordingError:
    """The error for a run on another grid (x, y, z)."""
    sizes = zip("xyz", bold.volumes.shape[:3], grid_shape, strict=True)
    wrong = ", ".join(f"{axis} {found} (expected {size})" for axis, found, size in sizes if found != size)
    return RecordingError(
        bold.source,
        found=f"another grid: {wrong}",
        expected=f"(x, y, z) = {grid_shape}",
        remedy="Resample the run to this grid, or set grid_shape (or resample='dct') when training a model.",
    )
