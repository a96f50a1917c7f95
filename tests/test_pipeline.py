import nibabel as nib
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DiffusionPipeline, EulerDiscreteScheduler

import tiny
from eeg2fmri import EEG2fMRIPipeline
from eeg2fmri.errors import CheckpointError, InputError, RecordingError
from eeg2fmri.hub import denoising_steps_of, save_for_hub

NUM_VOLUMES = 7  # 20 s of EEG, windows of 8 s, one every 2 s


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generate(pipe, eeg=None, **options):
    settings = {"num_inference_steps": 3, "generator": seeded(), "output_type": "np", **options}
    return pipe(tiny.recording() if eeg is None and "eeg_embeds" not in options else eeg, **settings).volumes


def test_one_volume_for_every_repetition_time_as_nifti(pipe):
    (image,) = generate(pipe, output_type="nifti")
    assert isinstance(image, nib.Nifti1Image)
    assert image.shape == (*tiny.GRID, NUM_VOLUMES)
    assert image.header["pixdim"][4] == tiny.REPETITION_TIME
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert image.header["toffset"] == 8.0
    np.testing.assert_allclose(image.affine, tiny.bold().affine)
    assert np.isfinite(np.asarray(image.dataobj)).all()


def test_output_types_agree(pipe):
    (image,), (array,), (tensor,) = (generate(pipe, output_type=kind) for kind in ("nifti", "np", "pt"))
    assert array.shape == (NUM_VOLUMES, *tiny.GRID)
    np.testing.assert_array_equal(np.moveaxis(np.asarray(image.dataobj), -1, 0), array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    latents = generate(pipe, output_type="latent")
    assert latents.shape == (NUM_VOLUMES, 1, *tiny.SAMPLE)
    reference = pipe.volume_processor.reference()
    np.testing.assert_array_equal(pipe.volume_processor.postprocess(latents.numpy(), reference), array)


def test_return_dict_false_gives_the_same_in_a_tuple(pipe):
    result = pipe(tiny.recording(), num_inference_steps=3, generator=seeded(), output_type="np", return_dict=False)
    assert isinstance(result, tuple)
    np.testing.assert_array_equal(result[0][0], generate(pipe)[0])


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(pipe):
    first, second, other = (generate(pipe, generator=seeded(seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(generate(pipe, generator=(seeded(),))[0], first)


def test_without_a_generator_torch_decides(pipe):
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(generate(pipe, generator=None)[0])
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DDPMScheduler])
def test_a_volume_does_not_depend_on_what_shares_its_batch(pipe, scheduler):
    pipe = tiny.pipeline(scheduler=scheduler(**tiny.SCHEDULE))
    together = generate(pipe, output_type="latent", batch_size=16)
    for batch_size in (1, 3):
        apart = generate(pipe, output_type="latent", batch_size=batch_size)
        # An untrained network leaves large values: 1e-4 is meant relative to them.
        assert (apart - together).abs().max() < 1e-4 * together.abs().max()


def test_a_list_of_recordings_equals_single_runs(pipe):
    recordings = [tiny.recording(1), tiny.recording(2, seconds=14.0), tiny.recording(3)]
    references = [tiny.bold(5), None, tiny.bold(6, gain=3.0)]
    together = generate(
        pipe, recordings, reference=references, generator=[seeded(seed) for seed in (1, 2, 3)], batch_size=4
    )
    assert [len(volumes) for volumes in together] == [7, 4, 7]
    for seed, recording, reference, volumes in zip((1, 2, 3), recordings, references, together, strict=True):
        (alone,) = generate(pipe, recording, reference=reference, generator=seeded(seed))
        np.testing.assert_allclose(volumes, alone, rtol=1e-4, atol=1e-2)


def test_several_samples_of_a_volume_are_different_and_share_its_eeg(pipe):
    samples = generate(pipe, num_volumes_per_prompt=3, batch_size=2)
    assert [len(sample) for sample in samples] == [NUM_VOLUMES] * 3
    assert not np.array_equal(samples[0], samples[1])
    # The same noise gives the same volumes: sample k of window i starts from row i * 3 + k.
    latents = torch.randn(NUM_VOLUMES * 3, 1, *tiny.SAMPLE, generator=seeded())
    samples = generate(pipe, num_volumes_per_prompt=3, latents=latents)
    (second,) = generate(pipe, latents=latents[1::3])
    np.testing.assert_allclose(samples[1], second, rtol=1e-4, atol=1e-2)


def test_every_form_of_a_recording_gives_the_same(pipe, tmp_path):
    mne = pytest.importorskip("mne")
    signals = tiny.signals()
    info = mne.create_info(list(tiny.ELECTRODES), tiny.SAMPLING_RATE, "eeg")
    raw = mne.io.RawArray(signals, info, verbose="ERROR")
    path = tmp_path / "a_raw.fif"
    raw.save(path, fmt="double", verbose="ERROR")
    named = {"electrodes": list(tiny.ELECTRODES), "sampling_rate": tiny.SAMPLING_RATE}
    windows = pipe.eeg_processor(tiny.recording(), repetition_time=tiny.REPETITION_TIME).windows
    expected = generate(pipe)[0]
    for eeg, options in [
        (path, {}),
        (str(path), {}),
        (raw, {}),
        (signals, named),
        (torch.from_numpy(signals), named),
        ([signals], named),
        (signals[None], named),
        (windows, {}),
        (torch.from_numpy(windows), {}),
    ]:
        np.testing.assert_array_equal(generate(pipe, eeg, **options)[0], expected)


def test_tokens_made_before_give_the_same(pipe):
    windows = torch.from_numpy(pipe.eeg_processor(tiny.recording(), repetition_time=2.0).windows)
    tokens = pipe.eeg_encoder(windows).encoder_hidden_states.detach()
    np.testing.assert_array_equal(generate(pipe, eeg_embeds=tokens)[0], generate(pipe)[0])
    (first, second) = generate(pipe, eeg_embeds=[tokens, tokens[:3]], generator=[seeded(), seeded()])
    assert (len(first), len(second)) == (7, 3)
    np.testing.assert_allclose(first[:3], second, rtol=1e-4, atol=1e-2)


def test_the_eeg_is_encoded_once_a_window_and_not_once_a_step(pipe):
    calls = []
    handle = pipe.eeg_encoder.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    generate(pipe, num_inference_steps=5, batch_size=4)
    handle.remove()
    assert calls == [4, 3]


def test_encoding_once_equals_the_naive_loop_to_the_bit(pipe):
    windows = torch.from_numpy(pipe.eeg_processor(tiny.recording(), repetition_time=2.0).windows)
    latents = torch.randn(NUM_VOLUMES, 1, *tiny.SAMPLE, generator=seeded())
    condition = torch.from_numpy(pipe.volume_processor.condition(pipe.volume_processor.reference()))
    condition = condition.expand(NUM_VOLUMES, -1, -1, -1, -1)
    fast = generate(pipe, windows, latents=latents, output_type="latent")
    pipe.scheduler.set_timesteps(3)
    naive = latents
    with torch.no_grad():
        for t in pipe.scheduler.timesteps:
            tokens = pipe.eeg_encoder(windows).encoder_hidden_states
            noise = pipe.unet(torch.cat([naive, condition], 1), t, tokens).sample
            naive = pipe.scheduler.step(noise, t, naive).prev_sample
    assert torch.equal(fast, naive)


def test_the_eeg_changes_the_volumes(pipe):
    assert not np.array_equal(generate(pipe)[0], generate(pipe, tiny.recording(7))[0])


def test_a_reference_sets_the_mean_and_the_unit(pipe):
    reference = tiny.bold(4, gain=5.0)
    latents = generate(pipe, reference=reference, output_type="latent")
    (volumes,) = generate(pipe, reference=reference)
    own = pipe.volume_processor.reference(reference)
    np.testing.assert_array_equal(volumes, pipe.volume_processor.postprocess(latents.numpy(), own))
    assert volumes.mean() > 3 * generate(pipe)[0].mean()


def test_guidance_is_the_known_extrapolation():
    pipe = tiny.pipeline(scheduler=EulerDiscreteScheduler(beta_start=1e-4, beta_end=2e-2))
    tokens = torch.randn(2, 40, 16, generator=seeded())
    negative = torch.randn(2, 40, 16, generator=seeded(1))
    latents = torch.randn(2, 1, *tiny.SAMPLE, generator=seeded(2))
    options = {"latents": latents, "num_inference_steps": 1, "output_type": "latent"}
    conditional, unconditional = (generate(pipe, eeg_embeds=e, **options) for e in (tokens, negative))
    guided = generate(pipe, eeg_embeds=tokens, negative_eeg_embeds=negative, guidance_scale=3.0, **options)
    # One Euler step is linear in the predicted noise.
    torch.testing.assert_close(guided, unconditional + 3 * (conditional - unconditional), rtol=1e-3, atol=1e-2)
    dropped = generate(pipe, eeg_embeds=torch.zeros_like(tokens), **options)
    guided = generate(pipe, eeg_embeds=tokens, guidance_scale=3.0, **options)
    torch.testing.assert_close(guided, dropped + 3 * (conditional - dropped), rtol=1e-3, atol=1e-2)


def test_min_max_checkpoints_have_no_condition():
    (volumes,) = generate(tiny.pipeline("minmax_volume"), reference=tiny.bold())
    assert volumes.shape == (NUM_VOLUMES, *tiny.GRID)


def test_half_precision_and_channels_last_run_on_the_cpu():
    pipe = tiny.pipeline()
    expected = generate(pipe, output_type="latent")
    pipe.to(dtype=torch.bfloat16)
    for parameter in pipe.unet.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    latents = generate(pipe, output_type="latent")
    assert latents.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(latents.float().flatten(), expected.flatten(), dim=0) > 0.98


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"output_type": "pil"}, InputError, "output_type.*'pil'.*nifti"),
        ({"eeg_embeds": torch.zeros(1, 40, 16)}, InputError, "both `eeg` and `eeg_embeds`"),
        ({"num_inference_steps": 0}, InputError, "num_inference_steps"),
        ({"num_volumes_per_prompt": 1.5}, InputError, "num_volumes_per_prompt"),
        ({"batch_size": -1}, InputError, "batch_size"),
        ({"guidance_scale": float("nan")}, InputError, "guidance_scale.*nan"),
        ({"generator": [seeded(), seeded()]}, InputError, "generator.*a list of 2.*1"),
        ({"generator": "x"}, InputError, "generator.*str"),
        ({"negative_eeg_embeds": torch.zeros(1, 40, 16)}, InputError, "negative_eeg_embeds"),
        ({"reference": [None, None]}, InputError, "reference"),
        ({"callback_on_step_end_tensor_inputs": ["x"]}, InputError, "callback_on_step_end_tensor_inputs"),
    ],
)
def test_a_wrong_argument_is_named(pipe, options, error, words):
    with pytest.raises(error, match=words):
        pipe(tiny.recording(), **options)


@pytest.mark.parametrize(
    ("eeg", "error", "words"),
    [
        (None, InputError, "neither"),
        ([], InputError, "empty list"),
        (np.zeros((0, 1, 8, 6, 4), np.float32), InputError, "no window"),
        (np.zeros((8,)), InputError, r"eeg.*\[8\]"),
        (np.zeros((8, 900)), InputError, "electrodes, sampling_rate"),
        (tiny.recording(seconds=5.0), RecordingError, "too short"),
    ],
)
def test_a_wrong_recording_is_named(pipe, eeg, error, words):
    with pytest.raises(error, match=words):
        pipe(eeg, electrodes=None)


def test_tokens_of_two_encoders_are_refused(pipe):
    with pytest.raises(InputError, match=r"eeg_embeds.*4 and 40 tokens"):
        pipe(eeg_embeds=[torch.zeros(1, 40, 16), torch.zeros(1, 4, 16)])


def test_the_encoder_can_be_loaded_alone(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    alone = EEG2fMRIPipeline.from_pretrained(tmp_path, unet=None, scheduler=None, volume_processor=None)
    windows = torch.zeros(2, 1, 8, 6, 4)
    assert torch.equal(alone.encode_eeg(windows)[0], pipe.encode_eeg(windows)[0])


@pytest.mark.parametrize("error", [NotImplementedError, torch.OutOfMemoryError])
def test_what_the_files_are_not_to_blame_for_is_not_called_damage(pipe, tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error("the caller's or the machine's")

    pipe.save_pretrained(tmp_path)
    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", classmethod(fail))
    with pytest.raises(error):
        EEG2fMRIPipeline.from_pretrained(tmp_path)


def test_components_that_do_not_belong_together_are_refused(pipe):
    components = {**pipe.components, "eeg_processor": tiny.eeg_processor(num_frequencies=5)}
    with pytest.raises(CheckpointError, match="EEG window"):
        EEG2fMRIPipeline(**components)


def test_saving_and_loading_changes_no_bit(pipe, tmp_path):
    save_for_hub(pipe, tmp_path)
    expected = generate(pipe)[0]
    custom = {"custom_pipeline": str(tmp_path), "trust_remote_code": True}
    for loader, options in ((EEG2fMRIPipeline, {}), (DiffusionPipeline, custom)):
        loaded = loader.from_pretrained(tmp_path, **options)
        assert type(loaded) is EEG2fMRIPipeline
        loaded.set_progress_bar_config(disable=True)
        np.testing.assert_array_equal(generate(loaded)[0], expected)


def test_a_saved_pipeline_names_no_module_and_holds_no_pickle(pipe, tmp_path):
    import json

    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    for name in ("eeg_encoder", "unet", "eeg_processor", "volume_processor"):
        assert index[name][0] == "eeg2fmri"
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_components_can_be_shared_with_another_pipeline(pipe):
    other = EEG2fMRIPipeline.from_pipe(pipe, scheduler=DDPMScheduler(**tiny.SCHEDULE))
    assert other.unet is pipe.unet


def test_a_pipeline_remembers_the_steps_that_it_was_published_for(tmp_path):
    """As Marigold's pipelines do in diffusers; without a value the paper's 75."""
    pipe = tiny.pipeline()
    assert pipe.default_denoising_steps == 75
    pipe.register_to_config(default_denoising_steps=3)
    pipe.save_pretrained(tmp_path)
    loaded = EEG2fMRIPipeline.from_pretrained(tmp_path)
    assert denoising_steps_of(tmp_path) == 3, "what evaluate takes"
    assert EEG2fMRIPipeline.from_pipe(loaded).default_denoising_steps == 3
    steps = []

    def count(pipe, step, timestep, tensors):
        steps.append(step)
        return {}

    loaded.set_progress_bar_config(disable=True)
    loaded(tiny.recording(), output_type="latent", batch_size=1000, callback_on_step_end=count)
    assert steps == [0, 1, 2]
    with pytest.raises(InputError, match="default_denoising_steps"):
        EEG2fMRIPipeline(**pipe.components, default_denoising_steps=0)
