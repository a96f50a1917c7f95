"""CDM-3D as a trainable model: EF-Diffusion's diffusion with another denoiser and error, published the same way."""

from __future__ import annotations

import math

from torch.nn import functional

from ..baselines.networks.cdm_3d import CDM3DModel
from ..models.conditional_mean import ConditionalMeanModel
from ..processing.eeg import EEGProcessor
from ..processing.volume import VolumeProcessor
from .ef_diffusion import EFDiffusion
from .networks import DenoisingNetwork, build_encoder, denoiser_sizes, from_section


def build_networks(
    recipe: dict[str, dict],
    eeg_processor: EEGProcessor,
    volume_processor: VolumeProcessor,
    prior: ConditionalMeanModel | None = None,
) -> DenoisingNetwork:
    """Build a linear encoder, one token an electrode, and the denoiser that makes a volume of the tokens.

    Raises:
        InputError: when a section of the recipe has an option that its network does not have, or that the data decide.
    """
    linear = {**recipe["eeg_encoder"], "encoder": "linear"}
    eeg_encoder = build_encoder({**recipe, "eeg_encoder": linear}, eeg_processor, prior)
    sizes = {**denoiser_sizes(volume_processor, eeg_encoder), "num_tokens": math.prod(eeg_encoder.token_grid)}
    unet = from_section(CDM3DModel, recipe, "cdm_3d", **sizes)
    return DenoisingNetwork(eeg_encoder, unet)


class CDM3D(EFDiffusion):
    """Med-DDPM on volumes of EEG: the condition is concatenated on channels, the error of the noise is absolute."""

    build = staticmethod(build_networks)
    error = staticmethod(functional.l1_loss)
