"""The paper's baselines through the trainer: all train, publish, resume and learn; the adversaries really play."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

import tiny
import tiny_networks
from eeg2fmri import CDM3DModel, EEG2fMRIPipeline, EEG2fMRIRegressionPipeline, PairedDataset
from eeg2fmri.baselines.networks.e2fgan import E2fGANDiscriminator
from eeg2fmri.errors import InputError
from eeg2fmri.hub import load_pipeline
from eeg2fmri.metrics.image import ssim
from eeg2fmri.recipes import BASELINE_SECTIONS, SECTIONS, read_recipe
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.e2fgan import AdversarialNetwork, discriminator_loss, reconstruction_loss
from eeg2fmri.training.models import MODELS
from eeg2fmri.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("accelerate")
RECIPES = Path(__file__).resolve().parents[2] / "scripts" / "recipes"
DECODER = {"block_out_channels": [8, 8, 8], "norm_num_groups": 4}
RECIPE = {
    **{name: {} for name in SECTIONS},
    "eeg_encoder": {"cross_attention_dim": 8},
    "cnn_plus": {"spectral_channels": 4, "source_channels": 4, **DECODER},
    "tag": {"block_out_channels": [8, 8], "norm_num_groups": 4, "latent_size": 8},
    "biot": {"embedding_channels": 16, "num_heads": 2, "num_layers": 1, "grid_channels": 4, **DECODER},
    "e2fgan": {"block_out_channels": [4, 8, 8], "norm_num_groups": 4, "attention_head_dim": 4},
    "cdm_3d": {
        "block_out_channels": [8, 8, 16],
        "norm_num_groups": 4,
        "attention_head_dim": 8,
        "token_channels": 2,
        "condition_channels": 2,
        "condition_block_out_channels": [4, 4, 4],
    },
}
REGRESSORS = [name for name in BASELINE_SECTIONS if name != "cdm_3d"]


@pytest.fixture
def settings(data, tmp_path):
    return TrainingConfig(
        train_data_dir=str(data / "pairs"),
        output_dir=str(tmp_path / "run"),
        gradient_accumulation_steps=1,
        max_train_steps=3,
        validation_steps=3,
        num_validation_pairs=4,
        num_validation_samples=3,
        validation_inference_steps=2,
        early_stopping_patience=0,
        checkpointing_steps=2,
        report_to="none",
    )


@pytest.mark.parametrize("model", BASELINE_SECTIONS)
def test_it_trains_and_is_published_as_a_pipeline(settings, data, model):
    assert Trainer(replace(settings, model=model), RECIPE).train().exit_code == 0
    with open(f"{settings.output_dir}/log.jsonl") as file:
        last = json.loads(file.readlines()[-1])
    assert last["validation_loss"] != last["validation_loss_other_eeg"]
    assert {"validation_ssim", "validation_temporal_r"} < set(last)
    pipe = load_pipeline(settings.output_dir)
    pipe.set_progress_bar_config(disable=True)
    batch = PairedDataset(data / "pairs", "validation")[[0, 1]]
    assert pipe(batch["eeg"], output_type="latent").volumes.shape == (2, 1, 16, 32, 32)
    if model == "cdm_3d":
        assert isinstance(pipe, EEG2fMRIPipeline)
        assert isinstance(pipe.unet, CDM3DModel)
    else:
        assert isinstance(pipe, EEG2fMRIRegressionPipeline)


@pytest.mark.parametrize("model", REGRESSORS)
def test_what_validation_predicts_is_what_the_pipeline_does(settings, data, model):
    trainer = Trainer(replace(settings, model=model), RECIPE)
    trainer.train()
    batch = PairedDataset(data / "pairs", "validation")[[0, 1]]
    with trainer.state.averaged_weights() as network, torch.no_grad():
        predicted = trainer.model.predict(network, batch, [1, 2], 1)
    pipe = load_pipeline(settings.output_dir)
    pipe.set_progress_bar_config(disable=True)
    torch.testing.assert_close(pipe(batch["eeg"], output_type="latent").volumes, predicted)


@pytest.mark.parametrize("model", ["e2fgan", "tag"])
def test_a_resumed_run_ends_with_the_same_bits(settings, tmp_path, model):
    """Both players, their averages and the running statistics of the generator come back."""
    whole = replace(settings, model=model, max_train_steps=4, output_dir=str(tmp_path / "whole"))
    Trainer(whole, RECIPE).train()
    parts = replace(whole, output_dir=str(tmp_path / "parts"))
    trainer = Trainer(parts, RECIPE)
    for _ in range(2):
        trainer.state.optimizer_step()
    trainer.state.save()
    trainer.lock.release()
    Trainer(replace(parts, resume_from_checkpoint="latest"), RECIPE).train()
    partner = {"e2fgan": "discriminator", "tag": "volume_encoder"}[model]
    for component in ("network", "network_ema", partner, f"{partner}_ema", ""):
        name = f"checkpoint-4/{component}/diffusion_pytorch_model.safetensors" if component else (
            "checkpoint-4/optimizer.safetensors"
        )  # fmt: skip
        one, other = (load_file(tmp_path / run / name) for run in ("whole", "parts"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), component
    assert not (tmp_path / "whole" / partner).exists()


def small(model, size=(4, 16, 16)):
    """A model for the windows of `tiny` and volumes of this size, without a dataset."""
    volume_processor = SimpleNamespace(config=SimpleNamespace(sample_size=size, mode="change"))
    dataset = SimpleNamespace(eeg_processor=tiny.eeg_processor(), volume_processor=volume_processor)
    torch.manual_seed(0)
    return MODELS[model](None, RECIPE, dataset)


@pytest.mark.parametrize("model", REGRESSORS)
def test_it_learns_a_handful_of_pairs(model):
    """The squared error on the same four pairs falls by more than half.

    E2fGAN's generator learns them without its adversary, which keeps it from learning so few by heart.
    """
    trained = small(model)
    network, generator = trained.network.train(), torch.Generator().manual_seed(2)
    coarse = torch.randn(4, 1, 1, 4, 4, generator=generator)
    batch = {"eeg": tiny_networks.windows(4), "volume": functional.interpolate(coarse, scale_factor=4.0)}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    errors = []
    for _ in range(120):
        if model == "e2fgan":
            loss = reconstruction_loss(trained.predict(network, batch, [0] * 4, 1), batch["volume"]).mean()
        else:
            loss = trained.loss(network, batch, [0] * 4).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            errors.append((trained.predict(network, batch, [0] * 4, 1) - batch["volume"]).square().mean().item())
    assert errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize("model", REGRESSORS)
def test_gradient_checkpointing_changes_no_gradient(model):
    batch = {"eeg": tiny_networks.windows(2), "volume": torch.randn(2, 1, 4, 16, 16)}
    gradients = []
    for checkpointing in (False, True):
        trained = small(model)
        if checkpointing:
            trained.enable_gradient_checkpointing()
        trained.loss(trained.network.train(), batch, [1, 2]).mean().backward()
        gradients.append([weight.grad for weight in trained.network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("model", BASELINE_SECTIONS)
def test_options_that_the_data_decide_are_refused(settings, model):
    with pytest.raises(InputError, match=f"recipe, {model}: found options"):
        Trainer(replace(settings, model=model), {**RECIPE, model: {"in_channels": 1}})


@pytest.mark.parametrize("model", BASELINE_SECTIONS)
def test_the_recipe_of_the_baselines_fits_the_small_data(model):
    recipe = read_recipe(RECIPES / "sim-small-baselines.yaml")
    eeg, volume = (
        SimpleNamespace(config=SimpleNamespace(**recipe[f"{kind}_processor"])) for kind in ("eeg", "volume")
    )
    dataset = SimpleNamespace(eeg_processor=eeg, volume_processor=volume)
    config = TrainingConfig(**{"train_data_dir": "pairs", "output_dir": "run", **recipe["training"], "model": model})
    assert recipe[model]
    with torch.device("meta"):
        network = MODELS[model](config, recipe, dataset).network
    assert 1e5 < sum(weight.numel() for weight in network.parameters()) < 1e7


def test_slices_smaller_than_ssims_window_are_refused():
    with pytest.raises(InputError, match="at least 11 voxels"):
        small("e2fgan", size=(8, 8, 8))


class TestTAG:
    def test_its_loss_is_the_absolute_error_and_the_distance_of_the_codes(self):
        model = small("tag")
        batch = {"eeg": tiny_networks.windows(2), "volume": torch.randn(2, 1, 4, 16, 16)}
        with torch.no_grad():
            loss = model.loss(model.network, batch, [1, 2])
            code, graph = model.network.network.encode(batch["eeg"])
            other = model.network.volume_encoder(batch["volume"])
            error = (model.network.network.decode(code, graph) - batch["volume"]).abs().mean((1, 2, 3, 4))
        cosine = (code * other).sum(1) / (code.norm(dim=1) * other.norm(dim=1))
        torch.testing.assert_close(loss, error + 1 - cosine)


def players():
    torch.manual_seed(0)
    generator = tiny_networks.network(tiny_networks.E2fGANModel)
    discriminator = E2fGANDiscriminator(volume_size=tiny.SAMPLE, block_out_channels=(8, 8), norm_num_groups=4)
    return AdversarialNetwork(generator.train(), discriminator.train())


def gradients(module):
    return {name: weight.grad for name, weight in module.named_parameters()}


class TestAdversaries:
    def losses(self, network):
        volume = torch.randn(3, 1, *tiny.SAMPLE, generator=torch.Generator().manual_seed(2))
        predicted, measured_odds, predicted_odds, generator_odds = network(tiny_networks.windows(), volume)
        own = (predicted - volume).square().mean() + functional.softplus(-generator_odds).mean()
        return own, discriminator_loss(measured_odds, predicted_odds).mean()

    def test_one_backward_gives_each_the_gradient_of_its_own_loss(self):
        together = players()
        sum(self.losses(together)).backward()
        for number, player in enumerate(("network", "discriminator")):
            alone = players()
            self.losses(alone)[number].backward()
            other = gradients(getattr(alone, "discriminator" if player == "network" else "network"))
            assert all(gradient is None for gradient in other.values())
            for name, gradient in gradients(getattr(alone, player)).items():
                torch.testing.assert_close(gradients(getattr(together, player))[name], gradient)

    def test_the_generator_climbs_what_the_discriminator_descends(self):
        """A small step of each player along its own gradient: the scores of predictions rise, then fall."""
        for player, sign in (("network", 1), ("discriminator", -1)):
            both = players()
            generator_odds = both(tiny_networks.windows(), torch.zeros(3, 1, *tiny.SAMPLE))[3]
            predicted_odds = both(tiny_networks.windows(), torch.zeros(3, 1, *tiny.SAMPLE))[2]
            (functional.softplus(-generator_odds) + functional.softplus(predicted_odds)).sum().backward()
            with torch.no_grad():
                for weight in getattr(both, player).parameters():
                    weight -= 1e-3 * weight.grad
                after = both(tiny_networks.windows(), torch.zeros(3, 1, *tiny.SAMPLE))[3]
            assert sign * (after - generator_odds).mean() > 0

    def test_the_discriminator_learns_what_can_be_told_apart(self):
        """Against a generator that stays, on volumes that no prediction looks like."""
        both = players()
        optimizer = torch.optim.Adam(both.discriminator.parameters(), lr=1e-2)
        volume = 3 + torch.randn(3, 1, *tiny.SAMPLE, generator=torch.Generator().manual_seed(2))
        losses = []
        for _ in range(30):
            _, measured_odds, predicted_odds, _ = both(tiny_networks.windows(), volume)
            loss = discriminator_loss(measured_odds, predicted_odds).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.2 * losses[0]

    def test_an_undecided_discriminator_costs_ln_2(self):
        torch.testing.assert_close(discriminator_loss(torch.zeros(2), torch.zeros(2)), torch.full((2,), 2.0).log())

    @pytest.mark.parametrize("offset", [0.0, 5.0])
    def test_the_reconstruction_is_half_ssim_half_squared_error(self, offset):
        generator = torch.Generator().manual_seed(0)
        predicted, measured = (offset + torch.rand(2, 1, 4, 16, 16, generator=generator) for _ in range(2))
        scale = [float(volume.max() - volume.min()) for volume in measured]
        similar = [ssim(p, m, "ssim_2d", data_range=s)[0] for p, m, s in zip(predicted, measured, scale, strict=True)]
        error = (predicted - measured).square().mean((1, 2, 3, 4))
        expected = 0.5 * (1 - torch.tensor(similar)) + 0.5 * error
        torch.testing.assert_close(reconstruction_loss(predicted, measured), expected.float(), rtol=1e-3, atol=1e-4)
        assert reconstruction_loss(measured, measured).abs().max() < 1e-5

    def test_validation_is_the_reconstruction_alone(self, settings):
        trainer = Trainer(replace(settings, model="e2fgan"), RECIPE)
        batch, network = trainer.dataset[[0, 1]], trainer.state.bare_network
        with torch.no_grad():
            loss = trainer.model.loss(network.eval(), batch, [1, 2])
            predicted = trainer.model.predict(network, batch, [1, 2], 1)
        torch.testing.assert_close(loss, reconstruction_loss(predicted, batch["volume"]))
