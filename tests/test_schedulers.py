"""A network that knows the exact noise must give the volume back, with every scheduler (DDIM's equation 38)."""

import inspect

import diffusers
import pytest
import torch
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

import tiny
from eeg2fmri.models.fd_unet import FDUNetOutput

# EDMEuler has noise levels of its own, which are not those of a network trained on DDPM's (diffusers' documentation).
KARRAS = {scheduler.name for scheduler in KarrasDiffusionSchedulers} - {"EDMEulerScheduler"}
OTHERS = {"DDIMParallelScheduler", "DDPMParallelScheduler", "LCMScheduler", "TCDScheduler", "SASolverScheduler"}
SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 2e-2, "beta_schedule": "linear"}


class Oracle(torch.nn.Module):
    """Predicts the noise in a sample of the known volume, at the noise level that the scheduler says."""

    def __init__(self, unet, volume, schedule):
        super().__init__()
        self.config, self.volume = unet.config, volume
        self.alphas = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64), 0)
        self.dtype, self.device = torch.float64, torch.device("cpu")

    def forward(self, sample, timestep, encoder_hidden_states, return_dict=True):
        noisy = sample[:, :1].double()
        level = float(timestep)
        low, high = int(level), min(int(level) + 1, 999)
        # Fractional timesteps: interpolate the logarithm of the noise ratio, as the solvers do.
        logs = torch.log((1 - self.alphas) / self.alphas) / 2
        sigma = torch.exp(logs[low] + (level - low) * (logs[high] - logs[low]))
        alpha = 1 / torch.sqrt(1 + sigma**2)
        noise = (noisy - alpha * self.volume) / (alpha * sigma)
        return FDUNetOutput(sample=noise) if return_dict else (noise,)


class FlowOracle(Oracle):
    """Predicts noise - volume, on the straight line between both: a flow-matching network's answer."""

    def forward(self, sample, timestep, encoder_hidden_states, return_dict=True):
        return ((sample[:, :1].double() - self.volume) / (float(timestep) / 1000),)


@pytest.mark.parametrize("name", ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"])
def test_the_exact_flow_gives_the_volume_back(name):
    error = error_of(getattr(diffusers, name)(), FlowOracle)
    assert error < 1e-3, f"{name}: {error:.4f} standard deviations off"


@pytest.mark.parametrize("name", sorted(KARRAS | OTHERS))
def test_the_exact_noise_gives_the_volume_back(name):
    cls = getattr(diffusers, name)
    extra = {"clip_sample": False} if "clip_sample" in inspect.signature(cls.__init__).parameters else {}
    error = error_of(cls(**SCHEDULE, **extra), Oracle)
    assert error < 0.1, f"{name}: {error:.3f} standard deviations off"


def error_of(scheduler, oracle) -> float:
    """How far off the generated volume is from the one that the oracle knows, root mean square."""
    pipe = tiny.pipeline(scheduler=scheduler)
    volume = torch.randn(1, 1, *tiny.SAMPLE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    pipe.unet = oracle(pipe.unet, volume, SCHEDULE)
    result = pipe(
        tiny.recording(seconds=8.0),
        num_inference_steps=50,
        output_type="latent",
        generator=torch.Generator().manual_seed(0),
    ).volumes
    return float((result - volume).square().mean().sqrt())
