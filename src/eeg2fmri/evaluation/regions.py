"""The regions whose time courses are scored: networks where they are known, and parcels of a plain grid always."""

from __future__ import annotations

import functools

import nilearn.datasets
import numpy as np
import scipy.sparse

from ..baselines.run import Regions
from ..data.simulation import DARK_NETWORK
from ..processing.grids import resample

PARCEL_GRID = (4, 5, 4)  # z, y, x
MAP_THRESHOLD = 0.5  # of a simulated network's map
FEWEST_VOXELS = 4
UNNAMED = "unassigned"
GREY_SHARE = 0.2  # nilearn's default of load_mni152_gm_mask


def find_regions(
    mask: np.ndarray, affine: np.ndarray, *, maps: dict[str, np.ndarray] | None = None, in_mni: bool = False
) -> Regions:
    """The regions of one run.

    - Networks: of simulated data the true ones, where their map is above a half; of measured data in MNI space the
      spheres of Seitzman et al. (2018), 13 networks; otherwise none.
    - Parcels: the brain's bounding box in 5 x 4 x 4 cells (front to back, bottom to top, side to side). They are
      homologous between subjects only as far as heads are alike.

    Args:
        mask (`np.ndarray` of shape `[z, y, x]`): the brain.
        affine (`np.ndarray` of shape `[4, 4]`): voxel indices (x, y, z) to mm.
        maps: the true networks by name, each `[z, y, x]`.
        in_mni: whether `affine` leads to MNI space.
    """
    if maps is not None:
        networks = {name: (values > MAP_THRESHOLD) & mask for name, values in maps.items()}
    else:
        networks = _seitzman_networks(mask, affine) if in_mni else {}
    kinds = ["dark" if name == DARK_NETWORK else "network" for name in networks]
    parcels = _parcels(mask)
    rows = [*networks.values(), *parcels.values()]
    matrix = scipy.sparse.csr_array(np.stack([_mean_weights(row) for row in rows]))
    return Regions((*networks, *parcels), (*kinds, *["parcel"] * len(parcels)), matrix)


def grey_matter(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The brain's voxels that are grey matter in the MNI152 template, by nilearn's threshold, `[z, y, x]`.

    Args:
        mask (`np.ndarray` of shape `[z, y, x]`): the brain, in MNI space.
        affine (`np.ndarray` of shape `[4, 4]`): voxel indices (x, y, z) to mm.
    """
    share, template_affine = _grey_template()
    return mask & (resample(share[None], template_affine, affine, mask.shape)[0] > GREY_SHARE)


@functools.cache
def _grey_template() -> tuple[np.ndarray, np.ndarray]:
    template = nilearn.datasets.load_mni152_gm_template(resolution=4)  # part of nilearn's package
    return np.asarray(template.dataobj, np.float32).T, template.affine


def _mean_weights(inside: np.ndarray) -> np.ndarray:
    count = np.count_nonzero(inside)
    return inside.ravel() / np.float32(count) if count >= FEWEST_VOXELS else np.zeros(inside.size, np.float32)


def _parcels(mask: np.ndarray) -> dict[str, np.ndarray]:
    cells = []
    for axis, count in enumerate(PARCEL_GRID):
        inside = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        first, size = inside[0], inside[-1] - inside[0] + 1
        cells.append(np.clip((np.arange(mask.shape[axis]) - first) * count // size, 0, count - 1))
    z, y, x = np.meshgrid(*cells, indexing="ij")
    labels = (z * PARCEL_GRID[1] + y) * PARCEL_GRID[2] + x
    return {f"parcel {label + 1}": (labels == label) & mask for label in range(int(np.prod(PARCEL_GRID)))}


def _seitzman_networks(mask: np.ndarray, affine: np.ndarray) -> dict[str, np.ndarray]:
    atlas = nilearn.datasets.fetch_coords_seitzman_2018()  # part of nilearn's package: nothing is downloaded
    voxels = np.argwhere(mask)
    places = voxels[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    # Spheres smaller than the voxels would fall between them.
    reach = np.maximum(np.asarray(atlas["radius"]), np.linalg.norm(affine[:3, :3], axis=0).max())
    networks = {}
    for name in sorted(set(atlas["networks"]) - {UNNAMED}):
        inside = np.zeros(mask.shape, bool)
        for i in np.flatnonzero(atlas["networks"] == name):
            near = ((places - np.asarray(atlas["rois"])[i]) ** 2).sum(axis=1) <= reach[i] ** 2
            inside[tuple(voxels[near].T)] = True
        networks[str(name)] = inside
    return networks
