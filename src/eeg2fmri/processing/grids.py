"""Volume grids: centre padding, the directions of axes, trilinear resampling into another space, and resizing through
the cosine transform.

All arrays here have the model's axes, `[..., z, y, x]`; shapes are (z, y, x) and affines map (x, y, z) indices to mm.
"""

from __future__ import annotations

import nibabel
import numpy as np
import scipy.fft
import scipy.ndimage

from ..errors import InputError


def pad_centre(volumes: np.ndarray, shape: tuple[int, ...], value: float = 0.0) -> np.ndarray:
    """Pad the last three axes to `shape`, equally on both sides (an odd rest goes behind)."""
    widths = [
        ((size - old) // 2, size - old - (size - old) // 2)
        for size, old in zip(shape, volumes.shape[-3:], strict=True)
    ]
    return np.pad(volumes, [(0, 0)] * (volumes.ndim - 3) + widths, constant_values=value)


def crop_centre(volumes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Undo `pad_centre`: cut the last three axes back to `shape`."""
    starts = [(old - size) // 2 for size, old in zip(shape, volumes.shape[-3:], strict=True)]
    z, y, x = (slice(start, start + size) for start, size in zip(starts, shape, strict=True))
    return volumes[..., z, y, x]


def axes_between(affine: np.ndarray, to_affine: np.ndarray) -> np.ndarray:
    """Which axis of another grid each of a grid's axes (x, y, z) runs along, and its direction: `[[axis, +-1], ...]`.

    Measured between the grids and not against the scanner: a tilt of both by 45 degrees must not turn one of them.
    """
    directions = to_affine[:3, :3] / np.linalg.norm(to_affine[:3, :3], axis=0)
    between = np.eye(4)
    between[:3, :3] = np.linalg.inv(directions) @ affine[:3, :3]
    return nibabel.io_orientation(between)


def same_axes(affine: np.ndarray, to_affine: np.ndarray) -> bool:
    """Whether x, y and z of two grids run along the same directions, at least more than along any other."""
    return np.array_equal(axes_between(affine, to_affine), [[0, 1], [1, 1], [2, 1]])


def reorient(volumes: np.ndarray, affine: np.ndarray, to_affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flip and swap the axes of `[volume, z, y, x]` to run as another grid's; the voxels stay where they are in mm."""
    if same_axes(affine, to_affine):
        return volumes, affine
    axes = axes_between(affine, to_affine)
    turned = nibabel.apply_orientation(volumes.T, axes).T
    return turned, affine @ nibabel.orientations.inv_ornt_aff(axes, volumes.T.shape[:3])


def resample(volumes: np.ndarray, affine: np.ndarray, to_affine: np.ndarray, to_shape: tuple[int, ...]):
    """Interpolate `[volume, z, y, x]` trilinearly at the voxels of another grid; outside the field of view it is 0."""
    xyz = np.linalg.inv(affine) @ to_affine
    matrix, offset = xyz[2::-1, 2::-1], xyz[2::-1, 3]
    resampled = np.empty((len(volumes), *to_shape), np.float32)
    for volume, output in zip(volumes, resampled, strict=True):
        # "grid-constant": a rounding error of an edge voxel's position must not set it to 0.
        scipy.ndimage.affine_transform(
            volume, matrix, offset, to_shape, output=output, order=1, mode="grid-constant", cval=0.0
        )
    return resampled


def resize_through_dct(volumes: np.ndarray, to_shape: tuple[int, ...]) -> np.ndarray:
    """Cut or zero-pad the DCT-II coefficients of `[volume, z, y, x]`, as reference [24] of the paper does for XP-2.

    The mean of each volume is kept.
    """
    from_shape = volumes.shape[-3:]
    kept = tuple(slice(min(sizes)) for sizes in zip(from_shape, to_shape, strict=True))
    resized = np.empty((len(volumes), *to_shape), np.float32)
    for volume, output in zip(volumes, resized, strict=True):
        coefficients = np.zeros(to_shape)
        coefficients[kept] = scipy.fft.dctn(volume.astype(np.float64), norm="ortho")[kept]
        output[:] = scipy.fft.idctn(coefficients, norm="ortho")
    return resized * np.float32(np.sqrt(np.prod(to_shape) / np.prod(from_shape)))


def resized_affine(affine: np.ndarray, from_shape: tuple[int, ...], to_shape: tuple[int, ...]) -> np.ndarray:
    """The affine of a resized grid: the same field of view, so voxel i of n has its centre at (i + 1/2) / n of it."""
    ratio = (np.array(from_shape) / np.array(to_shape))[::-1]
    resized = affine.copy()
    resized[:3, :3] = affine[:3, :3] * ratio
    resized[:3, 3] += affine[:3, :3] @ (ratio / 2 - 0.5)
    return resized


def require_grid(volumes: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse volumes whose last axes are not (z, y, x) = `shape`, with an InputError."""
    if np.shape(volumes)[-3:] != shape:
        raise InputError(
            "volumes",
            found=f"last axes of sizes {np.shape(volumes)[-3:]}",
            expected=f"(z, y, x) = {shape}",
            remedy="Give volumes with the model's order of axes.",
        )
