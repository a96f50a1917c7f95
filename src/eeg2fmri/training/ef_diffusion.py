"""EF-Diffusion as a trainable model: EPG and FD-UNet, the noise loss, DDIM, published as a pipeline."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional

from ..data.paired_dataset import PairedDataset
from ..hub import ADAPTERS_FILE, save_for_hub
from ..models.conditional_mean import ConditionalMeanModel
from ..pipeline import EEG2fMRIPipeline
from ..pipeline_components import check_components
from .conditional_mean import load_prior
from .config import TrainingConfig
from .fine_tuning import load_pretrained, restrict, save_adapters
from .networks import DenoisingNetwork, build_networks, build_schedulers, schedule_of
from .objective import denoising_loss, draw_noise


class EFDiffusion:
    """The paper's model, or one of its ablations by the recipe; see [`TrainableModel`] for what the methods promise.

    With `--prior` it is trained on what volumes differ by from their expectation, and reads the prior's band powers;
    the prior stays as it is. With `--pretrained_model_name_or_path` it starts from a published pipeline, and keeps
    that pipeline's prior unless it is given another. With `--lora_rank` adapters are published, and nothing else.

    Raises:
        InputError: when the recipe can't be.
        CheckpointError: when the prior or the pretrained pipeline can't be loaded, or don't fit each other.
    """

    build = staticmethod(build_networks)
    """Makes encoder and denoiser of the recipe; with `error`, what a diffusion of another network replaces."""
    error = staticmethod(functional.mse_loss)

    def __init__(self, config: TrainingConfig, recipe: dict[str, dict], dataset: PairedDataset):
        self.config = config
        self.eeg_processor, self.volume_processor = dataset.eeg_processor, dataset.volume_processor
        self.published_index = ADAPTERS_FILE if config.lora_rank else "model_index.json"
        pretrained = load_pretrained(config, recipe, dataset)
        self.prior: ConditionalMeanModel | None = None
        self.identity: dict[str, str] = {}
        if config.prior:
            self.prior, self.identity = load_prior(config.prior)
        if pretrained is None:
            self.network = self.build(recipe, self.eeg_processor, self.volume_processor, self.prior)
        else:
            pipeline = pretrained.pipeline
            self.identity |= pretrained.identity
            if self.prior is None and pipeline.prior is not None:
                self.prior = pipeline.prior.eval().requires_grad_(False)
            check_components(
                pipeline.eeg_encoder, pipeline.unet, self.eeg_processor, self.volume_processor, self.prior
            )
            self.network = DenoisingNetwork(pipeline.eeg_encoder, pipeline.unet)
            restrict(self.network, config)
            recipe = {**recipe, "scheduler": schedule_of(pipeline.scheduler)}
        self.noise_scheduler, self.sampling_scheduler = build_schedulers(recipe, self.volume_processor)

    def enable_gradient_checkpointing(self) -> None:
        self.network.eeg_encoder.enable_gradient_checkpointing()
        self.network.unet.enable_gradient_checkpointing()

    def loss(self, network: torch.nn.Module, batch: dict[str, torch.Tensor], seeds: list[int]) -> torch.Tensor:
        """Equation 40; no EEG is dropped and no step weighted in validation."""
        options: dict[str, float] = {}
        if network.training:
            options["conditioning_dropout_prob"] = self.config.conditioning_dropout_prob
            options["snr_gamma"] = self.config.snr_gamma
        expected, eeg = self._expected(batch["eeg"])
        batch = {**batch, "eeg": eeg, "volume": batch["volume"] - expected}
        return denoising_loss(network, self.noise_scheduler, batch, seeds, error=self.error, **options)

    def predict(
        self, network: DenoisingNetwork, batch: dict[str, torch.Tensor], seeds: list[int], num_inference_steps: int
    ) -> torch.Tensor:
        """A sample by DDIM (equation 38), from each pair's own noise."""
        noise, _, _ = draw_noise(batch["volume"], seeds, 1)
        self.sampling_scheduler.set_timesteps(num_inference_steps, device=noise.device)
        expected, eeg = self._expected(batch["eeg"])
        volume, condition = noise, batch.get("condition")
        for timestep in self.sampling_scheduler.timesteps:
            predicted = network(eeg, volume, timestep, condition)
            volume = self.sampling_scheduler.step(predicted.float(), timestep, volume, return_dict=False)[0]
        return volume + expected

    @torch.no_grad()
    def _expected(self, eeg: torch.Tensor) -> tuple[torch.Tensor | float, torch.Tensor]:
        """The expected volume and what the encoder reads: nothing expected and the EEG itself without a prior."""
        if self.prior is None:
            return 0.0, eeg
        with torch.autocast(eeg.device.type, enabled=False):  # logarithms of powers
            return self.prior.to(eeg.device)(eeg, return_dict=False)

    def save(self, folder: Path) -> None:
        """A pipeline in the layout of a Hub repository, or the adapters alone."""
        if self.config.lora_rank:
            save_adapters(self.network, folder)
            return
        pipeline = EEG2fMRIPipeline(
            eeg_encoder=self.network.eeg_encoder,
            unet=self.network.unet,
            scheduler=self.sampling_scheduler,
            eeg_processor=self.eeg_processor,
            volume_processor=self.volume_processor,
            prior=self.prior,
        )
        save_for_hub(pipeline, folder)
