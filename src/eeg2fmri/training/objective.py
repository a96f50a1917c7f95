r"""The training objective: predict the noise that was added to a volume (equations 18, 39 and 40).

Equation 18 is the objective without a condition. Equation 39 is the variational bound, a sum over all steps, which the
paper finds too slow; equation 40 takes its place: the error at one random step, with the EEG's tokens as condition.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
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
    snr_gamma: float = 0.0,
    error: Callable[..., torch.Tensor] = functional.mse_loss,
) -> torch.Tensor:
    r"""Mean error of the prediction, squared but for other models' choice, per pair.

    Equation 40: \( L = \| \epsilon_t - \epsilon_\theta(x_t, EPG(c)) \|_2^2 \) with
    \( x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon_t \) (equation 27). With the scheduler's
    `prediction_type` `"v_prediction"` or `"sample"` the target is the velocity or the volume instead.

    Args:
        network: predicts from `(eeg, noisy volume, timesteps, condition, keep)`.
        scheduler ([`DDPMScheduler`]): the noise levels.
        batch (`dict`): `eeg`, `volume` and, in mode `change`, `condition`.
        seeds (`list[int]`): one for every pair.
        conditioning_dropout_prob (`float`): share of the pairs whose EEG tokens are zeroed, so that the network also
            learns to do without and can be guided (classifier-free guidance).
        snr_gamma (`float`): above 0, pairs are weighted by [`min_snr_weights`].
        error (`Callable`): of prediction and target, as torch's functional losses; squared by default.

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
    loss = error(prediction.float(), target.float(), reduction="none").flatten(1).mean(1)
    return loss if snr_gamma == 0 else loss * min_snr_weights(scheduler, timesteps, snr_gamma)


def min_snr_weights(scheduler: DDPMScheduler, timesteps: torch.Tensor, gamma: float) -> torch.Tensor:
    r"""Min-SNR weights (Hang et al. 2023): every step counts as \( \min(SNR, \gamma) \) errors of the volume.

    \( SNR_t = \bar\alpha_t / (1 - \bar\alpha_t) \). An error of the noise is one of the volume times SNR, an error of
    the velocity one times SNR + 1: the weight is \( \min(SNR, \gamma) \) divided by that.
    """
    snr = compute_snr(scheduler, timesteps)
    errors_of_volume = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}
    return snr.clamp(max=gamma) / errors_of_volume[scheduler.config.prediction_type]
