"""VolumeProcessor: BOLD runs to the volumes that the model sees, and generated volumes back to BOLD images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import nibabel
import numpy as np
from diffusers.configuration_utils import register_to_config

from ..errors import InputError, RecordingError
from ..recordings.bold import BOLDRun, bold_image, read_bold, real_array
from ..recordings.repetition_time import PLAUSIBLE_TR, is_number, is_plausible
from ..shapes import BOLDVolumes, ModelVolumes
from .base import ProcessorMixin, refuse
from .filters import brain_mask, remove_drift, smooth_inside
from .grids import crop_centre, pad_centre, reorient, require_grid, resample, resize_through_dct, resized_affine
from .reference import (
    FEWEST_VOLUMES,
    VolumeReference,
    average,
    check_overlap,
    floored,
    same_affine,
    too_short,
    within,
    wrong_grid,
)

MODES = ("minmax_volume", "minmax_run", "change")
LARGEST_SIZE = 1024
LARGEST_VALUE = 1e30  # products with it stay within float32
BRIGHT_PERCENTILE = 98


class VolumeProcessor(ProcessorMixin):
    """BOLD volumes `[x, y, z]` <-> model volumes `[1, D, H, W]`; D, H, W are z, y, x, padded at both sides.

    - `minmax_volume` (the paper, 3.5.1): every volume scaled to [-1, 1] by its own minimum and maximum; going back,
      by the mean minimum and maximum of the reference's volumes.
    - `minmax_run`: scaled by the reference's minimum and maximum.
    - `change`: (volume - mean) / scale inside the brain, 0 outside: standard deviations from the reference's mean.
      These aren't bounded, so the scheduler needs `clip_sample=False`. The mean volume is the model's condition.

    Args:
        mode (`str`): one of the above.
        sample_size (`tuple`): the model's (D, H, W).
        grid_shape (`tuple`): the image's (x, y, z), not larger than the sample.
        repetition_time (`float`): of the training data, in seconds.
        smoothing_fwhm (`float`, *optional*): in mm; smooth the changes inside the run's own brain. `change` only.
        high_pass (`float`, *optional*): in Hz; take slower drifts (cosines) out of the changes. `change` only.
        space (`str`): `"native"`: every run has its own anatomy and affine, and only the grid's shape counts (the
            paper); a run whose axes run elsewhere than the template's is flipped and turned to them. `"mni"`: all
            runs lie in the template's space; one on another grid is resampled to the template's.
        resample (`str`): for native runs of another shape. `"none"`: an error; `"dct"`: resized through the cosine
            transform, as the paper's reference [24] does with XP-2.
        change_gain (`float`): of changes on their way back to BOLD; see `evaluation/calibration.py`. `change` only.

    The arrays are the training data's: `template_mean`, `template_scale`, `template_mask` `[x, y, z]` and
    `template_affine` `[4, 4]`, None until `fit`.

    Raises:
        InputError: an argument out of range, or a grid that is larger than the sample.
    """

    array_names: ClassVar[tuple[str, ...]] = ("template_mean", "template_scale", "template_mask", "template_affine")

    @register_to_config
    def __init__(
        self,
        mode: str = "minmax_volume",
        sample_size: tuple[int, int, int] = (32, 64, 64),
        grid_shape: tuple[int, int, int] = (64, 64, 30),
        repetition_time: float = 2.16,
        smoothing_fwhm: float | None = None,
        high_pass: float | None = None,
        space: str = "native",
        resample: str = "none",
        change_gain: float = 1.0,
    ):
        _require("mode", mode, mode in MODES, f"one of {MODES}")
        _require("space", space, space in ("native", "mni"), "'native' or 'mni'")
        allowed = ("none", "dct") if space == "native" else ("none",)
        _require("resample", resample, resample in allowed, f"one of {allowed} in {space} space")
        for name, shape in (("sample_size", sample_size), ("grid_shape", grid_shape)):
            _require(name, shape, _is_shape(shape), f"three whole numbers from 1 to {LARGEST_SIZE}")
        fits = all(size >= grid for size, grid in zip(sample_size, reversed(grid_shape), strict=True))
        _require("sample_size", sample_size, fits, f"(D, H, W) at least as large as (z, y, x) = {grid_shape[::-1]}")
        _require("repetition_time", repetition_time, is_plausible(repetition_time), PLAUSIBLE_TR)
        for name, value, most in (("smoothing_fwhm", smoothing_fwhm, 50), ("high_pass", high_pass, 10)):
            valid = value is None or (mode == "change" and is_number(value) and 0 < value <= most)
            _require(name, value, valid, f"None, or a number above 0, at most {most}, in mode 'change'")
        valid = is_number(change_gain) and 0 < change_gain <= 10 and (mode == "change" or change_gain == 1)
        _require("change_gain", change_gain, valid, "a number above 0, at most 10, and 1 in other modes than 'change'")
        self.sample_size = tuple(sample_size)
        self.grid_shape = tuple(grid_shape)
        self.template_mean: np.ndarray | None = None
        self.template_scale: np.ndarray | None = None
        self.template_mask: np.ndarray | None = None
        self.template_affine: np.ndarray | None = None

    def fit(self, runs: Iterable[BOLDRun]) -> VolumeProcessor:
        """Measure the template from training runs, one in memory at a time; see `average` in reference.py.

        Raises:
            InputError: no runs.
            RecordingError: a run of fewer than 20 volumes, on another grid than configured, with other axes than the
                first one, or, in MNI space, with another affine.
        """
        return self.fit_references(self._measured(run, None) for run in runs)

    def fit_references(self, references: Iterable[VolumeReference]) -> VolumeProcessor:
        """[`fit`], from what [`measure`] gave for each training run."""
        template = average(references, same_space=self.config.space == "mni")
        arrays = template.mean, template.scale, template.mask
        self.template_mean, self.template_scale, self.template_mask = (self.unpad(array).T.copy() for array in arrays)
        self.template_affine = template.affine
        return self

    def measure(self, run: BOLDRun) -> VolumeReference:
        """What a run adds to a template: its mean, standard deviation and brain, whatever the mode.

        Raises:
            RecordingError: fewer than 20 volumes, another grid (or, once fitted, another space), or no brain.
        """
        return self._measured(run, self._template())

    def within_template(self, own: VolumeReference) -> VolumeReference:
        """A measured reference as [`reference`] gives it: in MNI space with the template's brain, else as it is."""
        template = self._template()
        return own if self.config.space == "native" or template is None else within(own, template)

    def reference(self, bold: BOLDRun | str | os.PathLike | None = None) -> VolumeReference:
        """What volumes are relative to.

        Args:
            bold (`BOLDRun` or path, *optional*): from 20 volumes on, its own mean and standard deviation; from fewer
                (or one), its mean and the template's relative standard deviation. None: the template.

        Raises:
            InputError: None, but there is no template.
            RecordingError: in mode `change` no brain, or too few volumes without a template; wrong grid or space.
        """
        template = self._template()
        if bold is None:
            if template is None:
                raise InputError(
                    "reference",
                    found="None, and a processor without a template",
                    expected="a BOLD run or a mean volume",
                    remedy="Pass reference=, or use a checkpoint whose volume processor was fitted.",
                )
            return template
        if not isinstance(bold, BOLDRun):
            bold = read_bold(bold, allow_single=True)
        return self._own_reference(bold, *self._to_grid(bold, template), template)

    def preprocess(self, bold: BOLDRun, reference: VolumeReference | None = None) -> ModelVolumes:
        """Turn a run into model volumes.

        Args:
            bold (`BOLDRun`): the run.
            reference (`VolumeReference`, *optional*): by default the run's own.

        Returns:
            `np.ndarray` of shape `[volume, 1, D, H, W]`: float32, in model units (see the class).

        Raises:
            RecordingError: wrong grid or space, or a volume without contrast in a min-max mode.
        """
        template = self._template()
        volumes, affine = self._to_grid(bold, template)
        if self.config.mode == "minmax_volume":
            low, high = (limit(volumes, axis=(1, 2, 3), keepdims=True) for limit in (np.min, np.max))
            return self._scaled(volumes, low, high, bold.source)
        if reference is None:
            reference = self._own_reference(bold, volumes, affine, template)
        reference = self._checked(reference)
        if self.config.mode == "change":
            changes = self._changes(volumes, affine, bold, reference.mean)
            changes /= reference.scale
            changes *= reference.mask
            return changes[:, None]
        return self._scaled(volumes, np.float32(reference.low), np.float32(reference.high), bold.source)

    def limits(self, bold: BOLDRun) -> np.ndarray:
        """Minimum and maximum of each volume, `[volume, 2]`, BOLD units: -1 and 1 in mode `minmax_volume`."""
        volumes, _ = self._to_grid(bold, self._template())
        return np.stack([limit(volumes, axis=(1, 2, 3)) for limit in (np.min, np.max)], axis=1)

    def condition(self, reference: VolumeReference) -> np.ndarray | None:
        """The mean volume as the model's second input: its brain's 98th percentile is 1, darkness and padding -1.

        Returns:
            `np.ndarray` of shape `[1, D, H, W]`: in [-1, 1], float32; None in the min-max modes.
        """
        if self.config.mode != "change":
            return None
        reference = self._checked(reference)
        bright = np.percentile(reference.mean[reference.mask], BRIGHT_PERCENTILE)
        return (np.clip(reference.mean / bright, 0, 1) * 2 - 1).astype(np.float32)[None]

    def postprocess(self, volumes: ModelVolumes, reference: VolumeReference) -> np.ndarray:
        """Turn model volumes back into BOLD units and cut the padding off.

        Args:
            volumes (`np.ndarray` of shape `[volume, 1, D, H, W]`): model units; a CPU tensor is accepted.
            reference (`VolumeReference`): what they are relative to. In mode `change` the result is
                mean + change_gain * scale * value inside the brain and the mean outside.

        Returns:
            `np.ndarray` of shape `[volume, x, y, z]`: float32, BOLD units.

        Raises:
            InputError: wrong shape, or NaN or Inf.
        """
        reference = self._checked(reference)
        values = _real_volumes(volumes, (1, *self.sample_size), "[volume, 1, D, H, W]")[:, 0]
        if self.config.mode == "change":
            values = reference.mean + self.config.change_gain * reference.scale * values * reference.mask
        else:
            values = reference.low + (values + 1) / 2 * (reference.high - reference.low)
        return np.ascontiguousarray(self.unpad(values).transpose(0, 3, 2, 1), dtype=np.float32)

    def to_image(
        self, volumes: BOLDVolumes, reference: VolumeReference, repetition_time: float, first_volume_time: float = 0.0
    ) -> nibabel.Nifti1Image:
        """Make a NIfTI image of `postprocess`ed volumes `[volume, x, y, z]`; see `recordings.bold.bold_image`."""
        series = np.moveaxis(_real_volumes(volumes, self.grid_shape, "[volume, x, y, z]"), 0, -1)
        return bold_image(series, reference.affine, repetition_time, first_volume_time, space=self.config.space)

    def to_grid(self, bold: BOLDRun) -> tuple[np.ndarray, np.ndarray]:
        """A run in its own units on the configured grid, `[volume, z, y, x]`, and that grid's affine.

        Raises:
            RecordingError: wrong grid or space.
        """
        return self._to_grid(bold, self._template())

    def pad(self, volumes: np.ndarray, value: float = 0.0) -> np.ndarray:
        """Centre `[..., z, y, x]` of the grid's shape in `[..., D, H, W]`."""
        require_grid(volumes, self.grid_shape[::-1])
        return pad_centre(volumes, self.sample_size, value)

    def unpad(self, volumes: np.ndarray) -> np.ndarray:
        """Undo `pad`: `[..., D, H, W]` to `[..., z, y, x]`."""
        require_grid(volumes, self.sample_size)
        return crop_centre(volumes, self.grid_shape[::-1])

    def _measured(self, run: BOLDRun, template: VolumeReference | None) -> VolumeReference:
        volumes, affine = self._to_grid(run, template)
        if len(volumes) < FEWEST_VOLUMES:
            raise too_short(run.source, len(volumes))
        return self._with_deviation(self._measure(run, volumes, affine), run, volumes, None)

    def _own_reference(
        self, bold: BOLDRun, volumes: np.ndarray, affine: np.ndarray, template: VolumeReference | None
    ) -> VolumeReference:
        """The reference that a run gives, from its volumes on the configured grid."""
        own = self._measure(bold, volumes, affine)
        return self._with_deviation(own, bold, volumes, template) if self.config.mode == "change" else own

    def _measure(self, bold: BOLDRun, volumes: np.ndarray, affine: np.ndarray) -> VolumeReference:
        """What the min-max modes need of a run: its mean, minimum and maximum. Every voxel counts, with scale 1."""
        mean = self.pad(volumes.mean(axis=0, dtype=np.float64).astype(np.float32))
        mask = self.pad(np.ones(volumes.shape[1:], bool), False)
        low, high = volumes.min(axis=(1, 2, 3)), volumes.max(axis=(1, 2, 3))
        if self.config.mode == "minmax_volume":
            low, high = low.mean(), high.mean()
        limits = float(np.min(low)), float(np.max(high))
        return VolumeReference(mean, np.ones_like(mean), mask, *limits, affine, bold.source)

    def _with_deviation(
        self, own: VolumeReference, bold: BOLDRun, volumes: np.ndarray, template: VolumeReference | None
    ) -> VolumeReference:
        """A run's own reference with its brain and its standard deviation in there."""
        mean, mask = own.mean, brain_mask(own.mean, bold.source)
        if len(volumes) >= FEWEST_VOLUMES:
            scale = self._changes(volumes, own.affine, bold, mean).std(axis=0)
        elif template is not None:
            scale = mean * template.relative_scale()
        else:
            raise too_short(bold.source, len(volumes))
        own = replace(own, scale=floored(scale, mean, mask), mask=mask)
        return own if self.config.space == "native" or template is None else within(own, template)

    def _to_grid(self, bold: BOLDRun, template: VolumeReference | None) -> tuple[np.ndarray, np.ndarray]:
        """The run as `[volume, z, y, x]` on the configured grid, and that grid's affine."""
        if not isinstance(bold, BOLDRun):
            raise InputError(
                "bold", found=type(bold).__name__, expected="a BOLDRun", remedy="Read it with eeg2fmri's read_bold."
            )
        volumes, affine, shape = bold.volumes.T, bold.affine, self.grid_shape[::-1]
        if self.config.space == "mni" and template is not None:
            if volumes.shape[1:] != shape or not same_affine(affine, template.affine):
                volumes, affine = resample(volumes, affine, template.affine, shape), template.affine
            check_overlap(self.pad(volumes.mean(axis=0, dtype=np.float64)), template, bold.source)
            return volumes, affine
        if template is not None:
            volumes, affine = reorient(volumes, affine, template.affine)
        if volumes.shape[1:] != shape:
            if self.config.resample != "dct":
                raise wrong_grid(bold, self.grid_shape)
            affine = resized_affine(affine, volumes.shape[1:], shape)
            volumes = resize_through_dct(volumes, shape)
        return volumes, affine

    def _changes(self, volumes: np.ndarray, affine: np.ndarray, bold: BOLDRun, mean: np.ndarray) -> np.ndarray:
        """Differences from the mean, `[volume, D, H, W]`: smoothed inside its brain, then freed of drift."""
        changes = self.pad(volumes)
        changes -= mean
        if self.config.smoothing_fwhm is not None:
            voxel_sizes = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
            changes = smooth_inside(changes, brain_mask(mean, bold.source), self.config.smoothing_fwhm, voxel_sizes)
        if self.config.high_pass is not None and bold.repetition_time is not None:
            changes = remove_drift(changes, bold.repetition_time, self.config.high_pass)
        return changes

    def _scaled(
        self, volumes: np.ndarray, low: np.ndarray | np.floating, high: np.ndarray | np.floating, source: str
    ) -> ModelVolumes:
        """Min-max scaling of `[volume, z, y, x]`; the padding is as dark as the darkest voxel can be."""
        contrast = np.ravel(high > low)
        if not contrast.all():
            raise RecordingError(
                source,
                found=f"volume {int(np.argmin(contrast))} with all voxels alike",
                expected="volumes with contrast",
                remedy="Leave empty volumes out.",
            )
        return self.pad((volumes - low) / (high - low) * 2 - 1, -1.0)[:, None]

    def _template(self) -> VolumeReference | None:
        mean, scale, mask, affine = self.template_mean, self.template_scale, self.template_mask, self.template_affine
        if mean is None or scale is None or mask is None or affine is None:
            return None
        low, high = float(mean.min()), float(mean.max())
        padded = self.pad(mean.T), self.pad(scale.T, scale.min()), self.pad(mask.T, False)
        return VolumeReference(*padded, low, high, affine, "template")

    def _checked(self, reference: VolumeReference) -> VolumeReference:
        arrays: list[Any] = [getattr(reference, name, None) for name in ("mean", "scale", "mask")]
        shapes = [np.shape(array) for array in arrays]
        if shapes != [self.sample_size] * len(arrays):
            raise InputError(
                "reference",
                found=f"{type(reference).__name__} with arrays of shapes {shapes}",
                expected=f"a VolumeReference of shape (D, H, W) = {self.sample_size}",
                remedy="Make it with this processor's reference().",
            )
        return reference

    def _set_arrays(self, path: Path) -> None:
        super()._set_arrays(path)
        shapes = [np.shape(getattr(self, name)) for name in self.array_names]
        fitted = [self.grid_shape] * 3 + [(4, 4)]
        if shapes not in ([()] * 4, fitted):
            refuse(path, f"template arrays of shapes {shapes}", f"{fitted}, or none")
        scale, mask = self.template_scale, self.template_mask
        if scale is None or mask is None:
            return
        if mask.dtype != bool or not mask.any():
            refuse(path, f"a template_mask of {mask.dtype}, {np.count_nonzero(mask)} voxels", "a boolean brain mask")
        if not (scale[mask] > 0).all():
            refuse(path, f"a template_scale of {scale[mask].min():g} in the brain", "standard deviations above 0")


def _require(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise InputError(name, found=repr(value), expected=expected, remedy="Change this setting of VolumeProcessor.")


def _is_shape(shape: object) -> bool:
    if not isinstance(shape, (list, tuple)) or len(shape) != 3:
        return False
    return all(type(size) is int and 1 <= size <= LARGEST_SIZE for size in shape)


def _real_volumes(volumes: object, shape: tuple[int, ...], axes: str) -> np.ndarray:
    """Float32 volumes of this shape, after the axis of volumes; anything else is refused."""
    values = real_array(volumes)
    found = "no array of real numbers" if values is None else f"shape {values.shape}"
    if values is not None and values.ndim == len(shape) + 1 and values.shape[1:] == shape:
        if (np.abs(values) < LARGEST_VALUE).all():
            return values.astype(np.float32, copy=False)
        found += ", with NaN, Inf or huge values"
    raise InputError(
        "volumes",
        found=found,
        expected=f"{axes} = [N, {', '.join(map(str, shape))}], all finite",
        remedy="Give the output of the step before as it is.",
    )
