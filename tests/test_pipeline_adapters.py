"""Adapters of a whole pipeline, by diffusers' methods."""

import pytest
import torch
from accelerate import cpu_offload
from safetensors.torch import load_file, save_file

import tiny
from eeg2fmri import EEG2fMRIPipeline
from eeg2fmri.errors import CheckpointError, InputError
from eeg2fmri.training.fine_tuning import save_adapters
from eeg2fmri.training.networks import DenoisingNetwork

pytest.importorskip("peft")
NAME = "pytorch_lora_weights.safetensors"


def volumes(pipe: EEG2fMRIPipeline) -> torch.Tensor:
    windows = torch.randn(2, 1, 8, 6, 4, generator=torch.Generator().manual_seed(2))
    noise = torch.Generator().manual_seed(3)
    return pipe(windows, num_inference_steps=2, generator=noise, output_type="latent").volumes


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A folder of adapters of both networks, and what the pipeline makes with them."""
    folder, pipe = tmp_path_factory.mktemp("adapters"), tiny.pipeline()
    for model in (pipe.eeg_encoder, pipe.unet):
        model.add_lora(2)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4))
    save_adapters(DenoisingNetwork(pipe.eeg_encoder, pipe.unet), folder)
    return folder, volumes(pipe)


def test_loaded_fused_and_unloaded_as_other_pipelines(adapted, tmp_path):
    folder, expected = adapted
    pipe = tiny.pipeline()
    base = volumes(pipe)
    pipe.load_lora_weights(folder)
    assert pipe.get_list_adapters() == {"eeg_encoder": ["default_0"], "unet": ["default_0"]}
    assert torch.equal(volumes(pipe), expected)
    pipe.disable_lora()
    assert torch.equal(volumes(pipe), base)
    pipe.enable_lora()
    pipe.fuse_lora()
    torch.testing.assert_close(volumes(pipe), expected, atol=1e-3, rtol=1e-3)
    pipe.unload_lora_weights()
    pipe.save_pretrained(tmp_path)
    again = EEG2fMRIPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    torch.testing.assert_close(volumes(again), expected, atol=1e-3, rtol=1e-3)


def test_one_network_takes_its_part_of_the_file(adapted):
    folder, _ = adapted
    one, both = tiny.pipeline(), tiny.pipeline()
    one.unet.load_lora_adapter(folder, prefix="unet")
    both.load_lora_weights(folder)
    for name, tensor in both.unet.state_dict().items():
        assert torch.equal(tensor, one.unet.state_dict()[name])
    assert not getattr(one.eeg_encoder, "peft_config", None)


@pytest.mark.parametrize("form", ["sequential", "group"])
def test_offloaded_networks_take_adapters(adapted, form):
    """Added below the hooks of offloading, weights would stay on the meta device and volumes be NaN."""
    folder, expected = adapted
    pipe, cpu = tiny.pipeline(), torch.device("cpu")

    def offload():
        for network in (pipe.eeg_encoder, pipe.unet):
            if form == "sequential":
                cpu_offload(network, cpu)
            else:
                network.enable_group_offload(cpu, cpu, offload_type="leaf_level")

    pipe.enable_sequential_cpu_offload = offload  # diffusers' own wants an accelerator
    offload()
    pipe.load_lora_weights(folder)
    torch.testing.assert_close(volumes(pipe), expected)


def test_options_reach_the_networks_or_are_refused(adapted):
    folder, expected = adapted
    pipe = tiny.pipeline()
    pipe.load_lora_weights(folder, adapter_name="x", weight_name=NAME, low_cpu_mem_usage=True)
    weight = next(value for name, value in pipe.unet.named_parameters() if "lora_B" in name)
    weight.data.zero_()
    pipe.load_lora_weights(folder, adapter_name="x", hotswap=True)
    assert pipe.get_list_adapters() == {"eeg_encoder": ["x"], "unet": ["x"]}
    torch.testing.assert_close(volumes(pipe), expected)
    with pytest.raises(InputError, match="nonsense"):
        pipe.load_lora_weights(folder, nonsense=1)


def test_what_does_not_fit_loads_no_part(adapted, tmp_path):
    folder, _ = adapted
    weights = load_file(folder / NAME)
    for name, message in (("other.lora_A.weight", "other components"), ("unet.x.lora_A.weight", r"x\.lora_B")):
        save_file({**weights, name: torch.ones(2, 2)}, tmp_path / NAME)
        pipe = tiny.pipeline()
        with pytest.raises(CheckpointError, match=message):
            pipe.load_lora_weights(tmp_path)
        assert not getattr(pipe.eeg_encoder, "peft_config", None)
