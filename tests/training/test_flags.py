import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from eeg2fmri.errors import InputError
from eeg2fmri.recipes import read_recipe
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.flags import make_parser, read_settings, save_settings
from eeg2fmri.training.models import MODELS
from eeg2fmri.training.run_log import check_tracker

RECIPES = Path(__file__).resolve().parents[2] / "scripts" / "recipes"
PATHS = ("--train_data_dir", "pairs", "--output_dir", "run")
FLAGS = """
config train_data_dir data_split output_dir dataloader_num_workers model conditioning_dropout_prob snr_gamma seed
train_batch_size gradient_accumulation_steps max_train_steps learning_rate lr_scheduler lr_warmup_steps adam_beta1
prior adam_beta2 adam_epsilon adam_weight_decay max_grad_norm ema_decay ema_warmup validation_steps
num_validation_pairs num_validation_samples validation_inference_steps early_stopping_patience checkpointing_steps
checkpoints_total_limit resume_from_checkpoint report_to tracker_project_name mixed_precision gradient_checkpointing
deterministic dry_run pretrained_model_name_or_path revision freeze lora_rank torch_compile
push_to_hub hub_model_id hub_token
"""


def test_the_names_of_the_flags_stay():
    flags = {option.lstrip("-") for action in make_parser()._actions for option in action.option_strings}
    assert {flag for flag in flags if not flag.startswith("no-")} == {*FLAGS.split(), "help", "h"}
    ablations = ["ef_diffusion_without_ciim", "ef_diffusion_without_ciim_and_epg"]
    baselines = ["biot", "cdm_3d", "cnn_plus", "e2fgan", "tag"]
    assert sorted(MODELS) == sorted(["conditional_mean", "ef_diffusion", *ablations, *baselines])


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_says_its_precision(path):
    """It means the same however it is launched."""
    assert read_settings([*PATHS, "--config", str(path)])[0].mixed_precision in ("no", "bf16")


def test_help_is_in_groups_and_needs_no_torch():
    code = "import sys; from eeg2fmri.training.flags import make_parser; print(make_parser().format_help());"
    code += "assert 'torch' not in sys.modules"
    text = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    groups = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert groups[1:5] == ["data", "model", "optimization", "validation"]
    assert groups[5:] == ["checkpoints", "logging", "publication", "machine"]


def test_flags_win_over_the_recipe_and_the_recipe_over_defaults(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("unet: {layers_per_block: 2}\ntraining: {seed: 1, learning_rate: 5e-4, deterministic: true}\n")
    config, recipe = read_settings([*PATHS, "--config", str(path), "--seed", "2", "--no-deterministic"])
    assert (config.seed, config.learning_rate, config.deterministic) == (2, 5e-4, False)
    assert config.adam_beta2 == 0.99
    assert recipe["unet"] == {"layers_per_block": 2}


def test_what_a_run_saves_repeats_it(tmp_path):
    config, recipe = read_settings([*PATHS, "--config", str(RECIPES / "sim-small.yaml"), "--mixed_precision", "no"])
    save_settings(tmp_path / "recipe.yaml", config, recipe)
    again, recipe_again = read_settings(["--config", str(tmp_path / "recipe.yaml")])
    assert again == config
    assert {**recipe_again, "training": {}} == {**recipe, "training": {}}


def test_a_token_is_written_nowhere(tmp_path):
    config, recipe = read_settings([*PATHS, "--push_to_hub", "--hub_token", "hf_secret"])
    save_settings(tmp_path / "recipe.yaml", config, recipe)
    assert "secret" not in (tmp_path / "recipe.yaml").read_text() + repr(config) + str(config.to_dict())
    assert "secret" not in str(config.identity())


def test_the_defaults_are_the_papers():
    """Section 3.5.1."""
    config, recipe = read_settings([*PATHS, "--config", str(RECIPES / "paper.yaml")])
    expected = {
        "seed": 42,
        "train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "max_train_steps": 30_000,
        "learning_rate": 1e-4,
        "lr_scheduler": "constant",
        "adam_beta1": 0.9,
        "adam_beta2": 0.99,
        "adam_weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "ema_decay": 0.995,
        "ema_warmup": False,
        "early_stopping_patience": 5,
    }
    for settings in (config, TrainingConfig(train_data_dir="pairs", output_dir="run")):
        assert {name: getattr(settings, name) for name in expected} == expected
    assert config.deterministic
    assert config.mixed_precision == "no"
    schedule = {"num_train_timesteps": 1000, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 2e-2}
    assert recipe["scheduler"] == {**schedule, "prediction_type": "epsilon"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("adam_beta1: 1.5", r"--adam_beta1: found 1.5; expected in \[0, 1\)"),
        ("seed: one", "--seed: found 'one'; expected a value of type int"),
        ("seed: true", "--seed: found True; expected a value of type int"),
        ("ema_warmup: 1", "--ema_warmup: found 1; expected a value of type bool"),
        ("learning_rate: .nan", "expected a value of type float"),
        ("learning_rate: 0", "--learning_rate: found 0; expected above 0"),
        ("validation_steps: 0", "--validation_steps: found 0; expected at least 1"),
        ("model: unknown", "--model: found 'unknown'; expected one of biot, cdm_3d"),
        ("{model: cnn_plus, snr_gamma: 5.0}", "--snr_gamma: found 5.0; expected 0.0, with --model cnn_plus"),
        ("{model: tag, conditioning_dropout_prob: 0.1}", "--conditioning_dropout_prob: found 0.1"),
        ("{model: conditional_mean, prior: run}", "--prior: found 'run'; expected '', with --model conditional_mean"),
        ("{model: conditional_mean, gradient_checkpointing: true}", "--gradient_checkpointing: found True"),
        ("lr_warmup_steps: 5", "--lr_warmup_steps: found 5; expected 0, or --lr_scheduler constant_with_warmup"),
        ("mixed_precision: fp16", "expected one of accelerate, no, bf16"),
        ("num_validation_samples: 2", "--num_validation_samples: found 2; expected 0, or at least 3"),
        ("num_validation_samples: 0", "--early_stopping_patience 0"),
        ("sede: 1", r"settings \['sede'\]; expected among train_data_dir"),
    ],
)
def test_settings_that_can_not_be_are_refused(tmp_path, setting, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"training": {}}).replace("{}", f"\n  {setting}"))
    with pytest.raises(InputError, match=message):
        read_settings([*PATHS, "--config", str(path)])
    assert set(read_recipe(path)["training"])


def test_a_tracker_that_is_not_installed_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install wandb"):
        check_tracker("wandb")
    check_tracker("none")
