"""The scanner's volume markers in an EEG recording: which they are, and when every stored volume began."""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import RecordingError
from ..recordings.eeg import EEGRecording, Marker
from ..recordings.eeg_file import EEGFile

SPACING_TOLERANCE = 0.01  # share of the repetition time, of a single step
MEAN_TOLERANCE = 0.005  # share of the repetition time, of the mean step: a clock that lies, not one that drifts
MAX_FILLED_SHARE = 0.05  # dropped markers that may be filled, of all
DRIFT_WORTH_A_WARNING = 0.1  # repetition times over the whole run
BREAK = re.compile(r"New Segment/.*|(.*[^a-z])?boundary", re.IGNORECASE)  # of BrainVision; of EEGLAB and MNE
CLOCK = "SyncStatus/"  # the amplifier's clock: as regular as a scanner, and none


@dataclass(frozen=True)
class Alignment:
    """When every stored volume of a run began, in the EEG's time, and why we think so.

    Args:
        marker (`str` or `None`): the volume marker; `None` when the onsets were stated instead.
        onsets (`np.ndarray` of shape `[volume]`): seconds from the first EEG sample, NaN for a volume without marker.
        offset (`float`): seconds from the first EEG sample to the first stored volume, with a marker or without.
        spacing (`float`): mean seconds between markers.
        drift (`float`): seconds by which the last volume departs from the first plus a whole number of repetition
            times.
        lead_in (`int`): markers before the first stored volume; negative: stored volumes before the first marker.
        filled (`tuple[int, ...]`): volumes whose marker was dropped and whose onset was filled between its
            neighbours.
        reason (`str`): why this marker, or where the onsets come from.
        warnings (`tuple[str, ...]`): what a person should look at.
    """

    marker: str | None
    onsets: np.ndarray
    offset: float
    spacing: float
    drift: float
    lead_in: int
    filled: tuple[int, ...]
    reason: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Train:
    """The events of one marker as steps of a whole number of repetition times."""

    times: np.ndarray  # [event], dropped ones filled
    filled: np.ndarray  # [event], bool


def stated_alignment(
    recording: EEGRecording | EEGFile,
    first_volume: float,
    num_volumes: int,
    repetition_time: float,
    origin: str = "stated",
) -> Alignment:
    """Onsets from a constant, for EEG without volume markers; markers that are there are compared with it.

    Args:
        recording ([`EEGRecording`]): with its markers, if any.
        first_volume (`float`): seconds from the first EEG sample to the first stored volume; negative when the EEG
            starts later.
        num_volumes (`int`): stored volumes.
        repetition_time (`float`): seconds between them.
        origin (`str`): where the constant comes from, for the reason.

    Raises:
        RecordingError: when the recording was interrupted before the last volume, and no marker confirms the onsets.
    """
    reason = f"{origin}: the first volume at {first_volume:.3f} s, then one every {repetition_time:g} s"
    warnings: tuple[str, ...] = ("no volume marker confirms the onsets; an error in the first one shifts every pair",)
    with contextlib.suppress(RecordingError):
        marked = find_alignment(recording, num_volumes, repetition_time)
        marker, difference = repr(marked.marker), abs(marked.offset - first_volume)
        if difference <= SPACING_TOLERANCE * repetition_time:
            reason, warnings = f"{reason}, as {marker} confirms", ()
        else:
            warnings = (f"{marker} contradicts it: by that marker the first volume is at {marked.offset:.3f} s",)
    onsets = first_volume + repetition_time * np.arange(num_volumes)
    if warnings:
        _refuse_breaks(recording, onsets[-1])
    return Alignment(
        marker=None,
        onsets=onsets,
        offset=first_volume,
        spacing=repetition_time,
        drift=0.0,
        lead_in=0,
        filled=(),
        reason=reason,
        warnings=warnings,
    )


def _refuse_breaks(recording: EEGRecording | EEGFile, last: float) -> None:
    """Behind a break of unknown length no constant says when a volume is; the first sample's own marker is none."""
    after = 0.5 / recording.sampling_rate
    breaks = [m for m in recording.markers if after < m.onset <= last and BREAK.fullmatch(m.description)]
    if breaks:
        raise RecordingError(
            recording.source,
            found=f"{breaks[0].description!r} at {breaks[0].onset:.3f} s, where the recording was interrupted",
            expected=f"EEG without a break until the last volume at {last:.3f} s, where its onset is stated",
            remedy="Give the part without breaks, or EEG with volume markers.",
        )


def find_alignment(
    recording: EEGRecording | EEGFile,
    num_volumes: int,
    repetition_time: float,
    *,
    marker: str | None = None,
    lead_in: int | None = None,
) -> Alignment:
    """Find the volume markers and the onset of every stored volume.

    The marker is the only one whose events are `repetition_time` apart and as many as the stored volumes; gaps of
    whole numbers of repetition times are filled, up to 5 % of the volumes. With `lead_in`, the counts may differ:
    volumes without a marker then have no onset.

    Args:
        recording ([`EEGRecording`]): with its markers.
        num_volumes (`int`): stored volumes of the BOLD run.
        repetition_time (`float`): seconds between volumes.
        marker (`str`, *optional*): the marker's description (`"Response/R128"`), the part of it behind the slash
            (`"T"`), or a pattern (`"*R128"`); by default every marker is considered but the amplifier's clock
            (`SyncStatus/*`).
        lead_in (`int`, *optional*): markers before the first stored volume (dummy scans that were not kept);
            negative: stored volumes before the first marker (EEG that starts later).

    Raises:
        RecordingError: when no marker, or more than one, fits; all markers are listed.
    """
    events = _by_description(recording.markers)
    candidates = {name: times for name, times in events.items() if _may_be(name, marker)}
    # A marker's position is rounded to the EEG's samples, which are coarse beside 1 % of a short repetition time.
    tolerance = max(SPACING_TOLERANCE * repetition_time, 1 / recording.sampling_rate + 1e-9)
    trains = {name: _train(times, repetition_time, tolerance) for name, times in candidates.items()}
    fitting = {name: train for name, train in trains.items() if train is not None}
    fitting = {name: train for name, train in fitting.items() if _count_fits(train, num_volumes, lead_in)}
    if len(fitting) != 1:
        raise _no_marker(recording, events, candidates, trains, fitting, num_volumes, repetition_time, lead_in)
    ((name, train),) = fitting.items()
    reason = f"{len(train.times)} events {repetition_time:g} s apart for {num_volumes} stored volumes"
    reason += ", the only such marker" if marker is None else f", named by {marker!r}"
    return _alignment(name, train, num_volumes, repetition_time, lead_in, reason)


def _by_description(markers: Sequence[Marker]) -> dict[str, np.ndarray]:
    onsets = defaultdict(list)
    for event in markers:
        onsets[event.description].append(event.onset)
    return {name: np.asarray(times) for name, times in sorted(onsets.items())}


def _may_be(description: str, wanted: str | None) -> bool:
    if wanted is None:
        return not description.startswith(CLOCK)
    short = description.rpartition("/")[2]
    return any(name.strip() == wanted.strip() or fnmatch.fnmatchcase(name, wanted) for name in (description, short))


def _train(times: np.ndarray, repetition_time: float, tolerance: float) -> _Train | None:
    """The events with dropped ones filled, or None where the steps aren't whole numbers of repetition times."""
    if len(times) < 2:
        return None
    steps = np.diff(times)
    counts = np.rint(steps / repetition_time).astype(int)
    # Over a long gap the clock's own error adds up.
    if counts.min() < 1 or np.any(np.abs(steps - counts * repetition_time) > tolerance * counts):
        return None
    positions = np.concatenate([[0], np.cumsum(counts)])
    length = int(positions[-1]) + 1
    span = times[-1] - times[0]
    expected = (length - 1) * repetition_time
    if abs(span - expected) > max(MEAN_TOLERANCE * expected, tolerance):
        return None
    if length - len(times) > MAX_FILLED_SHARE * length:
        return None
    filled = np.ones(length, bool)
    filled[positions] = False
    return _Train(np.interp(np.arange(length), positions, times), filled)


def _count_fits(train: _Train, num_volumes: int, lead_in: int | None) -> bool:
    if lead_in is None:
        return len(train.times) == num_volumes
    return min(len(train.times) - lead_in, num_volumes) - max(-lead_in, 0) >= 2


def _alignment(
    name: str, train: _Train, num_volumes: int, repetition_time: float, lead_in: int | None, reason: str
) -> Alignment:
    shift = lead_in or 0
    index = np.arange(num_volumes) + shift  # the event of every stored volume
    marked = (index >= 0) & (index < len(train.times))
    onsets = np.full(num_volumes, np.nan)
    onsets[marked] = train.times[index[marked]]
    filled = tuple(np.flatnonzero(marked)[train.filled[index[marked]]].tolist())
    first, last = np.flatnonzero(marked)[[0, -1]]
    drift = float(onsets[last] - onsets[first] - (last - first) * repetition_time)
    spacing = float((onsets[last] - onsets[first]) / (last - first))
    warnings = []
    if filled:
        warnings.append(f"{len(filled)} dropped markers were filled, of volumes {', '.join(map(str, filled))}")
    if not marked.all():
        lost = np.flatnonzero(~marked)
        warnings.append(f"{len(lost)} stored volumes have no marker and are not used: {spans(lost)}")
    unused = len(train.times) - max(shift, 0) - int(marked.sum())
    if unused > 0:
        warnings.append(f"{unused} markers follow the last stored volume")
    if abs(drift) > DRIFT_WORTH_A_WARNING * repetition_time:
        warnings.append(f"the clocks drift apart by {drift:.3f} s over the run")
    if lead_in is not None:
        reason += f", lead-in {lead_in} as stated"
    offset = float(onsets[first] - first * repetition_time)
    return Alignment(name, onsets, offset, spacing, drift, shift, filled, reason, tuple(warnings))


def spans(volumes: Sequence[int] | np.ndarray) -> str:
    """Volumes as spans of neighbours: `0-2, 318`; nothing for none."""
    volumes = np.asarray(volumes, int)
    if not len(volumes):
        return ""
    groups = np.split(volumes, np.flatnonzero(np.diff(volumes) != 1) + 1)
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)


def _no_marker(
    recording: EEGRecording | EEGFile,
    events: dict[str, np.ndarray],
    candidates: dict[str, np.ndarray],
    trains: dict[str, _Train | None],
    fitting: dict[str, _Train],
    num_volumes: int,
    repetition_time: float,
    lead_in: int | None,
) -> RecordingError:
    listing = ", ".join(f"{name!r} {_describe(times)}" for name, times in events.items()) or "no markers"
    remedy = "Name the volume marker, and check that EEG and BOLD are of the same run and both complete."
    if all(len(times) < 2 for times in events.values()):
        remedy = "State when the first volume began (first_volume), or export the EEG with its markers."
    elif not fitting and lead_in is None:
        # Markers that were dropped in the middle are no lead-in.
        counted = {**candidates, **{name: train.times for name, train in trains.items() if train is not None}}
        near = [times for times in counted.values() if 0 < abs(len(times) - num_volumes) <= num_volumes // 4]
        if near:
            difference = len(near[0]) - num_volumes
            remedy = (
                f"{len(near[0])} markers over {np.ptp(near[0]):.3f} s stand against {num_volumes} volumes over "
                f"{(num_volumes - 1) * repetition_time:.3f} s: state the lead-in ({difference} if the difference lies "
                "at the start, 0 if at the end), or give the files of the same, complete run."
            )
    named = ", ".join(f"{name!r}, {int(train.filled.sum())} dropped" for name, train in fitting.items())
    named = f" ({named})" if named else ""
    return RecordingError(
        recording.source,
        found=f"{len(fitting)} fitting markers{named} among {listing}, in {recording.duration:.3f} s of EEG",
        expected=f"one marker with {num_volumes} events {repetition_time:g} s apart, one per stored volume, over "
        f"{(num_volumes - 1) * repetition_time:.3f} s",
        remedy=remedy,
    )


def _describe(times: np.ndarray) -> str:
    if len(times) < 2:
        return f"({len(times)} event)"
    return f"({len(times)} events, median spacing {np.median(np.diff(times)):.3f} s)"
