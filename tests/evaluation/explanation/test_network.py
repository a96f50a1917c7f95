"""Attention and gradients of tiny pipelines of both kinds."""

import numpy as np
import pytest
import torch

import tiny
from eeg2fmri.evaluation.explanation.network import attention, encoder_input, finest_grid, fusion_weights, gradients

REGIONS = np.random.default_rng(0).random((3, *tiny.SAMPLE))
REGIONS /= REGIONS.sum(axis=(1, 2, 3), keepdims=True)


@pytest.fixture(params=[False, True], ids=["spectrogram", "prior"])
def pipe(request):
    return tiny.pipeline(with_prior=request.param)


def windows(pipe, count=2):
    channels = 1 if pipe.prior is None else 2
    return torch.randn(count, channels, 8, 6, 4, generator=torch.Generator().manual_seed(0))


def noise(count=2):
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


CONDITION = torch.zeros(1, 1, *tiny.SAMPLE)


def test_attention_is_a_share_and_equal_weights_have_the_highest_entropy(pipe):
    seen = attention(pipe, windows(pipe), CONDITION, REGIONS, noise(), 2)
    grid = finest_grid(pipe)
    num_tokens = int(np.prod(pipe.eeg_encoder.token_grid))
    assert seen.of_regions.shape == (3, num_tokens)
    assert seen.of_positions.shape == (*grid, num_tokens)
    np.testing.assert_allclose(seen.of_regions.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(seen.of_positions.sum(axis=-1), 1, rtol=1e-5)
    assert (seen.entropy < 1).all()
    again = attention(pipe, windows(pipe), CONDITION, REGIONS, noise(), 2)
    np.testing.assert_array_equal(again.of_regions, seen.of_regions)
    for name, weight in pipe.unet.named_parameters():
        if "to_q" in name:
            torch.nn.init.zeros_(weight)
    even = attention(pipe, windows(pipe), CONDITION, REGIONS, noise(), 2)
    np.testing.assert_allclose(even.of_regions, 1 / num_tokens, rtol=1e-5)
    np.testing.assert_allclose(even.entropy, 1, rtol=1e-5)


def test_fusion_weights_without_any_opinion_are_one_half(pipe):
    for name, weight in pipe.eeg_encoder.named_parameters():
        if ".fusion." in name:
            torch.nn.init.zeros_(weight)
    first, second = fusion_weights(pipe, windows(pipe))
    assert first.shape == (2, *pipe.eeg_encoder.config.sample_size)
    assert second.shape == (2, *pipe.eeg_encoder.token_grid)
    np.testing.assert_allclose(first, 0.5)


def test_gradients_are_differences(pipe):
    for component in (pipe.eeg_encoder, pipe.unet, *([pipe.prior] if pipe.prior else [])):
        torch.nn.Module.to(component, torch.float64)
    given = windows(pipe).double()
    template = pipe.volume_processor.condition(pipe.volume_processor.reference())
    slopes = gradients(pipe, given, torch.from_numpy(template)[None].double(), REGIONS, noise())
    assert set(slopes) == ({"model"} if pipe.prior is None else {"model", "prior", "diffusion"})
    direction = torch.randn(given.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        ahead, behind = (expected_volumes(pipe, given + step * direction) for step in (1e-5, -1e-5))
    for name, own in slopes.items():
        expected = (own * direction.numpy()).sum(axis=(2, 3, 4, 5)).T
        difference = (ahead[name] - behind[name]).flatten(1) @ torch.from_numpy(REGIONS).flatten(1).T / 2e-5
        np.testing.assert_allclose(difference.numpy(), expected, rtol=1e-4, atol=1e-8)


def expected_volumes(pipe, given):
    """As the pipeline's own call makes them in one step."""
    inputs, expected = encoder_input(pipe, given)
    volumes = pipe(
        eeg_embeds=pipe.eeg_encoder(inputs, return_dict=False)[0],
        prior_volumes=expected,
        num_inference_steps=1,
        output_type="latent",
        latents=torch.cat([torch.randn(1, 1, *tiny.SAMPLE, generator=own, dtype=torch.float64) for own in noise()]),
    ).volumes
    return {"model": volumes, "prior": expected, "diffusion": volumes if expected is None else volumes - expected}


def test_windows_do_not_know_their_batch(pipe, monkeypatch):
    given, together = windows(pipe, 3), {}
    for size in (1, 3):
        monkeypatch.setattr("eeg2fmri.evaluation.explanation.network.WINDOWS_AT_ONCE", size)
        seen = attention(pipe, given, CONDITION, REGIONS, noise(3), 2)
        together[size] = [seen.of_regions, seen.of_positions, seen.entropy, *fusion_weights(pipe, given)]
    for alone, joint in zip(together[1], together[3], strict=True):
        np.testing.assert_allclose(alone, joint, rtol=1e-4)
