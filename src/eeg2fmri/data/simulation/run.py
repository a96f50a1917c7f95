"""One simulated run, in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import bold, eeg
from .anatomy import build_anatomy
from .latents import HISTORY, RATE, draw_latents
from .levels import Level, find_level
from .networks import BAND_NAMES, NETWORK_NAMES
from .physiology import draw_physiology
from .presets import Preset, find_preset
from .streams import check_number, stream
from .task import desynchronise, task_course
from .traits import draw_traits

MIN_VOLUMES = 10


@dataclass(frozen=True)
class SimulatedRun:
    """EEG and BOLD of one run, and what is true about it.

    Args:
        eeg (`np.ndarray` of shape `(num_electrodes, num_samples)`): volts, against the reference.
        ecg (`np.ndarray` of shape `(num_samples,)`): volts.
        electrodes: names.
        sampling_rate (`float`): EEG, Hz.
        volume_onsets (`np.ndarray` of shape `(num_volumes,)`): s from the first EEG sample;
            negative where a cut EEG begins later.
        pulse_onsets (`np.ndarray` of shape `(num_beats,)`): R peaks, s from the first EEG sample.
        bold (`np.ndarray` of shape `(x, y, z, num_volumes)`): float32, scanner units.
        affine (`np.ndarray` of shape `(4, 4)`): voxels to mm.
        repetition_time (`float`): s.
        truth (`dict`): `latents` `[network, band, time]` at 10 Hz, `latent_times` (s from the first EEG sample),
            `coupled`, `uncoupled` and their sum `series` `[network, volume]`, `global_series` `[volume]`,
            `maps` `[network, x, y, z]`, `task_course` (at `latent_times`, 0 at rest), `weights` `[network, band]`,
            `response_peaks` `[network]` (s), `network_names`, `band_names`.
        preset, level: what was simulated.
        seed, subject, run (`int`): which one.
        eeg_front (`float`): seconds of EEG that an export added to the front (or cut off it, negative).
        dropped_markers: the volumes, counted from 0, whose marker an export lost.
        raw_eeg (`bool`): whether EEG and ECG carry the scanner's artefacts, see `with_scanner_artifacts`.
    """

    eeg: np.ndarray
    ecg: np.ndarray
    electrodes: tuple[str, ...]
    sampling_rate: float
    volume_onsets: np.ndarray
    pulse_onsets: np.ndarray
    bold: np.ndarray
    affine: np.ndarray
    repetition_time: float
    truth: dict
    preset: Preset
    level: Level
    seed: int
    subject: int
    run: int
    eeg_front: float = 0.0
    dropped_markers: tuple[int, ...] = ()
    raw_eeg: bool = False


def simulate_run(
    preset: str | Preset = "mini",
    level: str | Level = "default",
    *,
    seed: int = 42,
    subject: int = 0,
    run: int = 0,
    num_volumes: int | None = None,
) -> SimulatedRun:
    """Simulate one run: a pure function of its arguments.

    EEG does not depend on the coupling: the level `null` has the very EEG of `default`.

    Args:
        preset (`str` or `Preset`): the protocol.
        level (`str` or `Level`): the coupling.
        seed (`int`): of the whole data set.
        subject (`int`): counted from 0; its traits depend on `(seed, subject)`.
        run (`int`): counted from 0; its state depends on `(seed, subject, run)`.
        num_volumes (`int`, *optional*): instead of the preset's.

    Returns:
        [`SimulatedRun`]

    Raises:
        InputError: for an unknown preset or level, or a number that is out of range.
    """
    preset, level = find_preset(preset), find_level(level)
    num_volumes = check_num_volumes(preset.num_volumes if num_volumes is None else num_volumes)
    for name, number in (("seed", seed), ("subject", subject), ("run", run)):
        check_number(name, number, 0)
    traits = draw_traits(preset, level, seed, subject)

    def state(purpose: str) -> np.random.Generator:
        return stream(purpose, seed, subject, run)

    onsets, duration = volume_times(preset, num_volumes)
    num_samples = round(duration * preset.sampling_rate)

    latents, arousal = draw_latents(state("latents"), level, round((HISTORY + duration) * RATE) + 1)
    course = np.zeros(latents.shape[-1])
    if preset.blocks is not None:
        course = traits.task_gain * task_course(preset.blocks, preset.lead_in, course.size, state("task"))
        latents = desynchronise(latents, course)
    physiology = draw_physiology(state("physiology"), traits.heart_rate, duration)

    random = state("artefacts")
    signals = eeg.neural_signals(preset, level, traits, latents, num_samples, state("carriers"), state("background"))
    signals += eeg.artefacts(preset, traits, physiology, num_samples, random)
    signals += eeg.sensor_noise(preset, num_samples, state("sensors"))
    ecg = eeg.electrocardiogram(preset, physiology, num_samples, random)

    anatomy = build_anatomy(preset, traits)
    random = state("uncoupled")
    coupled, uncoupled = bold.network_series(level, traits, latents, onsets, random)
    shared = bold.global_series(level, arousal, onsets, random)
    volumes = bold.scan(
        preset, level, anatomy, coupled + uncoupled, shared, physiology, onsets, state("confounds"), state("noise")
    )
    truth = {
        "latents": latents,
        "latent_times": np.arange(latents.shape[-1]) / RATE - HISTORY,
        "coupled": coupled,
        "uncoupled": uncoupled,
        "series": coupled + uncoupled,
        "global_series": shared,
        "maps": anatomy.maps,
        "task_course": course,
        "weights": traits.weights,
        "response_peaks": traits.response_peaks,
        "network_names": NETWORK_NAMES,
        "band_names": BAND_NAMES,
    }
    return SimulatedRun(
        eeg=signals,
        ecg=ecg,
        electrodes=preset.electrodes,
        sampling_rate=preset.sampling_rate,
        volume_onsets=onsets,
        pulse_onsets=physiology.pulse_onsets,
        bold=volumes,
        affine=anatomy.affine,
        repetition_time=preset.repetition_time,
        truth=truth,
        preset=preset,
        level=level,
        seed=seed,
        subject=subject,
        run=run,
    )


def volume_times(preset: Preset, num_volumes: int) -> tuple[np.ndarray, float]:
    """The volumes' onsets `[num_volumes]` and the end of the run, s from the first EEG sample."""
    onsets = preset.lead_in + preset.repetition_time * np.arange(num_volumes)
    return onsets, preset.lead_in + preset.repetition_time * num_volumes


def check_num_volumes(num_volumes: int) -> int:
    """Refuse a run that is too short to have slow fluctuations."""
    check_number("num_volumes", num_volumes, MIN_VOLUMES)
    return num_volumes
