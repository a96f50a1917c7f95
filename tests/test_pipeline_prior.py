"""A pipeline with a prior: the diffusion makes what volumes differ by from their expectation."""

import pytest
import torch

import tiny
from eeg2fmri import EEG2fMRIPipeline
from eeg2fmri.errors import CheckpointError, InputError


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline(with_prior=True)


@pytest.fixture
def windows(pipe):
    return torch.from_numpy(pipe.eeg_processor(tiny.recording(), repetition_time=tiny.REPETITION_TIME).windows)


def generate(pipe, eeg=None, **options):
    settings = {"num_inference_steps": 3, "output_type": "latent", "generator": torch.Generator().manual_seed(0)}
    return pipe(eeg, **{**settings, **options}).volumes


def test_volumes_are_the_expected_ones_and_a_residual_guided_by_the_band_powers(pipe, windows):
    expected = pipe.predict_prior(windows)
    plain = EEG2fMRIPipeline(
        **{
            **pipe.components,
            "prior": None,
            "eeg_processor": tiny.eeg_processor(electrodes=list(tiny.ELECTRODES[:5]), num_frequencies=2),
        }
    )
    plain.set_progress_bar_config(disable=True)
    residual = generate(plain, expected.band_powers)
    torch.testing.assert_close(generate(pipe, windows), expected.sample + residual)
    assert expected.sample.abs().max() > 0.1


def test_a_recording_and_its_windows_give_the_same(pipe, windows):
    assert torch.equal(generate(pipe, tiny.recording()), generate(pipe, windows))


def test_batches_and_samples_change_nothing(pipe, windows):
    noise = torch.randn(2 * len(windows), *pipe.prior.output_shape, generator=torch.Generator().manual_seed(1))
    options = {"num_volumes_per_prompt": 2, "latents": noise}
    whole, parts = (generate(pipe, windows, batch_size=size, **options) for size in (16, 3))
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-4)


def test_tokens_and_expected_volumes_made_before_give_the_same(pipe, windows):
    expected = pipe.predict_prior(windows)
    tokens, _ = pipe.encode_eeg(expected.band_powers)
    made = generate(pipe, eeg_embeds=tokens, prior_volumes=expected.sample)
    torch.testing.assert_close(made, generate(pipe, windows))


def test_tokens_without_their_expected_volumes_are_refused(pipe, windows):
    expected = pipe.predict_prior(windows)
    tokens, _ = pipe.encode_eeg(expected.band_powers)
    with pytest.raises(InputError, match="none beside `eeg_embeds`"):
        generate(pipe, eeg_embeds=tokens)
    with pytest.raises(InputError, match=r"prior_volumes: found 1 along axis .volume."):
        generate(pipe, eeg_embeds=tokens, prior_volumes=expected.sample[:1])
    with pytest.raises(InputError, match="some without a prior"):
        generate(tiny.pipeline(), tiny.recording(), prior_volumes=expected.sample)
    with pytest.raises(InputError, match="none in this pipeline"):
        tiny.pipeline().predict_prior(windows)


def test_saving_and_loading_changes_no_bit(pipe, windows, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = EEG2fMRIPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(generate(loaded, windows), generate(pipe, windows))


def test_offloading_knows_every_network(pipe):
    networks = [name for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)]
    assert sorted(pipe.model_cpu_offload_seq.split("->")) == sorted(networks)


def test_components_of_other_sizes_are_refused(pipe):
    with pytest.raises(CheckpointError, match="EEG window"):
        EEG2fMRIPipeline(**{**pipe.components, "prior": None})
    with pytest.raises(CheckpointError, match="prior's EEG window"):
        EEG2fMRIPipeline(**{**pipe.components, "eeg_processor": tiny.eeg_processor()})
    other = type(pipe.prior).from_config({**pipe.prior.config, "volume_size": (8, 8, 4)})
    with pytest.raises(CheckpointError, match="prior's volume"):
        EEG2fMRIPipeline(**{**pipe.components, "prior": other})


def test_half_precision_stays_close(pipe, windows):
    noise = torch.randn(len(windows), *pipe.prior.output_shape, generator=torch.Generator().manual_seed(1))
    other = tiny.pipeline(with_prior=True).to(dtype=torch.bfloat16)
    exact = generate(pipe, windows, latents=noise)
    assert (generate(other, windows, latents=noise).float() - exact).abs().median() < 0.05 * exact.std()
