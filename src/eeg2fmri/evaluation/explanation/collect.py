"""What is kept of each test run, in terms of electrodes, bands, lags and sources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from ...pipeline import EEG2fMRIPipeline
from ...pipeline_inputs import volume_generators
from ...randomness import seed_for
from ..runs import DatasetRun
from .axes import InputAxes, band_shares, encoder_axes, interpolate_stage, spectrogram_axes, spread_tokens
from .fields import filter_patterns, input_changes
from .network import Attention, attention, batches, condition_of, fusion_weights, gradients, region_maps
from .sources import Sources, attended, cosines, level_at_electrodes, mass_at_electrodes


@dataclass
class RunFindings:
    """One run; every array is a mean over its windows. What can't be had stays empty.

    Args:
        subject: whose.
        fusion (`list` of `np.ndarray` of shape `[head, frequency, electrode]`): MHRSA's W of each stage.
        attention (`np.ndarray` of shape `[region, band, window, electrode]`): CIIM's; shares of all attention.
        similarity (`np.ndarray` of shape `[region, candidate]`): of what a region attends to more than others do with
            the forward fields of the simulator's networks.
        entropy, lag (`np.ndarray` of shape `[depth, height, width]`): of each position's attention; lag in seconds.
        electrode_response (`dict` of `np.ndarray` of shape `[region, band, window, electrode]`): by target, the change
            of the region's expected signal when the cortex below an electrode is more active.
        source_response (`dict` of `np.ndarray` of shape `[region, band, window, candidate]`): likewise for networks.
    """

    subject: str
    fusion: list[np.ndarray] = field(default_factory=list)
    attention: np.ndarray | None = None
    similarity: np.ndarray | None = None
    entropy: np.ndarray | None = None
    lag: np.ndarray | None = None
    electrode_response: dict[str, np.ndarray] = field(default_factory=dict)
    source_response: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How much is looked at: windows of each run, denoising steps, seed, and the regions' rows."""

    windows_per_run: int
    num_steps: int
    seed: int
    regions: np.ndarray


def explain_run(
    run: DatasetRun, pipe: EEG2fMRIPipeline, position: int, settings: Settings, sources: Sources | None
) -> RunFindings:
    """Look at evenly spread windows of one run.

    Args:
        run, pipe: of which.
        position: of the run among all, for its noise.
        settings ([`Settings`]).
        sources ([`Sources`], *optional*): without them there is no attribution.
    """
    findings = RunFindings(run.subject)
    stored, recorded = run.stored_spectra(), run.recorded_spectra()
    normalised = pipe.eeg_processor.normalise(stored)
    count = min(settings.windows_per_run, len(run.columns))
    chosen = run.columns[np.unique(np.linspace(0, len(run.columns) - 1, count).round().astype(int))]
    windows = torch.from_numpy(np.ascontiguousarray(normalised[chosen].transpose(0, 2, 3, 4, 1))).to(pipe.device)
    patterns = None if pipe.prior is None else filter_patterns(pipe, recorded, normalised)
    axes, maps, condition = encoder_axes(pipe), region_maps(run, pipe, settings.regions), condition_of(run, pipe)

    def noise() -> list[torch.Generator]:
        source = torch.Generator().manual_seed(seed_for(settings.seed, "explanation noise", position))
        return volume_generators([len(windows)], source)

    if pipe.eeg_encoder.config.encoder == "epg":
        for stage, weights in enumerate(fusion_weights(pipe, windows)):
            values = interpolate_stage(pipe.eeg_encoder, weights, stage, axes.shape).mean(axis=-1)
            findings.fusion.append(level_at_electrodes(values, patterns))
    if pipe.unet.config.conditioning == "ciim":
        seen = attention(pipe, windows, condition, maps, noise(), settings.num_steps)
        _add_attention(findings, pipe, seen, axes, patterns, sources)
    if sources is not None:
        shares = band_shares(spectrogram_axes(pipe.eeg_processor).ranges)
        for batch in batches(len(windows)):
            slopes = gradients(pipe, windows[batch], condition, maps, noise()[batch])
            changes = input_changes(pipe.eeg_processor, stored, recorded, sources.fields, chosen[batch])
            for name, own in _responses(slopes, changes, shares).items():
                networks, electrodes = sources.split(own / len(windows))
                for kept, part in (
                    (findings.source_response, networks),
                    (findings.electrode_response, electrodes),
                ):
                    kept[name] = kept.get(name, 0) + part
    return findings


def _add_attention(
    findings: RunFindings,
    pipe: EEG2fMRIPipeline,
    seen: Attention,
    axes: InputAxes,
    patterns: np.ndarray | None,
    sources: Sources | None,
) -> None:
    shares = band_shares(axes.ranges)
    of_inputs = spread_tokens(pipe.eeg_encoder, seen.of_regions, axes.shape)
    at_electrodes = mass_at_electrodes(of_inputs, patterns)
    findings.attention = np.einsum("refw,bf->rbwe", at_electrodes, shares, optimize=True)
    findings.entropy = seen.entropy
    lags = spread_tokens(pipe.eeg_encoder, seen.of_positions, axes.shape).sum(axis=(-3, -2))
    findings.lag = lags @ axes.lags / lags.sum(axis=-1)
    if sources is not None and sources.simulated:
        signed = patterns is not None
        regions = attended(of_inputs.sum(axis=-1), patterns)
        findings.similarity = cosines(regions, sources.signatures(signed), centred=not signed)


def _responses(
    slopes: dict[str, np.ndarray], changes: Iterable[np.ndarray], shares: np.ndarray
) -> dict[str, np.ndarray]:
    """Gradients `[region, N, C, electrode, frequency, window]` times each source's change of the input, summed.

    Returns:
        `dict` of `np.ndarray` of shape `[region, band, window, source]`.
    """
    # The frequencies and windows first, so that the rest is one product of matrices.
    ordered = {
        name: np.ascontiguousarray(own.transpose(4, 5, 0, 1, 2, 3)).reshape(*own.shape[4:], len(own), -1)
        for name, own in slopes.items()
    }
    responses: dict[str, list[np.ndarray]] = {name: [] for name in slopes}
    inside = (shares > 0.5).astype(float)
    for change in changes:
        vector = np.ascontiguousarray(change.transpose(3, 4, 0, 1, 2), np.float32).reshape(*change.shape[3:], -1, 1)
        for name, own in ordered.items():
            responses[name].append(np.einsum("fwr,bf->rbw", (own @ vector)[..., 0], inside, optimize=True))
    return {name: np.stack(own, axis=-1) for name, own in responses.items()}
