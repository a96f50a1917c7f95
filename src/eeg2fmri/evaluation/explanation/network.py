"""What the networks give away while they work: fusion weights, attention maps, gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ...pipeline import EEG2fMRIPipeline
from ..runs import DatasetRun

WINDOWS_AT_ONCE = 8


@dataclass(frozen=True)
class Attention:
    """CIIM's attention on its finest level, averaged over windows, heads, steps and the level's interactions.

    Args:
        of_regions (`np.ndarray` of shape `[region, token]`): each sums to 1.
        of_positions (`np.ndarray` of shape `[depth, height, width, token]`): likewise.
        entropy (`np.ndarray` of shape `[depth, height, width]`): mean entropy of a position's attention, as a share of
            that of equal weights.
    """

    of_regions: np.ndarray
    of_positions: np.ndarray
    entropy: np.ndarray


def region_maps(run: DatasetRun, pipe: EEG2fMRIPipeline, chosen: np.ndarray) -> np.ndarray:
    """Weights `[region, D, H, W]` on the model's grid, each sums to 1 (0 where the run doesn't hold the region)."""
    weights = run.regions.weights[chosen].toarray().reshape(-1, *run.mask.shape)
    return pipe.volume_processor.pad(weights)


def condition_of(run: DatasetRun, pipe: EEG2fMRIPipeline) -> torch.Tensor | None:
    """The mean volume that the denoiser sees: the template, in native space that of the run's first 30 volumes."""
    config = pipe.volume_processor.config
    if config.mode != "change":
        return None
    reference = pipe.volume_processor.reference(run.calibration() if config.space == "native" else None)
    return torch.from_numpy(pipe.volume_processor.condition(reference))[None].to(pipe.device)


def encoder_input(pipe: EEG2fMRIPipeline, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the encoder reads of the windows, and the volumes that the prior expects."""
    if pipe.prior is None:
        return windows, None
    expected = pipe.predict_prior(windows)
    return expected.band_powers, expected.sample


def fusion_weights(pipe: EEG2fMRIPipeline, windows: torch.Tensor) -> list[np.ndarray]:
    """MHRSA's W of each stage, averaged over windows and a head's channels: `[head, place, frequency, window]`."""
    num_heads = pipe.eeg_encoder.config.num_spectral_attention_heads
    sums: list[torch.Tensor] = []
    with torch.no_grad():
        for batch in batches(len(windows)):
            inputs, _ = encoder_input(pipe, windows[batch])
            own = [stage.sum(0) for stage in pipe.eeg_encoder(inputs, return_fusion_weights=True).fusion_weights]
            sums = own if not sums else [total + more for total, more in zip(sums, own, strict=True)]
    heads = [total.unflatten(0, (num_heads, -1)).mean(1) / len(windows) for total in sums]
    return [weights.double().cpu().numpy() for weights in heads]


def attention(
    pipe: EEG2fMRIPipeline,
    windows: torch.Tensor,
    condition: torch.Tensor | None,
    maps: np.ndarray,
    noise: list[torch.Generator],
    num_steps: int,
) -> Attention:
    """Generate a volume from every window and average the attention on the way.

    Args:
        pipe: with CIIM.
        windows (`torch.Tensor` of shape `[N, C, electrode, frequency, window]`).
        condition (`torch.Tensor` of shape `[1, 1, D, H, W]`, *optional*): the mean volume.
        maps (`np.ndarray` of shape `[region, D, H, W]`): of [`region_maps`].
        noise: one generator for each window.
        num_steps (`int`): denoising steps.
    """
    grid = finest_grid(pipe)
    weights = torch.from_numpy(_pooled(maps, grid)).to(windows)
    num_tokens = math.prod(pipe.eeg_encoder.token_grid)
    regions = windows.new_zeros(len(maps), num_tokens)
    positions = windows.new_zeros(math.prod(grid), num_tokens)
    entropy = windows.new_zeros(math.prod(grid))
    count = 0
    for batch in batches(len(windows)):
        for share in _attention_maps(pipe, windows[batch], condition, noise[batch], num_steps, len(positions)):
            regions += torch.einsum("rp,bpt->rt", weights, share)
            positions += share.sum(0)
            entropy -= torch.xlogy(share, share).sum((0, 2)) / math.log(num_tokens)
            count += len(share)
    return Attention(
        (regions / count).double().cpu().numpy(),
        (positions / count).double().cpu().numpy().reshape(*grid, -1),
        (entropy / count).double().cpu().numpy().reshape(grid),
    )


def batches(count: int) -> list[slice]:
    """So many windows, a few at once."""
    return [slice(start, start + WINDOWS_AT_ONCE) for start in range(0, count, WINDOWS_AT_ONCE)]


@torch.no_grad()
def _attention_maps(
    pipe: EEG2fMRIPipeline,
    windows: torch.Tensor,
    condition: torch.Tensor | None,
    noise: list[torch.Generator],
    num_steps: int,
    num_positions: int,
) -> Iterator[torch.Tensor]:
    """The maps `[N, position, token]` of every step and interaction with so many positions, mean over heads."""
    tokens = pipe.eeg_encoder(encoder_input(pipe, windows)[0], return_dict=False)[0]
    pipe.scheduler.set_timesteps(num_steps, device=windows.device)
    latents = pipe.prepare_latents(noise)
    extra = pipe.prepare_extra_step_kwargs(noise, 0.0)
    for step in pipe.scheduler.timesteps:
        inputs = _with_condition(pipe.scheduler.scale_model_input(latents, step), condition)
        output = pipe.unet(inputs, step, encoder_hidden_states=tokens, return_attention=True)
        latents = pipe.scheduler.step(output.sample, step, latents, **extra, return_dict=False)[0]
        for weights in output.attentions.values():
            if weights.shape[2] == num_positions:
                yield weights.mean(1)


def finest_grid(pipe: EEG2fMRIPipeline) -> tuple[int, ...]:
    """Depth, height and width of the finest level that has an interaction."""
    config = pipe.unet.config
    size = config.patch_size * 2 ** min(config.interaction_levels)
    return tuple(length // size for length in config.sample_size)


def gradients(
    pipe: EEG2fMRIPipeline,
    windows: torch.Tensor,
    condition: torch.Tensor | None,
    maps: np.ndarray,
    noise: list[torch.Generator],
) -> dict[str, np.ndarray]:
    """How each region's expected signal depends on each value of its window.

    Returns:
        `dict`: `"model"`, the pipeline's one-step output, which is its conditional mean; with a prior also its two
        parts, `"prior"` and `"diffusion"`. Each `[region, N, C, electrode, frequency, window]`, model units for each
        unit of input.
    """
    weights = torch.from_numpy(maps).flatten(1).to(windows)
    windows = windows.detach().requires_grad_()
    with torch.enable_grad():
        inputs, expected = encoder_input(pipe, windows)
        tokens = pipe.eeg_encoder(inputs, return_dict=False)[0]
        pipe.scheduler.set_timesteps(1, device=windows.device)
        step = pipe.scheduler.timesteps[0]
        latents = pipe.prepare_latents(noise)
        sample = _with_condition(pipe.scheduler.scale_model_input(latents, step), condition)
        prediction = pipe.unet(sample, step, encoder_hidden_states=tokens, return_dict=False)[0]
        extra = pipe.prepare_extra_step_kwargs(noise, 0.0)
        volumes = pipe.scheduler.step(prediction, step, latents, **extra, return_dict=False)[0]
        slopes = _gradients(volumes.flatten(1) @ weights.T, windows)
        if expected is None:
            return {"model": slopes}
        of_prior = _gradients(expected.flatten(1) @ weights.T, windows)
        return {"model": of_prior + slopes, "prior": of_prior, "diffusion": slopes}


def _gradients(signals: torch.Tensor, windows: torch.Tensor) -> np.ndarray:
    """Of signals `[N, region]`; a signal depends on its own window only, so that one pass serves all windows."""
    own = [torch.autograd.grad(signal.sum(), windows, retain_graph=True)[0] for signal in signals.unbind(1)]
    return torch.stack(own).cpu().numpy()


def _with_condition(latents: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
    return latents if condition is None else torch.cat([latents, condition.expand(len(latents), -1, -1, -1, -1)], 1)


def _pooled(maps: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Sums of a region's weights over the voxels of each position, `[region, position]`."""
    factors = [size // count for size, count in zip(maps.shape[1:], grid, strict=True)]
    blocks = maps.reshape(len(maps), grid[0], factors[0], grid[1], factors[1], grid[2], factors[2])
    return np.ascontiguousarray(blocks.sum(axis=(2, 4, 6)).reshape(len(maps), -1), np.float32)
