"""Training that starts from a published pipeline, on a group with another montage and repetition time."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eeg2fmri import EEG2fMRIPipeline, PairedDataset
from eeg2fmri.data.leaks import is_complete, refuse_leak, training_record
from eeg2fmri.data.pairs import build_pairs
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.simulation import simulate_dataset
from eeg2fmri.errors import CheckpointError, InputError
from eeg2fmri.hub import (
    load_pipeline,
    load_processors,
    read_training_record,
    resolve_model,
    save_for_hub,
    write_training_record,
)
from eeg2fmri.recipes import SECTIONS
from eeg2fmri.recordings.layouts import find_bids_runs
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.fine_tuning_table import Comparison, compare, markdown, recipe_of
from eeg2fmri.training.models import MODELS
from eeg2fmri.training.networks import build_networks, build_prior, build_schedulers
from eeg2fmri.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("accelerate")
EMPTY = {name: {} for name in SECTIONS}
RECIPE = {
    **EMPTY,
    "prior": {"bands": [[1, 9], [7, 17]], "num_filters": 8, "hidden_channels": 4, "num_components": 4},
    "eeg_encoder": {"block_out_channels": [8, 8], "cross_attention_dim": 16, "norm_num_groups": 4},
    "unet": {"block_out_channels": [8, 8, 16], "interaction_levels": [2], "norm_num_groups": 4},
    "scheduler": {"prediction_type": "v_prediction"},
}
ADAPTERS = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def original(build_complex, tmp_path_factory):
    """The pairs that the pipeline was trained on, with statistics of their own."""
    return build_complex(tmp_path_factory.mktemp("original") / "pairs", num_test=1)


@pytest.fixture(scope="module")
def published(original, tmp_path_factory):
    """A pipeline with a prior, and the record of its training."""
    folder, dataset = tmp_path_factory.mktemp("published") / "pipeline", PairedDataset(original)
    torch.manual_seed(0)
    eeg, volume = dataset.eeg_processor, dataset.volume_processor
    prior = build_prior(RECIPE, eeg, volume).eval()
    torch.nn.init.normal_(prior.maps, std=0.1)
    networks = build_networks(RECIPE, eeg, volume, prior)
    _, scheduler = build_schedulers(RECIPE, volume)
    save_for_hub(EEG2fMRIPipeline(networks.eeg_encoder, networks.unet, scheduler, eeg, volume, prior), folder)
    write_training_record(folder, training_record(dataset))
    return folder


@pytest.fixture(scope="module")
def pairs(published, tmp_path_factory):
    """A new group, whose subjects bear the labels of the first one."""
    folder = tmp_path_factory.mktemp("group")
    root = simulate_dataset(folder / "bids", preset="mini-24", num_subjects=3, num_volumes=40, seed=7)
    path, _ = prepare_dataset(root, folder / "pairs", processors=load_processors(published), seed=0)
    return path


@pytest.fixture
def settings(published, pairs, tmp_path):
    return TrainingConfig(
        train_data_dir=str(pairs),
        output_dir=str(tmp_path / "run"),
        pretrained_model_name_or_path=str(published),
        gradient_accumulation_steps=1,
        max_train_steps=4,
        learning_rate=1e-2,
        checkpointing_steps=2,
        num_validation_pairs=4,
        num_validation_samples=0,
        early_stopping_patience=0,
        report_to="none",
    )


def weights(folder, component) -> dict[str, torch.Tensor]:
    return load_file(Path(folder) / component / "diffusion_pytorch_model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_starts_from_the_published_networks_prior_and_schedule(settings, published, pairs):
    model = MODELS["ef_diffusion"](settings, EMPTY, PairedDataset(pairs))
    for name, component in (*model.network.named_children(), ("prior", model.prior)):
        assert equal(weights(published, name), component.state_dict())
    assert model.noise_scheduler.config.prediction_type == "v_prediction"
    assert all(parameter.requires_grad for parameter in model.network.parameters())
    assert not any(parameter.requires_grad for parameter in model.prior.parameters())


@pytest.mark.parametrize("frozen", ["none", "eeg_encoder", "unet"])
def test_what_is_frozen_stays_and_the_rest_does_not(settings, published, frozen):
    config = replace(settings, freeze=frozen)
    Trainer(config, EMPTY).train()
    assert equal(weights(published, "prior"), weights(config.output_dir, "prior"))
    for name in ("eeg_encoder", "unet"):
        assert equal(weights(published, name), weights(config.output_dir, name)) == (name == frozen)


def test_a_lora_run_publishes_adapters_alone_and_resumes_to_the_same_bits(settings, published, pairs, tmp_path):
    pytest.importorskip("peft")
    whole = replace(settings, lora_rank=2, output_dir=str(tmp_path / "whole"))
    Trainer(whole, EMPTY).train()
    assert not list(Path(whole.output_dir).glob("*/diffusion_pytorch_model*"))
    assert not (Path(whole.output_dir) / "model_index.json").exists()
    cut = replace(settings, lora_rank=2)
    trainer = Trainer(cut, EMPTY)
    for _ in range(2):
        trainer.state.optimizer_step()
    trainer.state.save()
    trainer.lock.release()
    Trainer(replace(cut, resume_from_checkpoint="latest"), EMPTY).train()
    files = [Path(ADAPTERS), *(Path("checkpoint-4") / name for name in ("optimizer.safetensors",
             f"unet/{ADAPTERS}", f"unet_ema/{ADAPTERS}", f"eeg_encoder/{ADAPTERS}"))]  # fmt: skip
    for file in files:
        assert equal(load_file(whole.output_dir / file), load_file(cut.output_dir / file)), file
    assert len(load_file(whole.output_dir / files[0])) == sum(
        len(load_file(Path(whole.output_dir) / "checkpoint-4" / name / ADAPTERS)) for name in ("unet", "eeg_encoder")
    )
    with pytest.raises(InputError, match="--lora_rank: found 3; expected 2, as in checkpoint-4"):
        Trainer(replace(cut, lora_rank=3, resume_from_checkpoint="latest"), EMPTY)
    # The folder is a model for every command that takes one, and the processors are those of its base.
    pipe, base = load_pipeline(resolve_model(whole.output_dir)), load_pipeline(published)
    base.load_lora_weights(whole.output_dir)
    window = PairedDataset(pairs, "test")[0]["eeg"][None]
    one, other = (
        some(window, num_inference_steps=1, generator=torch.Generator().manual_seed(0), output_type="latent").volumes
        for some in (pipe, base)
    )
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    assert load_processors(Path(whole.output_dir))[0].checksum() == pipe.eeg_processor.checksum()


def test_adapters_on_one_network_beside_a_frozen_one(settings, pairs):
    pytest.importorskip("peft")
    model = MODELS["ef_diffusion"](replace(settings, freeze="unet", lora_rank=2), EMPTY, PairedDataset(pairs))
    trained = {name for name, parameter in model.network.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(name.startswith("eeg_encoder.") and "lora_" in name for name in trained)


@pytest.mark.parametrize(
    ("section", "option", "message"),
    [
        (
            "unet",
            {"block_out_channels": [8, 8, 32]},
            r"unet\.block_out_channels: found \[8, 8, 32\].*\[8, 8, 16\], as",
        ),
        ("unet", {"width": 3}, r"recipe, unet\.width: found 3; expected None"),
        ("scheduler", {"prediction_type": "epsilon"}, "found 'epsilon'; expected 'v_prediction', as in"),
        ("prior", {"num_filters": 9}, "found 9; expected 8"),
    ],
)
def test_a_recipe_that_contradicts_the_pipeline_is_refused(settings, section, option, message):
    with pytest.raises(InputError, match=message):
        Trainer(settings, {**EMPTY, section: option})
    assert not Path(settings.output_dir).exists()


def test_a_recipe_that_says_the_same_is_not(settings):
    Trainer(replace(settings, max_train_steps=1), RECIPE)


def test_pairs_of_other_statistics_are_refused(settings, published, simulated, tmp_path):
    eeg, volume = load_processors(published)
    split = {"train": ["001"], "validation": ["002"], "test": []}
    path = build_pairs(
        find_bids_runs(simulated), tmp_path / "own", eeg_processor=eeg, volume_processor=volume, split=split
    )
    with pytest.raises(InputError, match=r"statistics of its own training subjects.*eeg2fmri prepare --model"):
        Trainer(replace(settings, train_data_dir=str(path)), EMPTY)


def test_the_prior_is_fine_tuned_first_and_replaces_the_published_one(settings, published, pairs, tmp_path):
    config = replace(settings, model="conditional_mean", output_dir=str(tmp_path / "prior"))
    model = MODELS["conditional_mean"](config, EMPTY, PairedDataset(pairs))
    batch = PairedDataset(pairs, "test")[[0, 5]]
    expected = load_pipeline(published).prior(batch["eeg"]).sample.flatten(1) @ model.basis @ model.basis.T
    with torch.no_grad():
        predicted = model.predict(model.network.eval(), batch, [], 1)
    torch.testing.assert_close(predicted.flatten(1), expected.detach(), atol=1e-4, rtol=1e-3)
    Trainer(config, EMPTY).train()
    Trainer(replace(settings, prior=config.output_dir), EMPTY).train()
    assert equal(load_file(f"{config.output_dir}/diffusion_pytorch_model.safetensors"),
                 weights(settings.output_dir, "prior"))  # fmt: skip
    assert not equal(weights(published, "prior"), weights(settings.output_dir, "prior"))
    assert len(read_training_record(settings.output_dir)["earlier_training"]) == 1


def test_both_trainings_are_remembered_and_equal_labels_of_the_new_group_are_no_leak(settings, pairs, original):
    Trainer(settings, EMPTY).train()
    record = read_training_record(settings.output_dir)
    assert is_complete(record)
    assert json.loads(Path(settings.output_dir, "training.json").read_text())["base_model"]["name"]
    assert record["validation_subjects"] == PairedDataset(pairs, "validation").subjects
    new = PairedDataset(pairs, "test")
    assert set(new.subjects) & set(PairedDataset(original).subjects) or set(new.subjects) & {"001", "002", "003"}
    refuse_leak(record, new)
    refuse_leak(record, PairedDataset(original, "test"))
    for trained_on in (PairedDataset(original), PairedDataset(pairs)):
        with pytest.raises(InputError, match="on which the model was trained"):
            refuse_leak(record, trained_on)


def test_what_the_pipeline_was_trained_on_can_not_be_held_out(settings, published, simulated, original, tmp_path):
    processors = dict(zip(("eeg_processor", "volume_processor"), load_processors(published), strict=True))
    known = PairedDataset(original).subjects[0]
    others = sorted({"001", "002", "003"} - {known})
    split = {"train": others, "validation": [known], "test": []}
    path = build_pairs(find_bids_runs(simulated), tmp_path / "same", split=split, keep_statistics=True, **processors)
    with pytest.raises(InputError, match=f"{known}, on which the model was trained"):
        Trainer(replace(settings, train_data_dir=str(path)), EMPTY)


def test_a_pipeline_of_unknown_training_makes_another_one(settings, published):
    (published / "training.json").rename(published / "hidden")
    try:
        Trainer(replace(settings, max_train_steps=1), EMPTY).train()
    finally:
        (published / "hidden").rename(published / "training.json")
    assert not is_complete(read_training_record(settings.output_dir))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained_model_name_or_path": "", "freeze": "unet"}, "--freeze: found 'unet'; expected 'none', without"),
        ({"pretrained_model_name_or_path": "", "lora_rank": 2}, "--lora_rank: found 2; expected 0, without"),
        ({"pretrained_model_name_or_path": "", "revision": "v1"}, "--revision"),
        ({"model": "conditional_mean", "freeze": "unet"}, "with --model conditional_mean"),
        ({"model": "ef_diffusion_without_ciim"}, "expected conditional_mean or ef_diffusion"),
    ],
)
def test_settings_that_mean_nothing_together_are_refused(settings, changes, message):
    with pytest.raises(InputError, match=message):
        replace(settings, **changes)


def test_a_missing_pipeline_and_one_without_a_prior_are_refused(settings, tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        Trainer(replace(settings, pretrained_model_name_or_path=str(tmp_path / "none")), EMPTY)


def test_a_pipelines_recipe_builds_networks_like_its_own(published, pairs):
    pipe, dataset = load_pipeline(published), PairedDataset(pairs)
    recipe = recipe_of(pipe)
    networks = build_networks(recipe, dataset.eeg_processor, dataset.volume_processor, pipe.prior)
    for name, component in networks.named_children():
        found = {key: tensor.shape for key, tensor in component.state_dict().items()}
        assert found == {key: tensor.shape for key, tensor in getattr(pipe, name).state_dict().items()}


def test_the_table_says_what_was_scored():
    scores = {"loss": 0.5, "loss_other_eeg": 0.6, "r": [0.1, 0.3], "r_other_eeg": [0.0, 0.0]}
    text = markdown([("everything", 1234, scores)], Comparison("model", Path("x"), num_steps=3))
    assert text.startswith("3 steps of 16 pairs each; 12 subjects")
    assert "| everything | 1,234 | 0.5000 | 0.6000 | 0.200 ± 0.100 | 0.000 ± 0.000 |" in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_comparison_from_recordings_to_table(published, tmp_path):
    comparison = Comparison(
        str(published), tmp_path / "out", num_steps=2, num_subjects=4, num_test_subjects=2, num_volumes=40,
        batch_size=2, prior_batch_size=8,
    )  # fmt: skip
    table = compare(comparison)
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        "as published, no step",
        "from nothing",
        "everything",
        "encoder frozen",
        "denoiser frozen",
        "LoRA of rank 2",
        "prior, then everything",
    ]
    assert compare(comparison) == table  # nothing is trained again
