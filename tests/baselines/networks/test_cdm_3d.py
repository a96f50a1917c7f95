"""CDM-3D: the EEG as further channels of the denoiser's input, in the ordinary pipeline."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file

import tiny
from eeg2fmri import CDM3DModel, EEG2fMRIPipeline, EPGModel
from eeg2fmri.errors import CheckpointError, InputError
from eeg2fmri.hub import ADAPTERS_FILE

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "baselines.md"
OPTIONS = {
    "sample_size": tiny.SAMPLE,
    "in_channels": 2,
    "block_out_channels": (8, 16),
    "cross_attention_dim": 6,
    "num_tokens": len(tiny.ELECTRODES),
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "token_channels": 2,
    "condition_channels": 3,
    "condition_block_out_channels": (8, 4),
}


def tiny_model(**changes) -> CDM3DModel:
    torch.manual_seed(0)
    return CDM3DModel(**{**OPTIONS, **changes}).eval()


def inputs(batch: int = 2):
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(batch, 2, *tiny.SAMPLE, generator=generator)
    return sample, torch.arange(batch) * 100, torch.randn(batch, len(tiny.ELECTRODES), 6, generator=generator)


def tiny_pipeline() -> EEG2fMRIPipeline:
    torch.manual_seed(0)
    encoder = EPGModel(sample_size=(len(tiny.ELECTRODES), 6, 4), cross_attention_dim=6, encoder="linear")
    pipe = EEG2fMRIPipeline(
        eeg_encoder=encoder.eval(),
        unet=tiny_model(),
        scheduler=DDIMScheduler(**tiny.SCHEDULE),
        eeg_processor=tiny.eeg_processor(),
        volume_processor=tiny.volume_processor(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generate(pipe):
    generator = torch.Generator().manual_seed(0)
    return pipe(tiny.recording(), num_inference_steps=2, generator=generator, output_type="latent").volumes


def test_size_and_shape_at_the_papers():
    with torch.device("meta"):
        model = CDM3DModel()
        predicted = model(torch.empty(2, 1, 32, 64, 64), 5, torch.empty(2, 64, 128)).sample
    assert predicted.shape == (2, 1, 32, 64, 64)
    assert f"{model.num_parameters():,} parameters" in CDM3DModel.__doc__
    assert f"{model.num_parameters():,} and the encoder |" in DOCUMENT.read_text()


def test_every_weight_learns():
    model = tiny_model().train()
    model(*inputs()).sample.square().mean().backward()
    assert not [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]


def test_the_eeg_comes_in_through_the_condition_alone():
    model, (sample, timesteps, tokens) = tiny_model(), inputs()
    assert model.condition(tokens).shape == (2, 3, *tiny.SAMPLE)
    assert not torch.allclose(model(sample, timesteps, tokens).sample, model(sample, timesteps, 2 * tokens).sample)
    with torch.no_grad():
        model.conv_in.weight[:, 2:] = 0  # the condition's channels
    assert torch.equal(model(sample, timesteps, tokens).sample, model(sample, timesteps, 2 * tokens).sample)


def test_patches_are_denoised_at_a_coarser_grid():
    """The middle of the network sees an eighth of the positions, and every voxel is still denoised by itself."""
    model, (sample, timesteps, tokens) = tiny_model(patch_size=2).train(), inputs()
    assert model.condition(tokens).shape == (2, 3, *(size // 2 for size in tiny.SAMPLE))
    predicted = model(sample, timesteps, tokens).sample
    assert predicted.shape == (2, 1, *tiny.SAMPLE)
    assert len(predicted[0, 0, :2, :2, :2].unique()) == 8
    predicted.square().mean().backward()
    assert all(weight.grad.any() for weight in model.parameters())


def test_a_volume_has_its_own_time_step_and_tokens():
    model, (sample, timesteps, tokens) = tiny_model(), inputs()
    both = model(sample, timesteps, tokens).sample
    torch.testing.assert_close(both[1:], model(sample[1:], 100, tokens[1:]).sample, rtol=1e-4, atol=1e-5)


def test_checkpointed_gradients_are_the_same():
    gradients, calls = [], []
    for checkpointed in (False, True):
        model = tiny_model().train()
        if checkpointed:
            model.enable_gradient_checkpointing()
            for block in (*model.encoder, model.attention, model.bottleneck, *model.decoder):
                block.register_forward_pre_hook(lambda block, *_: calls.append(block))
        model(*inputs()).sample.square().mean().backward()
        gradients.append([weight.grad for weight in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    assert {calls.count(block) for block in calls} == {2}  # once more on the way back
    assert len(set(calls)) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_tokens": 0}, "num_tokens"),
        ({"block_out_channels": (8,)}, "block_out_channels"),
        ({"sample_size": (8, 8, 7)}, "volume_size"),
        ({"condition_block_out_channels": (8, 4, 4, 4, 4)}, "volume_size"),
        ({"attention_head_dim": 5}, "attention_head_dim"),
        ({"patch_size": 3}, "patch_size"),
        ({"patch_size": 0}, "patch_size"),
        ({"block_out_channels": (8192, 8192)}, "parameters"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        tiny_model(**change)


def test_tensors_that_do_not_fit_are_refused():
    model, (sample, timesteps, tokens) = tiny_model(), inputs()
    with pytest.raises(InputError, match="along axis 'token'"):
        model(sample, timesteps, tokens[:, 1:])
    with pytest.raises(InputError, match="along axis 'channel'"):
        model(sample[:, :1], timesteps, tokens)


def test_it_is_a_denoiser_of_the_ordinary_pipeline(tmp_path):
    pipe = tiny_pipeline()
    volumes = generate(pipe)
    assert volumes.shape[1:] == (1, *tiny.SAMPLE)
    pipe.save_pretrained(tmp_path)
    loaded = EEG2fMRIPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded.unet) is CDM3DModel
    assert torch.equal(generate(loaded), volumes)
    guided = pipe(tiny.recording(), num_inference_steps=1, guidance_scale=2.0, output_type="latent").volumes
    assert torch.isfinite(guided).all()


def test_it_takes_adapters_as_other_denoisers(tmp_path):
    pytest.importorskip("peft")
    adapted, pipe = tiny_pipeline(), tiny_pipeline()
    adapted.unet.add_lora(2)
    for name, weight in adapted.unet.named_parameters():
        if "lora_B" in name:
            weight.data += 0.1
    adapted.unet.save_lora_adapter(tmp_path)
    weights = {f"unet.{name}": value for name, value in load_file(tmp_path / ADAPTERS_FILE).items()}
    pipe.load_lora_weights(weights)
    assert torch.equal(generate(pipe), generate(adapted))
    pipe.unet.unload_lora()
    pipe.unet.compile_repeated_blocks(backend="eager")


def test_an_encoder_of_another_width_is_refused():
    with pytest.raises(CheckpointError, match="token width"):
        EEG2fMRIPipeline(**{**tiny_pipeline().components, "unet": tiny_model(cross_attention_dim=5), "prior": None})
