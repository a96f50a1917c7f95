"""EF-Diffusion as a trainable model: EPG and FD-UNet, the noise loss, DDIM, published as a pipeline."""

from __future__ import annotations

from pathlib import Path

import torch

from ..hub import save_for_hub
from ..pipeline import EEG2fMRIPipeline
from ..processing.eeg import EEGProcessor
from ..processing.volume import VolumeProcessor
from .config import TrainingConfig
from .networks import DenoisingNetwork, build_networks, build_schedulers
from .objective import denoising_loss, draw_noise


class EFDiffusion:
    """The paper's model, or one of its ablations by the recipe; see [`TrainableModel`] for what the methods promise.

    Raises:
        InputError: when the recipe can't be.
    """

    published_index = "model_index.json"

    def __init__(
        self,
        config: TrainingConfig,
        recipe: dict[str, dict],
        eeg_processor: EEGProcessor,
        volume_processor: VolumeProcessor,
    ):
        self.config = config
        self.eeg_processor, self.volume_processor = eeg_processor, volume_processor
        self.network = build_networks(recipe, eeg_processor, volume_processor)
        self.noise_scheduler, self.sampling_scheduler = build_schedulers(recipe, volume_processor)

    def enable_gradient_checkpointing(self) -> None:
        self.network.eeg_encoder.enable_gradient_checkpointing()
        self.network.unet.enable_gradient_checkpointing()

    def loss(self, network: torch.nn.Module, batch: dict[str, torch.Tensor], seeds: list[int]) -> torch.Tensor:
        """Equation 40; no EEG is dropped and no step weighted in validation."""
        options: dict[str, float] = {}
        if network.training:
            options["conditioning_dropout_prob"] = self.config.conditioning_dropout_prob
            options["snr_gamma"] = self.config.snr_gamma
        return denoising_loss(network, self.noise_scheduler, batch, seeds, **options)

    def predict(
        self, network: DenoisingNetwork, batch: dict[str, torch.Tensor], seeds: list[int], num_inference_steps: int
    ) -> torch.Tensor:
        """A sample by DDIM (equation 38), from each pair's own noise."""
        noise, _, _ = draw_noise(batch["volume"], seeds, 1)
        self.sampling_scheduler.set_timesteps(num_inference_steps, device=noise.device)
        tokens = network.eeg_encoder(batch["eeg"], return_dict=False)[0]
        volume, condition = noise, batch.get("condition")
        for timestep in self.sampling_scheduler.timesteps:
            sample = volume if condition is None else torch.cat([volume, condition], dim=1)
            predicted = network.unet(sample, timestep, encoder_hidden_states=tokens, return_dict=False)[0]
            volume = self.sampling_scheduler.step(predicted.float(), timestep, volume, return_dict=False)[0]
        return volume

    def save(self, folder: Path) -> None:
        """A pipeline in the layout of a Hub repository."""
        pipeline = EEG2fMRIPipeline(
            eeg_encoder=self.network.eeg_encoder,
            unet=self.network.unet,
            scheduler=self.sampling_scheduler,
            eeg_processor=self.eeg_processor,
            volume_processor=self.volume_processor,
        )
        save_for_hub(pipeline, folder)
