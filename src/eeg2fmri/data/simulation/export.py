"""What an export does to a recording: it starts earlier or later than the scan's, and volume markers are missing."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import InputError
from . import eeg
from .checks import LARGEST, is_within
from .latents import HISTORY, RATE, draw_latents
from .physiology import draw_physiology
from .run import SimulatedRun
from .streams import stream
from .traits import draw_traits

SHORTEST_FRONT = 20.0  # s: slow rhythms need some time to be simulated in
SEAM = 0.2  # s, within which the added EEG approaches the first sample of the old one


def export_run(run: SimulatedRun, eeg_front: float = 0.0, dropped_markers: float = 0) -> SimulatedRun:
    """Change where the EEG starts, and leave volume markers out; BOLD stays as it is.

    All times of the result, in the truth too, count from the new first EEG sample: volumes that began before it have
    negative onsets, and no marker.

    Args:
        run ([`SimulatedRun`]): as of `simulate_run`, not exported before.
        eeg_front (`float`): seconds of resting EEG added to the front (positive) or cut off it (negative), rounded to
            whole samples.
        dropped_markers (`float`): how many of the volume markers are missing, or below 1 the share of them.

    Raises:
        InputError: for a number out of range, or a run that was exported before.
    """
    if run.eeg_front or run.dropped_markers:
        raise InputError(
            "run",
            found=f"an export with {run.eeg_front:g} s at the front and {len(run.dropped_markers)} lost markers",
            expected="a run as of simulate_run",
            remedy="Export the simulated run once, with both changes.",
        )
    check_export(run.volume_onsets, run.eeg.shape[1] / run.sampling_rate, eeg_front, dropped_markers)
    num_samples = round(eeg_front * run.sampling_rate)
    if num_samples > 0:
        run = _padded(run, num_samples)
    elif num_samples < 0:
        run = dataclasses.replace(
            _shifted(run, num_samples), eeg=run.eeg[:, -num_samples:], ecg=run.ecg[-num_samples:]
        )
    marked = np.flatnonzero(run.volume_onsets >= 0)
    count = _count(dropped_markers, marked.size)
    dropped = stream("markers", run.seed, run.subject, run.run).choice(marked, count, replace=False)
    return dataclasses.replace(run, dropped_markers=tuple(sorted(dropped.tolist())))


def check_export(volume_onsets: np.ndarray, duration: float, eeg_front: float, dropped_markers: float) -> None:
    """Refuse an export that leaves less than half of the EEG, or less than two volume markers.

    Args:
        volume_onsets (`np.ndarray` of shape `(num_volumes,)`): s from the first EEG sample.
        duration (`float`): of the EEG, s.
        eeg_front, dropped_markers: as of `export_run`.

    Raises:
        InputError: for a number out of range.
    """
    if not is_within(eeg_front, -duration / 2, LARGEST - SHORTEST_FRONT):
        raise InputError(
            "eeg_front",
            found=repr(eeg_front),
            expected=f"{-duration / 2:g} (cut) to {LARGEST - SHORTEST_FRONT:g} (added) seconds",
            remedy="Choose a number in this range.",
        )
    num_marked = int(np.count_nonzero(volume_onsets + eeg_front >= 0))
    valid = is_within(dropped_markers, 0, num_marked) and (
        dropped_markers < 1 or dropped_markers == int(dropped_markers)
    )
    if not valid or num_marked - _count(dropped_markers, num_marked) < 2:
        raise InputError(
            "dropped_markers",
            found=repr(dropped_markers),
            expected=f"a share below 1, or a whole number, that leaves at least 2 of {num_marked} markers",
            remedy="Drop fewer markers.",
        )


def _count(dropped_markers: float, num_markers: int) -> int:
    return round(dropped_markers * num_markers) if dropped_markers < 1 else int(dropped_markers)


def _shifted(run: SimulatedRun, num_samples: int) -> SimulatedRun:
    """All times later by so many samples; without the pulses that are then outside of the EEG."""
    shift = num_samples / run.sampling_rate
    pulses = run.pulse_onsets + shift
    return dataclasses.replace(
        run,
        eeg_front=shift,
        volume_onsets=run.volume_onsets + shift,
        pulse_onsets=pulses[pulses >= 0],
        truth={**run.truth, "latent_times": run.truth["latent_times"] + shift},
    )


def _padded(run: SimulatedRun, num_samples: int) -> SimulatedRun:
    """More EEG at the front, of the same subject at rest outside of the scan.

    Its latents are those that the haemodynamic response of the first volumes has seen, and new ones before.
    """
    preset, rate = run.preset, run.sampling_rate
    random = stream("front", run.seed, run.subject, run.run)
    traits = draw_traits(preset, run.level, run.seed, run.subject)
    duration = np.ceil(max(num_samples / rate, SHORTEST_FRONT) * RATE) / RATE
    num_simulated = round(duration * rate)
    num_known = round(HISTORY * RATE) + 1  # up to the old first sample
    latents = draw_latents(random, run.level, round(duration * RATE) + num_known)[0]
    latents[..., -num_known:] = run.truth["latents"][..., :num_known]

    physiology = draw_physiology(random, traits.heart_rate, duration)
    before_scan = dataclasses.replace(preset, lead_in=duration)
    signals = eeg.neural_signals(preset, run.level, traits, latents, num_simulated, random, random)
    signals += eeg.artefacts(before_scan, traits, physiology, num_simulated, random)
    signals += eeg.sensor_noise(preset, num_simulated, random)
    ecg = eeg.electrocardiogram(preset, physiology, num_simulated, random)

    approach = np.exp((np.arange(num_simulated) + 1 - num_simulated) / (SEAM * rate))
    signals += (run.eeg[:, :1] - signals[:, -1:]) * approach
    ecg += (run.ecg[0] - ecg[-1]) * approach

    shifted = _shifted(run, num_samples)
    pulses = physiology.pulse_onsets + (num_samples - num_simulated) / rate
    new = latents[..., :-num_known]
    truth = {
        **shifted.truth,
        "latents": np.concatenate([new, run.truth["latents"]], axis=-1),
        "task_course": np.concatenate([np.zeros(new.shape[-1]), run.truth["task_course"]]),
        "latent_times": shifted.truth["latent_times"][0]
        + np.arange(-new.shape[-1], run.truth["latent_times"].size) / RATE,
    }
    return dataclasses.replace(
        shifted,
        eeg=np.concatenate([signals[:, -num_samples:], run.eeg], axis=1),
        ecg=np.concatenate([ecg[-num_samples:], run.ecg]),
        pulse_onsets=np.concatenate([pulses[pulses >= 0], shifted.pulse_onsets]),
        truth=truth,
    )
