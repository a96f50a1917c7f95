"""Raw in-scanner EEG: the gradient and the pulse artefact of a simulated run, on top of the EEG that is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy.signal import resample_poly

from ...errors import InputError
from .head import electrode_positions
from .latents import band_limited
from .run import SimulatedRun
from .streams import stream

LOWEST_RAW_RATE = 1000.0  # Hz; the artefact's slopes need more than the EEG does
GRADIENT_PEAK = 2e-3  # V, in the electrode that has most of it
HIGHEST_HARMONIC = 250.0  # Hz, low-pass of the amplifiers
AXES = 3  # gradient coils, each with its own course and its own gain in every electrode
VOLUME_PART = 0.2  # of a course that repeats with volumes, not with slices
MOTION = 0.005  # relative change (sd) of the gains as the head moves
MOTION_BAND = (0.002, 0.01)  # Hz
PULSE_PEAK = 80e-6  # V
PULSE_JITTER = 0.15  # relative spread of the beats' strength


def with_scanner_artifacts(run: SimulatedRun) -> SimulatedRun:
    """The same run as the amplifier recorded it: at 1 kHz or more, with gradient and pulse artefact.

    The EEG before is the truth: `simulate_run`, and `export_run` if any, give it for the same arguments. BOLD and all
    times stay.

    Args:
        run ([`SimulatedRun`]): as of `simulate_run` or `export_run`.

    Raises:
        InputError: when the run has these artefacts already.
    """
    if run.raw_eeg:
        raise InputError(
            "run", found="raw EEG", expected="EEG without the scanner's artefacts", remedy="Add them once."
        )
    random = stream("scanner", run.seed, run.subject, run.run)
    factor = math.ceil(LOWEST_RAW_RATE / run.sampling_rate)
    rate = factor * run.sampling_rate
    signals = resample_poly(np.vstack([run.eeg, run.ecg]), factor, 1, axis=1, padtype="line")
    times = np.arange(signals.shape[1]) / rate
    signals += _gradient(run, len(signals), times, rate, random)
    signals[:-1] += _pulse(run, times, random)
    return dataclasses.replace(run, eeg=signals[:-1], ecg=signals[-1], sampling_rate=rate, raw_eeg=True)


def _gradient(
    run: SimulatedRun, num_channels: int, times: np.ndarray, rate: float, random: np.random.Generator
) -> np.ndarray:
    """`sum_axes gain(channel) * (1 + motion(time)) * course(time since the volume's onset)`, during the scan."""
    gains = random.standard_normal((num_channels, AXES))
    since = times - run.volume_onsets[0]
    scanned = (since >= 0) & (since < run.repetition_time * run.volume_onsets.size)
    artifact = np.zeros((num_channels, times.size))
    for axis in range(AXES):
        course = _course(run, since, min(HIGHEST_HARMONIC, 0.4 * rate), random)
        motion = 1 + MOTION * band_limited(random, (1, times.size), rate, *MOTION_BAND)[0]
        artifact += np.outer(gains[:, axis], course * motion * scanned)
    return artifact * (GRADIENT_PEAK / np.abs(artifact).max())


def _course(run: SimulatedRun, since: np.ndarray, highest: float, random: np.random.Generator) -> np.ndarray:
    """A course of unit rms: harmonics of the slice rate, and weaker ones of the volume rate."""
    num_slices = run.preset.shape[2]
    numbers = np.arange(1, max(int(highest * run.repetition_time), 1) + 1)
    weights = np.where(numbers % num_slices == 0, 1.0, VOLUME_PART / np.sqrt(num_slices))
    weights *= random.standard_normal(numbers.size) / np.sqrt(numbers)
    phases = random.uniform(0, 2 * np.pi, numbers.size)
    position = np.arange(4096) / 4096
    course = np.cos(2 * np.pi * np.outer(position, numbers) + phases) @ weights
    course /= np.sqrt(np.mean(course**2))
    return np.interp(since / run.repetition_time % 1.0, position, course, period=1.0)


def _pulse(run: SimulatedRun, times: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The head's nod and the scalp's swelling 0.1 to 0.5 s after each R peak, `[electrode, time]` volts."""
    positions = electrode_positions(run.electrodes)
    positions = positions / np.abs(positions).max()
    topographies = positions @ random.standard_normal((3, 2)) + 0.2 * random.standard_normal((len(positions), 2))
    strengths = 1 + PULSE_JITTER * random.standard_normal((run.pulse_onsets.size, 2))
    courses = np.zeros((2, times.size))
    for onset, strength in zip(run.pulse_onsets, strengths, strict=True):
        first, stop = np.searchsorted(times, (onset, onset + 0.8))
        since = times[first:stop] - onset
        courses[0, first:stop] += strength[0] * np.exp(-(((since - 0.22) / 0.07) ** 2))
        swing = np.exp(-(((since - 0.3) / 0.1) ** 2)) * np.sin(2 * np.pi * 4 * (since - 0.3))
        courses[1, first:stop] += strength[1] * swing
    artifact = topographies @ courses
    return artifact * (PULSE_PEAK / np.abs(artifact).max())
