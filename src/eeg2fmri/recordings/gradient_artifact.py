"""The gradient artefact of EEG recorded inside a scanner: where it is, how strong it is, and its removal.

Average artefact subtraction (Allen et al. 2000): the artefact repeats with every volume, so the mean of neighbouring
volumes is its template.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import CubicSpline

from ..errors import RecordingError

# Volumes averaged for a template, half before and half after. What is left of the EEG in a mean of n volumes adds 1/n
# to its power; head movement limits how far apart they may be.
WINDOW = 20
FEWEST_VOLUMES = 9
LARGEST_DEVIATION = 1.0  # samples, of a marker from the regular grid
REPEATS = 0.8  # correlation from which a volume's length of signal repeats its neighbour
SHORTEST_PIECE = 0.05  # volumes, of a piece at the recording's ends that is compared
BAND = (2.0, 45.0)  # Hz, where the artefact is measured: there EEG and artefact are in each other's way
BLOCK = 8  # volumes in one spectrum
MAX_BLOCKS = 40
PLATEAU = 3  # equal samples in a row at a channel's extreme


@dataclasses.dataclass(frozen=True)
class VolumeGrid:
    """When volumes were acquired, in samples of the EEG: `start + n * spacing` for `n < num_volumes`.

    Args:
        start (`float`): of the first volume; negative when the EEG began during it.
        spacing (`float`): between volumes.
        num_volumes (`int`): how many; the last one ends one spacing after its start.
    """

    start: float
    spacing: float
    num_volumes: int

    @property
    def stop(self) -> float:
        """End of the last volume."""
        return self.start + self.num_volumes * self.spacing

    @property
    def is_whole(self) -> bool:
        """Whether every volume begins at a sample."""
        return float(self.start).is_integer() and float(self.spacing).is_integer()


def volume_grid(onsets: Sequence[float] | np.ndarray, sampling_rate: float, source: str) -> VolumeGrid:
    """The regular grid that volume markers lie on; a dropped marker leaves a gap that the grid fills.

    A template needs volumes of equal length. Where the clocks of scanner and amplifier are not synchronised, the
    spacing is a fraction of a sample off; that is a regular grid too, and its markers are at most a sample beside it.

    Args:
        onsets: seconds from the first EEG sample.
        sampling_rate (`float`): of the EEG, Hz.
        source (`str`): the recording, for messages.

    Raises:
        RecordingError: when the volumes are too few, or not equally far apart.
    """
    positions = np.sort(np.asarray(onsets, dtype=float)) * sampling_rate
    expected = f"at least {FEWEST_VOLUMES} volume markers at a constant spacing (1 sample at most beside it)"
    if positions.size < FEWEST_VOLUMES:
        remedy = "The gradient artefact's template is a mean over volumes: give the EEG of the whole scan."
        raise RecordingError(source, found=f"{positions.size} volume markers", expected=expected, remedy=remedy)
    steps = np.diff(positions)
    counts = np.rint(steps / max(float(np.median(steps)), 1e-9)).astype(int)
    index = np.concatenate([[0], np.cumsum(counts)])
    if counts.min() >= 1:
        spacing, start = np.polyfit(index, positions, 1)
        whole = round(float(np.median(steps)))
        # A least-squares line through whole samples misses them by rounding errors.
        if np.allclose(positions, positions[0] + index * whole, atol=0.01):
            start, spacing = round(positions[0]), whole
        deviation = float(np.abs(positions - start - index * spacing).max())
        if deviation <= LARGEST_DEVIATION:
            return VolumeGrid(float(start), float(spacing), int(index[-1]) + 1)
    else:
        deviation = float("inf")
    raise RecordingError(
        source,
        found=f"volumes {steps.min() / sampling_rate:.6f} to {steps.max() / sampling_rate:.6f} s apart, up to "
        f"{deviation:.1f} samples beside a regular grid",
        expected=expected,
        remedy="The gradient artefact can't be averaged over volumes of different length: check that the marker is "
        "the volume's and that the scan was not interrupted, or remove the artefact with the amplifier's software.",
    )


def with_unmarked_volumes(grid: VolumeGrid, signals: np.ndarray) -> VolumeGrid:
    """Extend a grid by volumes without markers (lead-in volumes, a last one cut short): where the artefact goes on.

    Args:
        grid ([`VolumeGrid`]): of the markers.
        signals (`np.ndarray` of shape `[channel, time]`): some channels of the whole recording.
    """
    before = after = 0
    while _repeats(signals, grid.start - (before + 1) * grid.spacing, grid.spacing, grid.spacing):
        before += 1
    while _repeats(signals, grid.stop + after * grid.spacing, grid.spacing, -grid.spacing):
        after += 1
    return VolumeGrid(grid.start - before * grid.spacing, grid.spacing, grid.num_volumes + before + after)


def _repeats(signals: np.ndarray, start: float, length: float, shift: float) -> bool:
    """Whether the part of `[start, start + length)` that was recorded repeats `shift` samples on."""
    first, stop = max(0, round(start)), min(signals.shape[1], round(start + length))
    if stop - first < SHORTEST_PIECE * length:
        return False
    piece, neighbour = signals[:, first:stop], signals[:, first + round(shift) : stop + round(shift)]
    piece, neighbour = (part - part.mean(axis=1, keepdims=True) for part in (piece, neighbour))
    power = np.sqrt((piece**2).sum(axis=1) * (neighbour**2).sum(axis=1))
    correlations = np.divide((piece * neighbour).sum(axis=1), power, out=np.zeros(len(power)), where=power > 0)
    return bool(np.median(correlations) > REPEATS)


def gradient_artifact(signals: np.ndarray, grid: VolumeGrid) -> np.ndarray:
    """The artefact in some channels, `[channel, time]` volts, zero outside of the scan.

    Volumes at the scan's edges get the mean of the nearest ones. Where volumes do not begin at samples, the signals
    are interpolated (cubic splines) to a whole number of samples a volume, and the artefact back.

    Args:
        signals (`np.ndarray` of shape `[channel, time]`): volts; the whole recording.
        grid ([`VolumeGrid`]): when volumes were acquired.
    """
    length = round(grid.spacing)
    front, back = (max(0, int(np.ceil(reach))) for reach in (-grid.start, grid.stop - signals.shape[1]))
    padded = _padded(signals, length, front, back)
    start, stop = grid.start + front, grid.stop + front
    artifact = np.zeros_like(padded)
    if grid.is_whole:
        scanned = slice(int(start), int(stop))
        artifact[:, scanned] = _templates(padded[:, scanned], length)
    else:
        times = start + np.arange(grid.num_volumes * length) * (grid.spacing / length)
        samples = np.arange(padded.shape[1])
        scanned = slice(int(np.ceil(times[0])), int(times[-1]) + 1)
        found = _templates(CubicSpline(samples, padded, axis=1)(times), length)
        artifact[:, scanned] = CubicSpline(times, found, axis=1)(samples[scanned])
    return artifact[:, front : front + signals.shape[1]]


def _padded(signals: np.ndarray, length: int, front: int, back: int) -> np.ndarray:
    """Volumes that were cut by the recording's ends, completed by their neighbours' samples."""
    num_points = signals.shape[1]
    last = signals[:, num_points - length : num_points - length + back]
    return np.concatenate([signals[:, length - front : length], signals, last], axis=1)


def _templates(signals: np.ndarray, length: int) -> np.ndarray:
    """For volumes of `length` samples, one after the other: the mean course of each one's nearest neighbours.

    Drift from volume to volume is set apart first, or a template would take it for a course within volumes. The
    middle volumes' templates are those of `mne.preprocessing.remove_fmri_gradient_artifact`, but for the linear trend:
    MNE takes it out of every volume, with all EEG slower than a volume, and leaves a step between volumes. It leaves
    the first and last volumes as they are, and detrends every volume anew for each template that it is part of.
    """
    num_volumes = signals.shape[1] // length
    window = min(WINDOW, (num_volumes - 1) // 2 * 2)
    means = signals.reshape(len(signals), num_volumes, length).mean(axis=2)
    # One more at either end, on the line through the last two.
    means = np.concatenate([2 * means[:, :1] - means[:, 1:2], means, 2 * means[:, -1:] - means[:, -2:-1]], axis=1)
    centres = (np.arange(-1, num_volumes + 1) + 0.5) * length - 0.5
    times = np.arange(signals.shape[1])
    volumes = signals - np.stack([np.interp(times, centres, row) for row in means])
    volumes = volumes.reshape(len(signals), num_volumes, length)
    volumes -= volumes.mean(axis=2, keepdims=True)
    sums = np.cumsum(volumes, axis=1)
    sums = np.concatenate([np.zeros_like(sums[:, :1]), sums], axis=1)
    first = np.clip(np.arange(num_volumes) - window // 2, 0, num_volumes - window - 1)
    templates = (sums[:, first + window + 1] - sums[:, first] - volumes) / window
    return templates.reshape(signals.shape)


def harmonic_power(signals: np.ndarray, sampling_rate: float, onsets: np.ndarray) -> np.ndarray:
    """Power at the harmonics of the volume rate beside the power midway between them, 2 to 45 Hz, `[channel]` in dB.

    About 0 for EEG without gradient artefact, 40 and more for raw EEG of a scanner.

    Args:
        signals (`np.ndarray` of shape `[channel, time]`): volts.
        sampling_rate (`float`): Hz.
        onsets (`np.ndarray` of shape `[volume]`): seconds, equally spaced; at least eight.
    """
    if len(onsets) < BLOCK:
        return np.zeros(len(signals))
    length = round(BLOCK * np.median(np.diff(onsets)) * sampling_rate)
    starts = np.rint(np.asarray(onsets)[::BLOCK] * sampling_rate).astype(int)
    starts = starts[(starts >= 0) & (starts + length <= signals.shape[1])]
    if not starts.size:
        return np.zeros(len(signals))
    starts = starts[np.unique(np.linspace(0, starts.size - 1, MAX_BLOCKS).astype(int))]
    window = np.hanning(length)
    power = np.zeros((len(signals), length // 2 + 1))
    for start in starts:
        power += np.abs(np.fft.rfft(window * signals[:, start : start + length])) ** 2
    low, high = (int(frequency * length / sampling_rate / BLOCK) for frequency in BAND)
    harmonics = BLOCK * np.arange(max(low, 1), min(high, (power.shape[1] - 1) // BLOCK))
    between = np.maximum(power[:, harmonics + BLOCK // 2].sum(axis=1), np.finfo(float).tiny)
    return 10 * np.log10(np.maximum(power[:, harmonics].sum(axis=1), np.finfo(float).tiny) / between)


def clipped_share(signals: np.ndarray) -> np.ndarray:
    """Share of the samples that stay at a channel's largest or smallest value, as of a saturated amplifier."""
    count = np.zeros(len(signals))
    for limit in (signals.max(axis=1, keepdims=True), signals.min(axis=1, keepdims=True)):
        at_limit = signals == limit
        run = np.logical_and.reduce([at_limit[:, i : at_limit.shape[1] - PLATEAU + 1 + i] for i in range(PLATEAU)])
        count += run.sum(axis=1)
    return np.where(np.ptp(signals, axis=1) > 0, count / signals.shape[1], 0.0)
