"""What a run uploads, to a Hub that only notes it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import huggingface_hub
import pytest
import yaml

from eeg2fmri.errors import EEG2fMRIError, InputError
from eeg2fmri.recipes import read_recipe
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.dry_run import dry_run
from eeg2fmri.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("accelerate")


@pytest.fixture
def config(data, tmp_path):
    return TrainingConfig(
        train_data_dir=str(data / "pairs"),
        output_dir=str(tmp_path / "run"),
        gradient_accumulation_steps=1,
        max_train_steps=2,
        validation_steps=2,
        num_validation_pairs=2,
        num_validation_samples=0,
        early_stopping_patience=0,
        report_to="none",
        push_to_hub=True,
        hub_token="hf_secret",
    )


@pytest.fixture
def recipe(data):
    return read_recipe(data / "recipe.yaml")


def test_the_published_files_and_a_card_are_uploaded_and_nothing_else(config, recipe, monkeypatch, tmp_path):
    calls = []

    def create_repo(name, **options):
        calls.append((name, options))
        return SimpleNamespace(repo_id=f"user/{name}")

    monkeypatch.setattr(huggingface_hub, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub, "upload_folder", lambda **options: calls.append(options))
    dry_run(config, recipe)
    assert not calls
    Trainer(config, recipe).train()
    (name, options), uploaded = calls
    assert (name, options) == ("run", {"token": "hf_secret", "exist_ok": True})
    assert (uploaded["repo_id"], uploaded["folder_path"]) == ("user/run", str(tmp_path / "run"))
    folders = {file.split("/")[0] for file in uploaded["allow_patterns"]}
    networks = {"eeg_encoder", "unet", "scheduler", "eeg_processor", "volume_processor"}
    assert folders == {"README.md", "model_index.json", "pipeline.py", "training.json", *networks}
    _, metadata, text = (tmp_path / "run" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(metadata)["library_name"] == "diffusers"
    assert "2 steps" in text
    assert "validation_loss" in text
    written = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(b"hf_secret" in content for content in written)


def test_without_a_token_it_is_refused_before_training(config, recipe, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(InputError, match=r"--push_to_hub: found no token.*hf auth login"):
        Trainer(replace(config, hub_token=""), recipe)
    assert not list(tmp_path.iterdir())


def test_what_starts_from_a_folder_of_this_machine_is_not_uploaded(config, recipe, tmp_path):
    with pytest.raises(InputError, match=r"--push_to_hub: found a start from the folder .*Push that pipeline first"):
        Trainer(replace(config, pretrained_model_name_or_path=str(tmp_path)), recipe)


def test_an_upload_that_fails_leaves_the_model(config, recipe, monkeypatch, tmp_path):
    def fail(**options):
        raise ConnectionError("unreachable")

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda *_, **options: SimpleNamespace(repo_id="user/run"))
    monkeypatch.setattr(huggingface_hub, "upload_folder", fail)
    with pytest.raises(EEG2fMRIError, match=r"user/run: found that the Hub doesn't take it \(unreachable\)"):
        Trainer(config, recipe).train()
    assert json.loads((tmp_path / "run" / "training.json").read_text())["step"] == 2
