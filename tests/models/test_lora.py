"""LoRA adapters of both networks: small, the same after a round trip, and never loaded damaged."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from eeg2fmri import EPGModel, FDUNetModel
from eeg2fmri.errors import CheckpointError, InputError
from eeg2fmri.recipes import read_recipe
from eeg2fmri.training.fine_tuning_table import LORA_RANK

pytest.importorskip("peft")
RECIPES = Path(__file__).resolve().parents[2] / "scripts" / "recipes"
NAME = "pytorch_lora_weights.safetensors"
DATA = {"sample_size": (16, 32, 32), "in_channels": 2, "cross_attention_dim": 64}


def networks() -> dict[str, torch.nn.Module]:
    pipe = tiny.pipeline()
    return {"unet": pipe.unet, "eeg_encoder": pipe.eeg_encoder}


def inputs(name: str) -> tuple:
    generator = torch.Generator().manual_seed(1)
    if name == "eeg_encoder":
        return (torch.randn(2, 1, 8, 6, 4, generator=generator),)
    return torch.randn(2, 2, 8, 8, 8, generator=generator), 500, torch.randn(2, 5, 16, generator=generator)


def adapted(name: str, seed: int = 3) -> torch.nn.Module:
    """A network with an adapter that changes what it makes."""
    model = networks()[name]
    model.add_lora(2)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


@torch.no_grad()
def output(model: torch.nn.Module, name: str) -> torch.Tensor:
    return model(*inputs(name), return_dict=False)[0]


@pytest.mark.parametrize("recipe", ["sim-small", "paper"])
def test_adapters_are_at_most_a_twentieth_of_the_weights(recipe):
    settings = read_recipe(RECIPES / f"{recipe}.yaml")
    unet = {**(DATA if recipe != "paper" else {}), **settings["unet"]}
    with torch.device("meta"):
        models = FDUNetModel(**unet), EPGModel(**settings["eeg_encoder"])
        before = sum(parameter.numel() for model in models for parameter in model.parameters())
        for model in models:
            model.add_lora(LORA_RANK)
    parameters = [(name, parameter) for model in models for name, parameter in model.named_parameters()]
    assert all(parameter.requires_grad == ("lora_" in name) for name, parameter in parameters)
    assert 0 < sum(parameter.numel() for _, parameter in parameters if parameter.requires_grad) <= 0.05 * before


@pytest.mark.parametrize("name", ["unet", "eeg_encoder"])
def test_an_adapter_changes_nothing_at_first_and_the_same_after_a_round_trip(name, tmp_path):
    base, fresh = networks()[name], networks()[name]
    expected = output(base, name)
    fresh.add_lora(2)
    assert torch.equal(output(fresh, name), expected)
    model = adapted(name)
    changed = output(model, name)
    assert (changed - expected).abs().max() > 1e-3
    model.save_lora_adapter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    base.load_lora_adapter(tmp_path)
    assert torch.equal(output(base, name), changed)
    base.fuse_lora()
    torch.testing.assert_close(output(base, name), changed, atol=1e-4, rtol=1e-4)
    base.unfuse_lora()
    base.unload_lora()
    torch.testing.assert_close(output(base, name), expected, atol=1e-4, rtol=1e-4)


def test_equal_adapters_give_equal_files(tmp_path):
    for folder in ("one", "two"):
        adapted("unet").save_lora_adapter(tmp_path / folder)
    assert (tmp_path / "one" / NAME).read_bytes() == (tmp_path / "two" / NAME).read_bytes()


def test_a_network_with_adapters_is_not_saved_as_a_whole_one(tmp_path):
    with pytest.raises(InputError, match="fuse_lora"):
        adapted("unet").save_pretrained(tmp_path)


FIRST = "conv_in.lora_A.weight"
DAMAGES = {
    "checksum": (lambda weights: weights[FIRST].mul_(2), {}, "do not match their checksum"),
    "NaN": (lambda weights: weights[FIRST].fill_(float("nan")), {"sha256": None}, "NaN or Inf"),
    "counterpart": (lambda weights: weights.pop(FIRST), {"sha256": None}, r"conv_in\.lora_B\.weight|conv_in"),
    "unknown": (lambda weights: weights.update({"x": torch.ones(1)}), {"sha256": None}, "x unknown"),
    "layer": (
        lambda weights: weights.update({"y.lora_A.weight": torch.ones(2, 3), "y.lora_B.weight": torch.ones(3, 2)}),
        {"sha256": None},
        "an adapter of y",
    ),
    "shape": (lambda weights: weights.update({FIRST: torch.ones(2, 2)}), {"sha256": None}, r"shape \[2, 2\]"),
    "scalar": (lambda weights: weights.update({FIRST: torch.tensor(1.0)}), {"sha256": None}, r"of shape \[\]"),
    "scale": (None, {"lora_alpha": 1e9}, "lora_alpha 1000000000.0"),
    "rank": (None, {"r": 10**9}, "another rank"),
    "form": (None, {"use_dora": True}, "use_dora"),
    "metadata": (None, {"lora_adapter_metadata": "[1"}, "a damaged configuration"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_adapter_is_refused_and_nothing_is_loaded(damage, tmp_path):
    change, entries, message = DAMAGES[damage]
    adapted("unet").save_lora_adapter(tmp_path)
    weights = load_file(tmp_path / NAME)
    with open(tmp_path / NAME, "rb") as file:
        seal = json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]
    if change is not None:
        change(weights)
    for key, value in entries.items():
        if key in ("sha256", "lora_adapter_metadata"):
            seal.pop(key) if value is None else seal.update({key: value})
        else:
            config = json.loads(seal["lora_adapter_metadata"])
            seal["lora_adapter_metadata"] = json.dumps({**config, key: value})
    save_file(weights, tmp_path / NAME, metadata=seal)
    model = networks()["unet"]
    names = set(model.state_dict())
    with pytest.raises(CheckpointError, match=message):
        model.load_lora_adapter(tmp_path)
    assert set(model.state_dict()) == names


def test_a_cut_or_missing_file_and_a_pickle_are_refused(tmp_path):
    model = networks()["unet"]
    with pytest.raises(CheckpointError, match="no such file"):
        model.load_lora_adapter(tmp_path)
    (tmp_path / "adapter.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"only adapter\.bin"):
        model.load_lora_adapter(tmp_path)
    adapted("unet").save_lora_adapter(tmp_path)
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        model.load_lora_adapter(tmp_path)
