"""From cortical dipoles to electrodes: the fsaverage cortex in a four-shell sphere.

The brain's ellipsoid is stretched onto the sphere, so that what lies under an electrode on a real head does so here.
"""

from __future__ import annotations

import functools

import mne
import nilearn.datasets
import numpy as np

from ...errors import InputError

HEAD_RADIUS = 0.095  # m
BRAIN_RADIUS = 0.080  # m, within the sphere's inner skull of 0.0855 m
BRAIN_CENTRE = np.array([0.0, -18.0, 6.0])  # MNI mm
BRAIN_SEMI_AXES = np.array([69.0, 88.0, 74.0])  # mm
DIPOLES_PER_NODE = 40
MONTAGE = "easycap-M1"


@functools.lru_cache(maxsize=1)
def cortex() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (MNI mm) and outward unit normals of the fsaverage5 pial surface, both `[vertex, 3]`."""
    surface = nilearn.datasets.load_fsaverage("fsaverage5")["pial"]
    vertices, normals = [], []
    for part in surface.parts.values():
        points = np.asarray(part.coordinates, dtype=float)
        corners = points[part.faces]
        areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sums = np.zeros_like(points)
        for corner in range(3):
            np.add.at(sums, part.faces[:, corner], areas)
        vertices.append(points)
        normals.append(sums / np.linalg.norm(sums, axis=1, keepdims=True))
    return np.concatenate(vertices), np.concatenate(normals)


@functools.lru_cache(maxsize=1)
def _sphere() -> mne.bem.ConductorModel:
    return mne.make_sphere_model((0.0, 0.0, 0.0), head_radius=HEAD_RADIUS, info=None, verbose="ERROR")


@functools.lru_cache(maxsize=1)
def _montage() -> dict[str, np.ndarray]:
    positions = mne.channels.make_standard_montage(MONTAGE).get_positions()["ch_pos"]
    return {name: position / np.linalg.norm(position) * HEAD_RADIUS for name, position in positions.items()}


def electrode_positions(names: tuple[str, ...]) -> np.ndarray:
    """Positions `[electrode, 3]` on the sphere, metres.

    Raises:
        InputError: for a name that the montage does not hold.
    """
    montage = _montage()
    unknown = [name for name in names if name not in montage]
    if unknown:
        raise InputError(
            "electrodes",
            found=", ".join(unknown),
            expected=f"names of the montage {MONTAGE}",
            remedy="Choose electrodes of the 10-10 system.",
        )
    return np.array([montage[name] for name in names])


def lead_field(positions: np.ndarray, dipoles: np.ndarray) -> np.ndarray:
    """Volts at the electrodes for one ampere metre along the cortex's normal.

    Args:
        positions (`np.ndarray` of shape `(num_electrodes, 3)`): metres, on the sphere.
        dipoles (`np.ndarray` of shape `(num_dipoles,)`): vertices of `cortex`.

    Returns:
        `np.ndarray` of shape `(num_electrodes, num_dipoles)`.
    """
    vertices, normals = cortex()
    places = (vertices[dipoles] - BRAIN_CENTRE) / BRAIN_SEMI_AXES
    radius = np.linalg.norm(places, axis=1, keepdims=True)
    places *= BRAIN_RADIUS / np.maximum(radius, 1.0)
    directions = normals[dipoles] * BRAIN_SEMI_AXES
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    names = [str(index) for index in range(len(positions))]
    info = mne.create_info(names, 1.0, "eeg", verbose="ERROR")
    channels = dict(zip(names, positions, strict=True))
    info.set_montage(mne.channels.make_dig_montage(channels, coord_frame="head"), verbose="ERROR")
    source = mne.setup_volume_source_space(
        pos={"rr": places, "nn": directions}, sphere=_sphere(), mindist=0.0, verbose="ERROR"
    )
    forward = mne.make_forward_solution(info, None, source, _sphere(), meg=False, mindist=0.0, verbose="ERROR")
    gains = forward["sol"]["data"].reshape(len(positions), len(dipoles), 3)
    return np.einsum("edx,dx->ed", gains, directions)


def nearest_dipoles(centre: np.ndarray) -> np.ndarray:
    """The vertices of `cortex` nearest to a node's centre (MNI mm)."""
    distances = np.sum((cortex()[0] - centre) ** 2, axis=1)
    return np.argpartition(distances, DIPOLES_PER_NODE)[:DIPOLES_PER_NODE]


def referenced_fields(names: tuple[str, ...], shifts: np.ndarray, patches: list[np.ndarray]) -> np.ndarray:
    """One topography per patch of dipoles that act together, against the reference.

    Args:
        names: electrodes, the reference last.
        shifts (`np.ndarray` of shape `(num_electrodes, 3)`): how far each one sits from its place, mm.
        patches: the dipoles of each patch, as vertices of `cortex`.

    Returns:
        `np.ndarray` of shape `(num_electrodes - 1, num_patches)`.
    """
    positions = electrode_positions(names) + shifts / 1000
    positions *= HEAD_RADIUS / np.linalg.norm(positions, axis=1, keepdims=True)
    fields = lead_field(positions, np.concatenate(patches))
    starts = np.cumsum([0] + [len(patch) for patch in patches[:-1]])
    topographies = np.add.reduceat(fields, starts, axis=1)
    return topographies[:-1] - topographies[-1]
