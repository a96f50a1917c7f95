"""The head as EPI shows it, and where in it the networks lie: everything that is constant during a run."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import nilearn.datasets
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from .networks import DARK_NETWORK, NETWORK_NAMES, NODE_NETWORKS
from .presets import Preset
from .traits import Traits

NODE_WIDTH = 8.0  # mm, standard deviation of a node's Gaussian
SIGNAL = 1000.0  # scanner units, grey matter
IN_VIEW = 0.5  # of a node's Gaussian: with less at the nearest voxel, the node lies outside of the scanned slices
HEAD_CENTRE = np.array([0.0, -18.0, 6.0])  # MNI mm
FIELD_OF_WARP = np.array([200.0, 240.0, 200.0])  # mm
# Where air near the sinuses and ear canals takes signal away: centre (MNI mm), width (mm), share that is lost.
DROPOUTS = (((0.0, 38.0, -20.0), 12.0, 0.6), ((-52.0, -14.0, -34.0), 12.0, 0.4), ((52.0, -14.0, -34.0), 12.0, 0.4))


@dataclass(frozen=True)
class Anatomy:
    """One subject's head on the preset's grid.

    Args:
        image (`np.ndarray` of shape `(x, y, z)`): mean signal, scanner units.
        brain (`np.ndarray` of shape `(x, y, z)`): bool.
        liquid (`np.ndarray` of shape `(x, y, z)`): share of liquor and vessels.
        maps (`np.ndarray` of shape `(num_networks, x, y, z)`): each network's pattern, 1 at its peak;
            below 1 everywhere for a network outside of the scanned slices.
        affine (`np.ndarray` of shape `(4, 4)`): voxels to mm.
    """

    image: np.ndarray
    brain: np.ndarray
    liquid: np.ndarray
    maps: np.ndarray
    affine: np.ndarray

    @property
    def dark(self) -> np.ndarray:
        """The dark region's pattern, which no global signal reaches."""
        return self.maps[NETWORK_NAMES.index(DARK_NETWORK)]


def grid_affine(preset: Preset) -> np.ndarray:
    """Voxel indices to mm; the first axis runs to the left."""
    affine = np.diag([-preset.voxel_size[0], preset.voxel_size[1], preset.voxel_size[2], 1.0])
    affine[:3, 3] = preset.origin
    return affine


def build_anatomy(preset: Preset, traits: Traits) -> Anatomy:
    """The subject's head: templates and networks, seen through pose, size and warp."""
    affine = grid_affine(preset)
    voxels = np.stack(np.meshgrid(*map(np.arange, preset.shape), indexing="ij"), axis=-1)
    scanner = voxels @ affine[:3, :3].T + affine[:3, 3]
    places = _to_template(scanner, traits)
    brain, grey, white = (_sample(template, places) for template in _smooth_templates(preset.voxel_size))
    liquid = np.clip(brain - grey - white, 0, 1)
    image = SIGNAL * (grey + 0.8 * white + 1.25 * liquid)
    for centre, width, loss in DROPOUTS:
        image *= 1 - loss * np.exp(-np.sum((places - centre) ** 2, axis=-1) / (2 * width**2))
    image *= traits.gain * (1 + (scanner - HEAD_CENTRE) @ traits.coil / 100)
    inside = brain > 0.5
    return Anatomy(image, inside, liquid, _network_maps(places, inside, grey, traits), affine)


def _network_maps(places: np.ndarray, brain: np.ndarray, grey: np.ndarray, traits: Traits) -> np.ndarray:
    maps = np.zeros((len(NETWORK_NAMES), *brain.shape))
    seen = np.zeros(len(NETWORK_NAMES), dtype=bool)
    for node, centre in enumerate(traits.nodes):
        blob = np.exp(-np.sum((places - centre) ** 2, axis=-1) / (2 * NODE_WIDTH**2))
        in_view = blob.max() > IN_VIEW
        blob *= brain * (0.5 + 0.5 * grey)
        # Of a node outside of the slices, they show the tail alone.
        maps[NODE_NETWORKS[node]] += blob / blob.max() if in_view else blob
        seen[NODE_NETWORKS[node]] |= in_view
    dark = NETWORK_NAMES.index(DARK_NETWORK)
    if seen[dark]:
        # The tails of the neighbours stop short of the dark region.
        lit = np.clip(1 - 2 * maps[dark] / maps[dark].max(), 0, 1)
        maps *= np.where(np.arange(len(maps)) == dark, 1, lit[..., None]).transpose(3, 0, 1, 2)
    peaks = np.where(seen, maps.max(axis=(1, 2, 3)), 1.0)
    return maps / peaks[:, None, None, None]


def _to_template(scanner: np.ndarray, traits: Traits) -> np.ndarray:
    """Scanner mm to MNI mm: undo translation, rotation and size, then the smooth warp."""
    turned = (scanner - HEAD_CENTRE - traits.translation) @ Rotation.from_euler(
        "xyz", traits.rotation, degrees=True
    ).as_matrix()
    places = turned / traits.scale + HEAD_CENTRE
    if not traits.warp.any():
        return places
    nodes = ((places - HEAD_CENTRE) / FIELD_OF_WARP + 0.5) * 3
    shifts = [_interpolate(axis, nodes, order=3, mode="nearest") for axis in traits.warp]
    return places + np.stack(shifts, axis=-1)


@functools.lru_cache(maxsize=4)
def _smooth_templates(voxel_size: tuple[float, float, float]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Brain, grey and white matter of MNI152 with their affine, blurred to the voxel size."""
    templates = []
    for load in (
        nilearn.datasets.load_mni152_brain_mask,
        nilearn.datasets.load_mni152_gm_template,
        nilearn.datasets.load_mni152_wm_template,
    ):
        image = load(resolution=2)
        # A Gaussian of 0.42 voxels (sd) has the voxel's width at half maximum.
        widths = 0.42 * np.array(voxel_size) / 2
        templates.append((ndimage.gaussian_filter(image.get_fdata(dtype=np.float32), widths), image.affine))
    return tuple(templates)


def _sample(template: tuple[np.ndarray, np.ndarray], places: np.ndarray) -> np.ndarray:
    values, affine = template
    indices = (places - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    return _interpolate(values, indices, order=1, mode="constant")


def _interpolate(values: np.ndarray, indices: np.ndarray, *, order: int, mode: str) -> np.ndarray:
    return ndimage.map_coordinates(values, np.moveaxis(indices, -1, 0), output=float, order=order, mode=mode)
