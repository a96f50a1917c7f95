"""The training objective: predict the noise that was added to a volume (equations 18 and 40)."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch.nn import functional

from ..randomness import seed_for


def draw_noise(
    volume: torch.Tensor, seeds: list[int], num_train_timesteps: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise, timestep and a uniform number for every pair, each from the pair's own seed.

    Args:
        volume (`torch.Tensor` of shape `[B, 1, D, H, W]`).
        seeds (`list[int]` of length B).
        num_train_timesteps (`int`).

    Returns:
        `tuple`: noise like `volume`, timesteps `[B]`, uniform numbers `[B]`, on the volume's device.
    """
    noise, timesteps, uniform = [], [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        noise.append(torch.randn(volume.shape[1:], generator=generator))
        timesteps.append(torch.randint(num_train_timesteps, (), generator=generator))
        uniform.append(torch.rand((), generator=generator))
    device = volume.device
    return torch.stack(noise).to(device), torch.stack(timesteps).to(device), torch.stack(uniform).to(device)


def pair_seeds(seed: int, purpose: str, step: int, rows: range) -> list[int]:
    """A seed for every pair of a forward pass; `rows` counts over all devices: their number changes nothing."""
    return [seed_for(seed, purpose, step, row) for row in rows]


def denoising_loss(
    network: torch.nn.Module,
    scheduler: DDPMScheduler,
    batch: dict[str, torch.Tensor],
    seeds: list[int],
    conditioning_dropout_prob: float = 0.0,
) -> torch.Tensor:
    r"""Mean squared error of the prediction, per pair.

    Equation 40: \( L = \| \epsilon_t - \epsilon_\theta(x_t, EPG(c)) \|_2^2 \) with
    \( x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon_t \) (equation 27). With the scheduler's
    `prediction_type` `"v_prediction"` or `"sample"` the target is the velocity or the volume instead.

    Returns:
        `torch.Tensor` of shape `[B]`, float32.
    """
    volume = batch["volume"]
    noise, timesteps, uniform = draw_noise(volume, seeds, scheduler.config.num_train_timesteps)
    noisy_volume = scheduler.add_noise(volume, noise, timesteps)
    keep = uniform >= conditioning_dropout_prob if conditioning_dropout_prob > 0 else None
    prediction = network(batch["eeg"], noisy_volume, timesteps, batch.get("condition"), keep)
    if scheduler.config.prediction_type == "epsilon":
        target = noise
    elif scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(volume, noise, timesteps)
    else:
        target = volume
    return functional.mse_loss(prediction.float(), target.float(), reduction="none").flatten(1).mean(1)
