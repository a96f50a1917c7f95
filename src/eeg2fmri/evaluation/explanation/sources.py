"""Sources in the template head, and attention carried from the encoder's places to electrodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .fields import below_electrodes, fields_of, without_reference
from .ranks import CANDIDATES

DEFAULT_REFERENCE = "FCz"  # of the recordings of both public datasets and of the simulator
NODES = np.array([node for network in CANDIDATES for node in network.nodes])
NODE_STARTS = np.cumsum([0] + [len(network.nodes) for network in CANDIDATES])
NUM_NODES = len(NODES)


class Sources:
    """Fields of the template head: of the cortex below every electrode and, for simulated data, of every network.

    Args:
        electrodes: names.
        reference: what the recording was made against; for measured data FCz is assumed.
        simulated: whether the networks are known.

    Raises:
        NotAvailable: when an electrode is not in the template montage.
    """

    def __init__(self, electrodes: Sequence[str], reference: str, simulated: bool):
        nodes = NODES if simulated else NODES[:0]
        self.simulated = simulated
        self.fields = fields_of(electrodes, reference, np.concatenate([nodes, below_electrodes(electrodes)]))

    def signatures(self, signed: bool) -> np.ndarray:
        """Each network's field as [`attended`] gives a region's, `[candidate, feature]`."""
        nodes = self.fields[:NUM_NODES]
        values = _squares(without_reference(nodes)) if signed else nodes**2
        return np.add.reduceat(values, NODE_STARTS[:-1], axis=0) / np.diff(NODE_STARTS)[:, None]

    def split(self, responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`[..., source]` into networks (the mean of their nodes) and places below electrodes."""
        if not self.simulated:
            return responses[..., :0], responses
        sums = np.add.reduceat(responses[..., :NUM_NODES], NODE_STARTS[:-1], axis=-1)
        return sums / np.diff(NODE_STARTS), responses[..., NUM_NODES:]


def attended(weights: np.ndarray, patterns: np.ndarray | None) -> np.ndarray:
    """What each region attends to more than the mean region does, as a field at the electrodes `[region, feature]`.

    Args:
        weights (`np.ndarray` of shape `[region, place, frequency]`): attention.
        patterns (`np.ndarray` of shape `[frequency, place, electrode]`, *optional*): of the prior's filters: the
            features are then products of electrodes, which keep signs; otherwise powers of electrodes.
    """
    beyond = weights - weights.mean(axis=0)
    if patterns is None:
        return beyond.sum(axis=-1)
    return np.einsum("rpf,fpx->rx", beyond, _squares(without_reference(patterns)), optimize=True)


def cosines(one: np.ndarray, other: np.ndarray, *, centred: bool) -> np.ndarray:
    """Cosines, or with `centred` correlations, between rows: `[row of one, row of other]`."""
    if centred:
        one, other = (values - values.mean(axis=1, keepdims=True) for values in (one, other))
    norms = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(other, axis=1)
    return np.divide(one @ other.T, norms, out=np.zeros(norms.shape), where=norms > 0)


def _squares(fields: np.ndarray) -> np.ndarray:
    """`[..., electrode]` to the products of all electrodes, `[..., electrode * electrode]`."""
    return (fields[..., :, None] * fields[..., None, :]).reshape(*fields.shape[:-1], -1)


def _powers(patterns: np.ndarray) -> np.ndarray:
    """How each filter's power is shared by the electrodes, `[frequency, place, electrode]`."""
    powers = np.square(patterns)
    return powers / np.maximum(powers.sum(axis=-1, keepdims=True), np.finfo(float).tiny)


def mass_at_electrodes(weights: np.ndarray, patterns: np.ndarray | None) -> np.ndarray:
    """`[region, place, frequency, window]` to electrodes in the place of filters; sums are kept."""
    if patterns is None:
        return weights
    return np.einsum("rpfw,fpe->refw", weights, _powers(patterns), optimize=True)


def level_at_electrodes(values: np.ndarray, patterns: np.ndarray | None) -> np.ndarray:
    """`[head, place, frequency]` to `[head, frequency, electrode]`: at each electrode the mean of what shows there."""
    if patterns is None:
        return values.swapaxes(1, 2)
    powers = _powers(patterns)
    return np.einsum("hpf,fpe->hfe", values, powers / powers.sum(axis=1, keepdims=True), optimize=True)
