"""The networks of a training run: built from a recipe and a dataset's processors, wrapped as one module."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, SchedulerMixin
from torch import nn

from ..errors import InputError
from ..models.conditional_mean import ConditionalMeanModel
from ..models.epg import EPGModel
from ..models.fd_unet import FDUNetModel
from ..pipeline_inputs import window_shape
from ..processing.eeg import EEGProcessor
from ..processing.volume import VolumeProcessor

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


class DenoisingNetwork(nn.Module):
    """Encoder and denoiser as one module, which is what gradients and data parallelism need."""

    def __init__(self, eeg_encoder: EPGModel, unet: FDUNetModel):
        super().__init__()
        self.eeg_encoder = eeg_encoder
        self.unet = unet

    def forward(
        self,
        eeg: torch.Tensor,
        noisy_volume: torch.Tensor,
        timesteps: torch.Tensor,
        condition: torch.Tensor | None = None,
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict from the noisy volume and the EEG.

        Args:
            eeg (`torch.Tensor` of shape `[B, C, electrode, frequency, window]`).
            noisy_volume (`torch.Tensor` of shape `[B, 1, D, H, W]`).
            timesteps (`torch.Tensor` of shape `[B]` or `[]`).
            condition (`torch.Tensor` of shape `[B, 1, D, H, W]`, *optional*): the mean volume.
            keep (boolean `torch.Tensor` of shape `[B]`, *optional*): where it is false the EEG tokens are zeroed.
        """
        tokens = self.eeg_encoder(eeg, return_dict=False)[0]
        if keep is not None:
            tokens = tokens * keep[:, None, None].to(tokens.dtype)
        sample = noisy_volume if condition is None else torch.cat([noisy_volume, condition], dim=1)
        return self.unet(sample, timesteps, encoder_hidden_states=tokens, return_dict=False)[0]


def build_networks(
    recipe: dict[str, dict],
    eeg_processor: EEGProcessor,
    volume_processor: VolumeProcessor,
    prior: ConditionalMeanModel | None = None,
) -> DenoisingNetwork:
    """Build encoder and denoiser; all sizes that the data decide are taken from the processors and the prior.

    Raises:
        InputError: when a section of the recipe has an option that its network does not have, or that the data decide.
    """
    eeg_encoder = build_encoder(recipe, eeg_processor, prior)
    unet = from_section(FDUNetModel, recipe, "unet", **denoiser_sizes(volume_processor, eeg_encoder))
    return DenoisingNetwork(eeg_encoder, unet)


def denoiser_sizes(volume_processor: VolumeProcessor, eeg_encoder: EPGModel) -> dict[str, Any]:
    """What the volumes and the encoder decide of a denoiser; in mode `change` it reads the mean volume too."""
    return {
        "sample_size": tuple(volume_processor.config.sample_size),
        "in_channels": 2 if volume_processor.config.mode == "change" else 1,
        "cross_attention_dim": eeg_encoder.config.cross_attention_dim,
    }


def build_encoder(
    recipe: dict[str, dict], eeg_processor: EEGProcessor, prior: ConditionalMeanModel | None
) -> EPGModel:
    """Build the encoder of the windows, or of the prior's band powers.

    Raises:
        InputError: when the section `eeg_encoder` has a wrong option.
    """
    in_channels, *sample_size = window_shape(eeg_processor) if prior is None else prior.band_power_shape
    return from_section(EPGModel, recipe, "eeg_encoder", in_channels=in_channels, sample_size=tuple(sample_size))


def build_prior(
    recipe: dict[str, dict], eeg_processor: EEGProcessor, volume_processor: VolumeProcessor
) -> ConditionalMeanModel:
    """Build the network that expects a volume from complex spectra.

    Raises:
        InputError: when the processor makes no complex spectra, or the section `prior` has a wrong option.
    """
    in_channels, *sample_size = window_shape(eeg_processor)
    if in_channels != 2:
        raise InputError(
            "recipe, eeg_processor.mode",
            found=repr(eeg_processor.config.mode),
            expected="'complex', since the prior filters electrodes before it takes the power",
            remedy="Prepare the dataset with that mode.",
        )
    return from_section(
        ConditionalMeanModel,
        recipe,
        "prior",
        sample_size=tuple(sample_size),
        volume_size=tuple(volume_processor.config.sample_size),
        window_duration=(eeg_processor.config.window_stop - eeg_processor.config.window_start) / sample_size[-1],
        window_stop=eeg_processor.config.window_stop,
    )


def from_section(network: type, recipe: dict[str, dict], section: str, **decided: Any):
    """Build a network from a section of the recipe and what the data decide.

    Raises:
        InputError: for an option in the section that is not the recipe's to give.
    """
    given = recipe[section]
    free = [name for name in inspect.signature(network).parameters if name not in decided]
    unknown = sorted(set(given) - set(free))
    if unknown:
        raise InputError(
            f"recipe, {section}",
            found=f"options {unknown}",
            expected=f"among {', '.join(free)}",
            remedy=f"Remove them; {', '.join(decided)} follow from the data.",
        )
    return network(**given, **decided)


def schedule_of(scheduler: SchedulerMixin) -> dict[str, Any]:
    """The section `scheduler` of a recipe that says what a pipeline's scheduler says."""
    ddpm, ddim = (inspect.signature(kind).parameters for kind in (DDPMScheduler, DDIMScheduler))
    return {name: value for name, value in scheduler.config.items() if name in ddpm.keys() & ddim.keys()}


def build_schedulers(
    recipe: dict[str, dict], volume_processor: VolumeProcessor
) -> tuple[DDPMScheduler, DDIMScheduler]:
    """The schedule of noise levels (section 3.5.1) for training, and DDIM on the same levels for generation.

    Standardised changes are not bounded, so that only min-max volumes are clipped to [-1, 1].

    Raises:
        InputError: for an option of the section `scheduler` that DDIM does not have, or an unknown prediction type.
    """
    settings = {
        "num_train_timesteps": 1000,
        "beta_start": 1e-4,
        "beta_end": 2e-2,
        "beta_schedule": "linear",
        "prediction_type": "epsilon",
        "timestep_spacing": "trailing",
        "clip_sample": volume_processor.config.mode != "change",
        **recipe["scheduler"],
    }
    ddpm, ddim = (inspect.signature(kind).parameters for kind in (DDPMScheduler, DDIMScheduler))
    common = ddpm.keys() & ddim.keys()
    unknown = sorted(set(settings) - common)
    if unknown:
        raise InputError(
            "recipe, scheduler", found=f"options {unknown}", expected=f"among {sorted(common)}", remedy="Remove them."
        )
    if settings["prediction_type"] not in PREDICTION_TYPES:
        raise InputError(
            "recipe, scheduler.prediction_type",
            found=repr(settings["prediction_type"]),
            expected=f"one of {', '.join(PREDICTION_TYPES)}",
            remedy="Change the recipe.",
        )
    return DDPMScheduler(**settings), DDIMScheduler(**settings, set_alpha_to_one=True)
