"""What a callback sees, what it may change, and what a call returns that it stopped."""

import pytest
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback

import tiny

NUM_VOLUMES = 5
STEPS = 4


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline()


@pytest.fixture(scope="module")
def given():
    """Windows, and the noise that their volumes start from."""
    generator = torch.Generator().manual_seed(1)
    windows = torch.randn(NUM_VOLUMES, 1, 8, 6, 4, generator=generator)
    return {"eeg": windows, "latents": torch.randn(NUM_VOLUMES, 1, *tiny.SAMPLE, generator=generator)}


def generate(pipe, given, **options):
    return pipe(**given, **{"num_inference_steps": STEPS, "output_type": "latent", **options}).volumes


class Recorder(PipelineCallback):
    """diffusers' form of a callback, which names its tensors itself."""

    tensor_inputs = ("eeg_embeds", "negative_eeg_embeds")

    def __init__(self):
        super().__init__()
        self.seen = []

    def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
        self.seen.append(sorted(callback_kwargs))
        return callback_kwargs


def test_it_sees_and_changes_tensors(pipe, given):
    seen = []

    def zero_at_the_end(pipe, step, timestep, tensors):
        seen.append((step, sorted(tensors)))
        return {"latents": torch.zeros_like(tensors["latents"])} if step == STEPS - 1 else tensors

    names = ["eeg_embeds", "latents", "negative_eeg_embeds"]
    latents = generate(
        pipe, given, callback_on_step_end=zero_at_the_end, callback_on_step_end_tensor_inputs=names, batch_size=3
    )
    assert seen == [(step, names) for step in range(STEPS)] * 2
    assert not latents.any()


def test_diffusers_callbacks_name_their_tensors_themselves(pipe, given):
    for wrap in (lambda callback: callback, lambda callback: MultiPipelineCallbacks([callback])):
        callback = Recorder()
        generate(pipe, given, callback_on_step_end=wrap(callback))
        assert callback.seen == [["eeg_embeds", "negative_eeg_embeds"]] * STEPS


def test_guidance_switched_off_leaves_the_eeg_and_the_next_batch_as_they_were(pipe, given):
    """The U-Net sees twice the volumes before the cutoff; what follows is guided by the EEG, not by its absence."""
    counts = []

    def switch_off(pipe, step, timestep, tensors):
        pipe._guidance_scale = 0.0
        return tensors

    handle = pipe.unet.register_forward_hook(lambda _, inputs, __: counts.append(len(inputs[0])))
    options = {"guidance_scale": 1 + 1e-6, "callback_on_step_end": switch_off}
    whole, parts = (generate(pipe, given, batch_size=size, **options) for size in (NUM_VOLUMES, 3))
    handle.remove()
    assert counts == [10, 5, 5, 5, 6, 3, 3, 3, 4, 2, 2, 2]
    conditional = generate(pipe, given)
    assert (parts - whole).abs().max() < 1e-4 * whole.abs().max()
    assert (whole - conditional).abs().max() < 1e-3 * conditional.abs().max()


def test_negative_tokens_can_be_changed(pipe, given):
    tokens, _ = pipe.encode_eeg(given["eeg"])

    def same(pipe, step, timestep, tensors):
        return {"negative_eeg_embeds": tokens.detach()}

    options = {"guidance_scale": 3.0, "num_inference_steps": 2}
    changed = generate(pipe, given, callback_on_step_end=same, **options)
    assert not torch.allclose(changed, generate(pipe, given, **options), rtol=1e-3)


def test_a_stopped_call_returns_the_batches_that_it_began(pipe, given):
    counts, states = [], []

    def stop_in_the_second_batch(pipe, step, timestep, tensors):
        states.append(tensors["latents"])
        pipe._interrupt = len(states) == STEPS + 2
        return tensors

    handle = pipe.unet.register_forward_hook(lambda _, inputs, __: counts.append(len(inputs[0])))
    options = {"callback_on_step_end": stop_in_the_second_batch, "batch_size": 2}
    stopped = generate(pipe, given, **options)
    handle.remove()
    assert counts == [2] * (STEPS + 2)
    assert torch.equal(stopped, torch.cat([states[STEPS - 1], states[-1]]))
    states.clear()
    # Two recordings, the second never begun.
    recordings = {"eeg": [given["eeg"][:4], given["eeg"][4:]], "latents": given["latents"]}
    (volumes,) = generate(pipe, recordings, **{**options, "output_type": "np"})
    assert len(volumes) == 4
