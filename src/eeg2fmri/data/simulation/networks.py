"""The brain networks of the simulation: where they lie, which rhythms drive them, and how strong these are in EEG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BANDS: dict[str, tuple[float, float]] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}


@dataclass(frozen=True)
class Network:
    """One network.

    Args:
        name (`str`): its name in the truth files.
        nodes: the centre of each node, MNI millimetres.
        weights: the BOLD response to one standard deviation of each rhythm's log amplitude, in the order of `BANDS`.
        rhythms: EEG power of each rhythm relative to the other networks; `None` for a deep network that EEG can't see.
        driver (`str`, *optional*): the network whose rhythms drive a deep one.
    """

    name: str
    nodes: tuple[tuple[float, float, float], ...]
    weights: tuple[float, ...]
    rhythms: tuple[float, ...] | None = None
    driver: str | None = None


def _both(x: float, y: float, z: float) -> tuple[tuple[float, float, float], ...]:
    return ((-x, y, z), (x, y, z))


_SENSORIMOTOR = (0.0, 0.0, -0.7, -0.9, 0.4)
_SUPPLEMENTARY = (0.0, 0.3, -0.5, -0.9, 0.3)
_FRONTOPARIETAL = (0.0, 0.7, -0.5, -0.3, 0.4)

# Signs: alpha and beta negative in sensory, motor and attention networks; alpha and beta positive, theta negative in
# the default mode; frontal theta positive; gamma positive. The thalamus follows visual alpha with a positive sign.
NETWORKS: tuple[Network, ...] = (
    Network("visual", _both(9, -88, 3), (0, 0, -1.0, -0.4, 0.4), (1, 1, 3, 1, 1)),
    Network("lateral_occipital", _both(43, -73, -1), (0, 0, -0.8, -0.5, 0.4), (1, 1, 2, 1, 1)),
    Network("sensorimotor_left", ((-40, -24, 56),), _SENSORIMOTOR, (1, 1, 1.5, 2, 1)),
    Network("sensorimotor_right", ((40, -22, 56),), _SENSORIMOTOR, (1, 1, 1.5, 2, 1)),
    Network("supplementary_motor", _both(5, -4, 64), _SUPPLEMENTARY, (1, 1.5, 1, 2, 1)),
    Network("face", _both(55, -7, 30), _SENSORIMOTOR, (1, 1, 1, 1.5, 1)),
    Network("auditory", _both(53, -18, 6), (0, 0, -0.8, -0.4, 0.6), (1, 1, 1, 1, 1.5)),
    Network(
        "default_mode",
        ((0, -54, 26), (0, 52, 4), (-46, -68, 34), (48, -64, 34)),
        (0, -0.7, 0.8, 0.6, 0.2),
        (1, 1.5, 1.5, 1, 1),
    ),
    Network("dorsal_attention", _both(27, -4, 54) + _both(25, -61, 55), (0, 0, -0.9, -0.6, 0.4), (1, 1, 1.5, 1, 1)),
    Network("frontoparietal_left", ((-44, 32, 24), (-46, -52, 48)), _FRONTOPARIETAL, (1, 1.5, 1, 1, 1)),
    Network("frontoparietal_right", ((44, 34, 24), (48, -50, 48)), _FRONTOPARIETAL, (1, 1.5, 1, 1, 1)),
    Network("salience", ((0, 22, 34), (-36, 18, 2), (38, 18, 2)), (0, 0.8, -0.4, -0.3, 0.5), (1, 2, 1, 1, 1)),
    Network("thalamus", _both(11, -18, 8), (0, 0, 1.0, 0, 0), driver="visual"),
    Network("cerebellum", ((22, -54, -24),), _SENSORIMOTOR, driver="sensorimotor_left"),
    Network("putamen", _both(26, 4, 2), _SUPPLEMENTARY, driver="supplementary_motor"),
    # The dark negative control: nothing in EEG has to do with it.
    Network("hippocampus", _both(27, -22, -16), (0, 0, 0, 0, 0)),
)

NETWORK_NAMES = tuple(network.name for network in NETWORKS)
BAND_NAMES = tuple(BANDS)
DARK_NETWORK = "hippocampus"
NODES = np.array([node for network in NETWORKS for node in network.nodes], dtype=float)
NODE_NETWORKS = np.array([index for index, network in enumerate(NETWORKS) for _ in network.nodes])
# Rows: the nodes that reach the scalp.
CORTICAL_NODES = np.flatnonzero([NETWORKS[index].rhythms is not None for index in NODE_NETWORKS])
