import pytest
import torch
from diffusers import DDPMScheduler

from eeg2fmri.training.objective import denoising_loss, draw_noise, pair_seeds


def scheduler(prediction_type="epsilon"):
    return DDPMScheduler(beta_start=1e-4, beta_end=2e-2, clip_sample=False, prediction_type=prediction_type)


def batch(size=6):
    generator = torch.Generator().manual_seed(0)
    return {
        "volume": torch.randn(size, 1, 4, 4, 4, generator=generator),
        "eeg": torch.randn(size, 1, 3, 2, 2, generator=generator),
    }


class Exact(torch.nn.Module):
    """Knows the volumes, and so what was added to them."""

    def __init__(self, volume, scheduler):
        super().__init__()
        self.volume, self.scheduler = volume, scheduler

    def forward(self, eeg, noisy, timesteps, condition, keep):
        signal = self.scheduler.alphas_cumprod[timesteps].sqrt()[:, None, None, None, None]
        noise = (noisy - signal * self.volume) / (1 - signal**2).sqrt()
        kind = self.scheduler.config.prediction_type
        if kind == "epsilon":
            return noise
        return self.volume if kind == "sample" else signal * noise - (1 - signal**2).sqrt() * self.volume


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_exact_answer_has_no_loss(kind):
    data, schedule = batch(), scheduler(kind)
    loss = denoising_loss(Exact(data["volume"], schedule), schedule, data, pair_seeds(0, "noise", 3, range(6)))
    assert loss.shape == (6,)
    assert loss.max() < 1e-4


def test_predicting_nothing_costs_the_variance_of_the_noise():
    data = {"volume": torch.zeros(64, 1, 8, 8, 8), "eeg": torch.zeros(64, 1)}
    loss = denoising_loss(lambda *_: torch.zeros(64, 1, 8, 8, 8), scheduler(), data, pair_seeds(0, "n", 0, range(64)))
    assert abs(loss.mean() - 1) < 0.02


def test_noise_belongs_to_the_pair_and_not_to_its_batch():
    volume = batch()["volume"]
    seeds = pair_seeds(0, "noise", 5, range(6))
    noise, timesteps, uniform = draw_noise(volume, seeds, 1000)
    for row in range(6):
        alone = draw_noise(volume[row : row + 1], seeds[row : row + 1], 1000)
        for one, many in zip(alone, (noise, timesteps, uniform), strict=True):
            assert torch.equal(one[0], many[row])
    assert len(set(seeds)) == 6
    assert seeds[2:4] == pair_seeds(0, "noise", 5, range(2, 4))
    assert set(seeds).isdisjoint(pair_seeds(0, "noise", 6, range(6)))


def test_timesteps_cover_the_schedule():
    _, timesteps, uniform = draw_noise(torch.zeros(2000, 1, 1, 1, 1), pair_seeds(0, "noise", 0, range(2000)), 1000)
    assert timesteps.min() < 5
    assert timesteps.max() > 994
    assert 480 < timesteps.double().mean() < 520
    assert 0.48 < uniform.mean() < 0.52


def test_the_condition_is_dropped_at_the_stated_rate():
    kept = []

    def network(eeg, noisy, timesteps, condition, keep):
        kept.append(keep)
        return noisy

    data = {"volume": torch.zeros(2000, 1, 1, 1, 1), "eeg": torch.zeros(2000, 1)}
    denoising_loss(network, scheduler(), data, pair_seeds(0, "noise", 0, range(2000)), 0.2)
    assert 0.77 < kept[0].double().mean() < 0.83
    denoising_loss(network, scheduler(), data, pair_seeds(0, "noise", 0, range(2000)))
    assert kept[1] is None


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_min_snr_counts_the_error_of_the_volume_at_most_gamma_times(kind):
    """A volume that is off by d is an error of every kind of prediction; weighted, all become min(SNR, gamma) d^2."""
    schedule, data, gamma, difference = scheduler(kind), batch(64), 5.0, 0.5
    data["volume"] = data["volume"].double()
    seeds = pair_seeds(0, "noise", 1, range(64))
    timesteps = draw_noise(data["volume"], seeds, 1000)[1]
    snr = schedule.alphas_cumprod[timesteps] / (1 - schedule.alphas_cumprod[timesteps])
    network = Exact(data["volume"] + difference, schedule)
    loss = denoising_loss(network, schedule, data, seeds, snr_gamma=gamma)
    expected = snr.clamp(max=gamma) * difference**2
    assert torch.allclose(loss, expected.to(loss.dtype), rtol=1e-2)
