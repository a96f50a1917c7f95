"""The trainer in this process: whatever it trains, it stops, resumes, refuses and ends as promised."""

import errno
import json
import math
import multiprocessing
import os
import shutil
import signal
from dataclasses import fields, replace

import pytest
import torch
from accelerate.state import AcceleratorState
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from safetensors.torch import load_file

from eeg2fmri import PairedDataset
from eeg2fmri.errors import EEG2fMRIError, FileError, InputError
from eeg2fmri.recipes import SECTIONS, read_recipe
from eeg2fmri.training import checks
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.dry_run import dry_run
from eeg2fmri.training.models import MODELS
from eeg2fmri.training.objective import denoising_loss
from eeg2fmri.training.trainer import Trainer
from eeg2fmri.training.validation import Validator

pytestmark = pytest.mark.usefixtures("accelerate", "toy")
RECIPE = {name: {} for name in SECTIONS}


class Scale(ModelMixin, ConfigMixin):
    """The smallest regression: every volume is the EEG's mean times a number."""

    @register_to_config
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(0.1))


class Regression:
    published_index = "config.json"

    def __init__(self, config, recipe, dataset):
        self.identity = {}
        self.network = torch.nn.Module()
        self.network.regression = Scale()

    def loss(self, network, batch, seeds):
        return (self.predict(network, batch, seeds, 1) - batch["volume"]).square().flatten(1).mean(1)

    def predict(self, network, batch, seeds, num_inference_steps):
        level = batch["eeg"].mean((1, 2, 3, 4))[:, None, None, None, None]
        return network.regression.factor * level.expand_as(batch["volume"])

    def save(self, folder):
        self.network.regression.save_pretrained(folder)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(MODELS, "toy", Regression)


@pytest.fixture
def settings(data, tmp_path):
    return TrainingConfig(
        train_data_dir=str(data / "pairs"),
        output_dir=str(tmp_path / "run"),
        model="toy",
        gradient_accumulation_steps=2,
        max_train_steps=6,
        validation_steps=3,
        num_validation_pairs=4,
        num_validation_samples=3,
        early_stopping_patience=0,
        checkpointing_steps=2,
        report_to="none",
    )


def log(config):
    with open(f"{config.output_dir}/log.jsonl") as file:
        return [json.loads(line) for line in file]


def factor(trainer):
    return trainer.state.bare_network.regression.factor.detach().clone()


def test_a_model_of_another_kind_is_trained_saved_and_published_by_its_own_ways(settings):
    end = Trainer(settings, RECIPE).train()
    assert (end.step, end.exit_code) == (6, 0)
    published = Scale.from_pretrained(settings.output_dir).factor
    assert torch.equal(published, Scale.from_pretrained(f"{settings.output_dir}/checkpoint-6/regression_ema").factor)
    assert [record["step"] for record in log(settings)] == [1, 2, 3, 3, 4, 5, 6, 6]


def test_averaged_weights_are_the_first_steps_then_decay_at_a_constant_rate(settings):
    trainer = Trainer(replace(settings, ema_decay=0.75, learning_rate=0.01), RECIPE)
    trainer.state.optimizer_step()
    average = factor(trainer)
    for _ in range(3):
        trainer.state.optimizer_step()
        average = 0.75 * average + 0.25 * factor(trainer)
    assert torch.allclose(trainer.state.ema.shadow_params[0], average)


@pytest.mark.parametrize("schedule", ["constant_with_warmup", "linear", "cosine"])
def test_the_learning_rate_rises_then_follows_its_schedule(settings, schedule):
    config = replace(settings, lr_scheduler=schedule, lr_warmup_steps=2, max_train_steps=6, learning_rate=0.5)
    state = Trainer(config, RECIPE).state
    rates = [state.optimizer_step()["learning_rate"] for _ in range(6)]
    left = {
        "constant_with_warmup": [1, 1, 1, 1],
        "linear": [1, 0.75, 0.5, 0.25],
        "cosine": [(1 + math.cos(math.pi * part / 4)) / 2 for part in range(4)],
    }
    assert rates == pytest.approx([0.5 * share for share in [0, 0.5, *left[schedule]]])


@pytest.mark.parametrize("model", [name for name in MODELS if name.startswith("ef_diffusion")])
def test_the_papers_model_and_its_ablations_train_and_generate(settings, data, model):
    config = replace(settings, model=model, conditioning_dropout_prob=0.5, snr_gamma=5.0)
    recipe = read_recipe(data / "recipe.yaml")
    trainer = Trainer(config, recipe)
    loss = trainer.state.optimizer_step()["loss"]
    scores = trainer.validate()
    assert 0.1 < loss < 10
    assert set(scores) == {f"validation_{name}" for name in ("loss", "loss_other_eeg", "ssim", "temporal_r")}
    assert scores["validation_loss"] != scores["validation_loss_other_eeg"]


def test_the_loss_weighs_and_drops_only_in_training(settings, data):
    config = replace(settings, model="ef_diffusion", conditioning_dropout_prob=0.9, snr_gamma=5.0)
    trainer = Trainer(config, read_recipe(data / "recipe.yaml"))
    batch = torch.utils.data.default_collate([trainer.dataset[0], trainer.dataset[1]])
    network, seeds = trainer.state.bare_network, [1, 2]
    with torch.no_grad():
        training = trainer.model.loss(network.train(), batch, seeds)
        validation = trainer.model.loss(network.eval(), batch, seeds)
        bare = denoising_loss(network, trainer.model.noise_scheduler, batch, seeds)
    assert torch.equal(validation, bare)
    assert not torch.allclose(training, bare)


@pytest.mark.parametrize(
    ("section", "options", "message"),
    [
        ("unet", {"sample_size": [8, 8, 8]}, r"recipe, unet: found options \['sample_size'\]"),
        ("eeg_encoder", {"width": 3}, r"recipe, eeg_encoder: found options \['width'\]"),
        ("scheduler", {"beta_stop": 3}, r"recipe, scheduler: found options \['beta_stop'\]"),
        ("scheduler", {"prediction_type": "flow"}, "found 'flow'; expected one of epsilon, v_prediction, sample"),
    ],
)
def test_options_that_are_not_the_recipes_to_give_are_refused(settings, section, options, message):
    with pytest.raises(InputError, match=message):
        Trainer(replace(settings, model="ef_diffusion"), {**RECIPE, section: options})


def test_a_signal_stops_after_the_step_and_the_run_continues_as_if_nothing_had_been(settings, monkeypatch, tmp_path):
    whole = replace(settings, output_dir=str(tmp_path / "whole"))
    Trainer(whole, RECIPE).train()
    trainer = Trainer(settings, RECIPE)
    step = trainer.state.optimizer_step
    signals = {2: signal.SIGINT}

    def interrupted_step():
        if trainer.state.step in signals:
            os.kill(os.getpid(), signals[trainer.state.step])
        return step()

    monkeypatch.setattr(trainer.state, "optimizer_step", interrupted_step)
    end = trainer.train()
    assert (end.step, end.exit_code) == (3, 128 + signal.SIGINT)
    assert not os.path.exists(f"{settings.output_dir}/config.json")
    with open(f"{settings.output_dir}/log.jsonl", "a") as file:  # as if killed later, in the middle of a line
        file.write('{"step": 4, "loss": 1.0}\n{"step": 5, "lo')
    Trainer(replace(settings, resume_from_checkpoint="latest"), RECIPE).train()
    assert log(settings) == log(whole)  # the validation of step 3 is made up for
    first, second = (Scale.from_pretrained(config.output_dir).factor for config in (settings, whole))
    assert torch.equal(first, second)


def test_a_signal_to_the_group_does_not_reach_the_workers(settings):
    state = Trainer(replace(settings, dataloader_num_workers=1), RECIPE).state
    state.optimizer_step()
    (worker,) = multiprocessing.active_children()
    assert os.getpgid(worker.pid) != os.getpgrp()


def test_a_validation_that_fails_costs_no_step(settings, monkeypatch):
    config = replace(settings, checkpointing_steps=3)
    trainer = Trainer(config, RECIPE)
    monkeypatch.setattr(trainer, "validate", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    Trainer(replace(config, resume_from_checkpoint="checkpoint-3"), RECIPE).train()
    assert [record["step"] for record in log(settings)] == [1, 2, 3, 3, 4, 5, 6, 6]


def test_a_validation_run_that_is_too_short_to_be_scored_is_refused_at_once(settings, data):
    pairs = PairedDataset(data / "pairs", "validation")
    pairs.runs[0]["num_pairs"] = 2
    with pytest.raises(InputError, match=r"sub-.*: found a validation run of 2 volumes; expected at least 3"):
        Validator(None, pairs, settings, torch.device("cpu"), None)


def test_it_stops_when_the_ssim_no_longer_improves_also_after_a_resume(settings, monkeypatch):
    config = replace(settings, max_train_steps=100, validation_steps=1, early_stopping_patience=3)
    monkeypatch.setattr(
        Trainer, "validate", lambda self: {"validation_loss": 1.0, "validation_ssim": 1 / abs(self.state.step - 2.5)}
    )
    assert Trainer(config, RECIPE).train().step == 5  # best at 2 (and 3), then 3, 4, 5 without a better one
    assert Trainer(replace(config, resume_from_checkpoint="latest"), RECIPE).train().step == 5


def test_a_loss_that_is_no_number_names_step_and_pairs_and_changes_nothing(settings, monkeypatch):
    trainer = Trainer(settings, RECIPE)
    trainer.state.optimizer_step()
    before = factor(trainer)
    loss = trainer.model.loss
    poison = torch.tensor([0.0, float("nan")])
    monkeypatch.setattr(trainer.model, "loss", lambda *arguments: loss(*arguments) + poison)
    with pytest.raises(EEG2fMRIError, match=r"step 2: found a loss that is not finite, on sub-.*, volume \d+; sub-"):
        trainer.state.optimizer_step()
    assert torch.equal(factor(trainer), before)


CHANGES = {
    "lr_warmup_steps": 1,
    "seed": 1,
    "model": "ef_diffusion_without_ciim",
    "train_batch_size": 4,
    "gradient_accumulation_steps": 4,
    "max_train_steps": 8,
    "lr_scheduler": "cosine",
    "adam_weight_decay": 0.1,
    "mixed_precision": "bf16",
    "conditioning_dropout_prob": 0.5,
    "snr_gamma": 5.0,
    "ema_warmup": True,
    "gradient_checkpointing": True,
    "deterministic": True,
    "freeze": "unet",
    "lora_rank": 2,
    "torch_compile": True,
}
FINE_TUNING = {"freeze", "lora_rank"}


@pytest.mark.parametrize("name", [f.name for f in fields(TrainingConfig) if not f.metadata.get("free")])
def test_every_setting_that_matters_is_part_of_a_runs_identity(name):
    start = {"pretrained_model_name_or_path": "z"} if name in FINE_TUNING else {"lr_scheduler": "linear"}
    config = TrainingConfig(train_data_dir="x", output_dir="y", **start)
    other = replace(config, **{name: CHANGES[name] if name in CHANGES else getattr(config, name) / 2})
    assert config.identity() != other.identity()
    assert config.identity(num_processes=2) == replace(config, train_batch_size=4).identity()


def test_another_dataset_other_settings_and_another_recipe_are_refused_with_both_values(settings, data, tmp_path):
    Trainer(replace(settings, max_train_steps=2), RECIPE).train()
    resumed = replace(settings, max_train_steps=2, resume_from_checkpoint="latest")
    with pytest.raises(InputError, match=r"--seed: found 7; expected 42, as in checkpoint-2"):
        Trainer(replace(resumed, seed=7), RECIPE)
    with pytest.raises(InputError, match=r"recipe\.unet\.layers_per_block: found 2; expected None"):
        Trainer(resumed, {**RECIPE, "unet": {"layers_per_block": 2}})
    shutil.copytree(data / "pairs", tmp_path / "pairs")
    index = json.loads((tmp_path / "pairs" / "index.json").read_text())
    index["runs"][0]["sha256"] = "0" * 64
    (tmp_path / "pairs" / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"dataset\.index: found '[0-9a-f]{64}'; expected '[0-9a-f]{64}'"):
        Trainer(replace(resumed, train_data_dir=str(tmp_path / "pairs")), RECIPE)


def test_a_folder_with_another_runs_checkpoints_is_refused(settings):
    Trainer(replace(settings, max_train_steps=2), RECIPE).train()
    with pytest.raises(InputError, match=r"checkpoint-2 in .*; expected a folder without checkpoints"):
        Trainer(settings, RECIPE)


def test_a_lost_or_cut_run_of_the_dataset_is_named_before_anything_is_written(settings, data, tmp_path):
    shutil.copytree(data / "pairs", tmp_path / "pairs")
    config = replace(settings, train_data_dir=str(tmp_path / "pairs"))
    for damage in (lambda path: os.truncate(path, path.stat().st_size - 1), lambda path: path.unlink()):
        path = min((tmp_path / "pairs").glob("sub-*.safetensors"))
        damage(path)
        with pytest.raises(FileError, match=path.name):
            Trainer(config, RECIPE)
    assert not os.path.exists(config.output_dir)


def test_a_changed_run_of_the_dataset_is_named_by_a_rehearsal_and_a_resume(settings, data, tmp_path):
    shutil.copytree(data / "pairs", tmp_path / "pairs")
    config = replace(settings, train_data_dir=str(tmp_path / "pairs"), max_train_steps=2)
    Trainer(config, RECIPE).train()
    path = max((tmp_path / "pairs").glob("sub-*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for change in ({"dry_run": True, "output_dir": str(tmp_path / "other")}, {"resume_from_checkpoint": "latest"}):
        with pytest.raises(FileError, match=rf"{path.name}: .*checksum"):
            Trainer(replace(config, **change), RECIPE)


def test_an_empty_validation_split_is_refused(settings, data, tmp_path):
    shutil.copytree(data / "pairs", tmp_path / "pairs")
    path = tmp_path / "pairs" / "splits" / "default" / "split.json"
    split = json.loads(path.read_text())
    split["parts"]["validation"] = {}
    path.write_text(json.dumps(split))
    with pytest.raises(InputError, match="'validation', which holds no run"):
        Trainer(replace(settings, train_data_dir=str(tmp_path / "pairs")), RECIPE)


def test_a_recipe_of_other_processors_is_refused(settings):
    with pytest.raises(InputError, match=r"eeg_processor\.num_windows: found 4 in the dataset; expected 10, as"):
        Trainer(settings, {**RECIPE, "eeg_processor": {"num_windows": 10}})


def test_a_disk_without_room_for_the_checkpoints_is_refused(settings, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(FileError, match=r"0\.00 GB free; expected .* for 4 checkpoints and the published model"):
        Trainer(settings, RECIPE)


@pytest.mark.parametrize(("flag", "expected"), [("accelerate", "bf16"), ("no", "no")])
def test_the_precision_is_the_launchers_unless_it_is_set(settings, monkeypatch, flag, expected):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    trainer = Trainer(replace(settings, mixed_precision=flag), RECIPE)
    assert trainer.identity["mixed_precision"] == trainer.accelerator.mixed_precision == expected


def test_half_precision_of_the_launcher_is_refused(settings, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(InputError, match="--mixed_precision: found 'fp16'"):
        Trainer(settings, RECIPE)


def test_a_disk_that_the_tracker_finds_full_is_a_typed_error(settings, monkeypatch):
    trainer = Trainer(settings, RECIPE)

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer.accelerator, "log", full)
    with pytest.raises(FileError, match=r"run/logs: found that it can't be written \(No space left on device\)"):
        trainer.train()


def test_without_a_compiler_torch_compile_is_refused(settings, monkeypatch):
    monkeypatch.setattr(checks.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"--torch_compile: found no C\+\+ compiler"):
        Trainer(replace(settings, torch_compile=True), RECIPE)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_compiled_steps_are_the_same_and_leave_no_trace_in_names(settings, data, tmp_path, monkeypatch):
    """Inductor's kernels are written, compiled and run here; they round differently."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    recipe = read_recipe(data / "recipe.yaml")
    config = replace(settings, model="ef_diffusion", max_train_steps=2, num_validation_samples=0, learning_rate=1e-4)
    Trainer(replace(config, output_dir=str(tmp_path / "plain")), recipe).train()
    AcceleratorState._reset_state(reset_partial_state=True)
    Trainer(replace(config, torch_compile=True), recipe).train()
    for folder in ("unet", "checkpoint-2/unet", "checkpoint-2/eeg_encoder_ema"):
        plain, compiled = (
            load_file(f"{output}/{folder}/diffusion_pytorch_model.safetensors")
            for output in (tmp_path / "plain", settings.output_dir)
        )
        assert plain.keys() == compiled.keys()
        for name, tensor in plain.items():
            torch.testing.assert_close(compiled[name], tensor, atol=5e-4, rtol=0)
    assert not any(
        "_orig_mod" in name for name in load_file(f"{settings.output_dir}/checkpoint-2/optimizer.safetensors")
    )
    AcceleratorState._reset_state(reset_partial_state=True)
    resumed = replace(config, torch_compile=True, max_train_steps=2, resume_from_checkpoint="checkpoint-2")
    assert Trainer(resumed, recipe).state.step == 2


def test_what_killed_processes_left_is_removed_at_the_start(settings):
    """Also after the last save of a run, which no other save follows."""
    Trainer(settings, RECIPE).train()
    for name in ("checkpoint-1", "run"):
        os.mkdir(f"{settings.output_dir}/.{name}.abc.staging")
    Trainer(replace(settings, resume_from_checkpoint="latest"), RECIPE).train()
    assert not [name for name in os.listdir(settings.output_dir) if name.endswith(".staging")]


def test_a_dry_run_publishes_too(settings, monkeypatch):
    def refuse(self, folder):
        raise FileError(folder, found="no room", expected="some", remedy="Make it.")

    monkeypatch.setattr(Regression, "save", refuse)
    with pytest.raises(FileError, match="no room"):
        dry_run(settings, RECIPE)


def test_a_dry_run_leaves_nothing(settings, tmp_path):
    summary = dry_run(settings, RECIPE)
    assert "1 parameters, of which 1 are trained" in summary
    assert "for 6 steps" in summary
    assert not list(tmp_path.iterdir())
