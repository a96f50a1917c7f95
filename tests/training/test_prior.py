"""Training in two stages: the conditional mean, then the diffusion of what volumes differ by from it."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from eeg2fmri import ConditionalMeanModel, EEG2fMRIPipeline, PairedDataset
from eeg2fmri.errors import CheckpointError, InputError
from eeg2fmri.recipes import SECTIONS
from eeg2fmri.training.conditional_mean import principal_components
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.models import MODELS
from eeg2fmri.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("accelerate")
RECIPE = {
    **{name: {} for name in SECTIONS},
    "prior": {"bands": [[1, 9], [7, 17]], "num_filters": 8, "hidden_channels": 4, "num_components": 4},
    "eeg_encoder": {"block_out_channels": [8, 8], "cross_attention_dim": 16, "norm_num_groups": 4},
    "unet": {"block_out_channels": [8, 8, 16], "interaction_levels": [2], "norm_num_groups": 4},
}


@pytest.fixture(scope="module")
def pairs(build_complex, tmp_path_factory):
    return build_complex(tmp_path_factory.mktemp("prior") / "pairs", num_validation=1)


def settings(pairs, output, **changes) -> TrainingConfig:
    given = {
        "train_data_dir": str(pairs),
        "output_dir": str(output),
        "gradient_accumulation_steps": 1,
        "max_train_steps": 3,
        "num_validation_pairs": 4,
        "num_validation_samples": 0,
        "early_stopping_patience": 0,
        "report_to": "none",
    }
    return TrainingConfig(**{**given, **changes})


@pytest.fixture(scope="module")
def prior(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior") / "run"
    Trainer(settings(pairs, folder, model="conditional_mean", learning_rate=1e-2), RECIPE).train()
    return folder


def test_dropout_is_the_same_after_a_resume(pairs, tmp_path):
    recipe = {**RECIPE, "prior": {**RECIPE["prior"], "dropout": 0.5}}
    config = settings(pairs, tmp_path / "run", model="conditional_mean", max_train_steps=4, checkpointing_steps=2)
    Trainer(config, recipe).train()
    whole = (tmp_path / "run" / "log.jsonl").read_text()
    shutil.rmtree(tmp_path / "run" / "checkpoint-4")
    torch.rand(7)  # another process has another generator
    Trainer(replace(config, resume_from_checkpoint="latest"), recipe).train()
    assert (tmp_path / "run" / "log.jsonl").read_text() == whole


def test_both_stages_make_one_pipeline(pairs, prior, tmp_path):
    Trainer(settings(pairs, tmp_path / "run", prior=str(prior)), RECIPE).train()
    pipe = EEG2fMRIPipeline.from_pretrained(tmp_path / "run")
    published = ConditionalMeanModel.from_pretrained(prior)
    for name, tensor in published.state_dict().items():
        assert torch.equal(tensor, pipe.prior.state_dict()[name]), name
    assert published.norm.mean.abs().max() > 0  # running statistics are saved with the weights
    pipe.set_progress_bar_config(disable=True)
    batch = PairedDataset(pairs, "validation")[0]
    volume = pipe(batch["eeg"][None], num_inference_steps=2, output_type="latent").volumes
    assert volume.shape == (1, 1, 16, 32, 32)


def test_the_loss_is_that_of_the_residual(pairs, prior):
    """Adding a volume to the expectation and to the measurement changes nothing."""
    dataset = PairedDataset(pairs, "train")
    model = MODELS["ef_diffusion"](settings(pairs, "unused", prior=str(prior)), RECIPE, dataset)
    model.network.eval()
    batch = torch.utils.data.default_collate([dataset[0], dataset[1]])
    before = model.loss(model.network, batch, [1, 2])
    shift = torch.randn(1, 16, 32, 32)
    forward = model.prior.forward
    model.prior.forward = lambda eeg, return_dict: (
        forward(eeg, return_dict=False)[0] + shift,
        forward(eeg, return_dict=False)[1],
    )
    torch.testing.assert_close(model.loss(model.network, {**batch, "volume": batch["volume"] + shift}, [1, 2]), before)


def test_what_is_published_predicts_what_was_trained(pairs, tmp_path):
    """The maps of the published network make of its components what the readout made in training."""
    model = MODELS["conditional_mean"](settings(pairs, "unused"), RECIPE, PairedDataset(pairs, "train"))
    network = model.network.eval()
    batch = torch.utils.data.default_collate([PairedDataset(pairs, "validation")[i] for i in (0, 5)])
    model.save(tmp_path)
    published = ConditionalMeanModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(published(batch["eeg"]).sample, model.predict(network, batch, [], 1))


def test_predicting_nothing_costs_about_one(pairs):
    dataset = PairedDataset(pairs, "train")
    model = MODELS["conditional_mean"](settings(pairs, "unused"), RECIPE, dataset)
    torch.nn.init.zeros_(model.network.readout.weight)
    batch = torch.utils.data.default_collate([dataset[i] for i in range(len(dataset))])
    assert 0.9 < model.loss(model.network, batch, []).mean() < 1.1


def test_principal_components_are_those_of_the_volumes(pairs):
    dataset = PairedDataset(pairs, "train")
    basis, variances = principal_components(dataset)
    torch.testing.assert_close(basis.T @ basis, torch.eye(len(variances)), atol=1e-4, rtol=0)
    volumes = torch.stack([dataset[i]["volume"].flatten() for i in range(len(dataset))])
    scores = (volumes - volumes.mean(0)) @ basis
    torch.testing.assert_close(scores.var(0, correction=0), variances, rtol=1e-3, atol=1e-6)
    assert (variances.diff() <= 0).all()


def test_a_prior_of_other_data_is_refused(pairs, prior, tmp_path):
    with pytest.raises(CheckpointError, match="no readable record"):
        Trainer(settings(pairs, tmp_path / "run", prior=str(tmp_path)), RECIPE)
    shutil.copytree(prior, tmp_path / "other")
    record = json.loads((tmp_path / "other" / "training.json").read_text())
    record["settings"]["dataset.split"] = "others"
    (tmp_path / "other" / "training.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"dataset\.split others"):
        Trainer(settings(pairs, tmp_path / "run", prior=str(tmp_path / "other")), RECIPE)


def test_spectra_without_phase_are_refused(data, tmp_path):
    with pytest.raises(InputError, match="'complex'"):
        Trainer(settings(data / "pairs", tmp_path / "run", model="conditional_mean"), RECIPE)
