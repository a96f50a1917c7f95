"""Pictures of generated runs."""

from __future__ import annotations

import os

import nibabel as nib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

NUM_SLICES = 7


def plot_run(image: nib.Nifti1Image, path: str | os.PathLike, *, title: str) -> None:
    """Draw the mean volume in axial slices, where the signal varies, and every voxel's change over time.

    Args:
        image (`nibabel.Nifti1Image`, x, y, z, time): the run, BOLD units.
        path: the PNG to write.
        title (`str`): the figure's heading.
    """
    volumes = np.asarray(image.dataobj, dtype=np.float32)
    mean = volumes.mean(-1)
    deviation = volumes.std(-1)
    varies = deviation > 1e-3 * deviation.max()  # constant voxels vary by rounding
    percent = np.zeros_like(volumes)
    # Dark voxels have no meaningful percentage: they are measured against a hundredth of the brightest.
    base = np.maximum(mean, 0.01 * np.abs(mean).max())[varies, None]
    percent[varies] = 100 * (volumes[varies] - mean[varies, None]) / base
    percent_deviation = percent.std(-1)
    slices = _slices(varies)

    figure = Figure(figsize=(11, 8), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    means, deviations, changes = figure.subfigures(3, 1, squeeze=False, height_ratios=(1, 1, 1.6))[:, 0]
    _draw_slices(means, mean, slices, image.affine, "gray", "mean (BOLD units)", float(np.percentile(mean, 99.5)))
    spread = float(np.percentile(percent_deviation[varies], 99.5)) if varies.any() else 1.0
    _draw_slices(deviations, percent_deviation, slices, image.affine, "inferno", "sd over time (%)", spread)
    _draw_changes(changes, percent[varies], image)
    figure.savefig(path, dpi=110)


def _slices(mask: np.ndarray) -> np.ndarray:
    """Axial slices spread over the brain."""
    inside = np.flatnonzero(mask.any((0, 1))) if mask.any() else np.arange(mask.shape[2])
    return np.unique(np.linspace(inside[0], inside[-1], NUM_SLICES + 2).round().astype(int)[1:-1])


def _draw_slices(figure, volume, slices, affine, colors: str, label: str, maximum: float) -> None:
    axes = figure.subplots(1, len(slices), squeeze=False)[0]
    width, height = np.linalg.norm(affine[:3, :2], axis=0)
    for axis, index in zip(axes, slices, strict=True):
        # Left of the picture is left of the brain, whatever way the first axis runs.
        plane = volume[:: -1 if affine[0, 0] < 0 else 1, :, index].T
        picture = axis.imshow(
            plane, origin="lower", cmap=colors, vmin=0, vmax=maximum, aspect=height / width, interpolation="nearest"
        )
        axis.set_title(f"z = {affine[2, 2] * index + affine[2, 3]:.0f} mm", fontsize=9)
        axis.set_axis_off()
    figure.colorbar(picture, ax=axes, label=label, shrink=0.9)


def _draw_changes(figure, percent: np.ndarray, image: nib.Nifti1Image) -> None:
    repetition_time, first = float(image.header["pixdim"][4]), float(image.header["toffset"])
    times = first + repetition_time * np.arange(image.shape[3])
    line, carpet = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    line.plot(times, percent.mean(0), color="black", linewidth=1)
    line.set_ylabel("brain mean (%)")
    limit = float(np.percentile(np.abs(percent), 98)) or 1.0
    picture = carpet.imshow(
        percent,
        aspect="auto",
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
        extent=(times[0] - repetition_time / 2, times[-1] + repetition_time / 2, len(percent), 0),
    )
    carpet.set_ylabel("voxels")
    carpet.set_xlabel("seconds from the first EEG sample")
    figure.colorbar(picture, ax=[line, carpet], label="change from the mean (%)")
