"""What a pipeline gives back: model volumes brought into the form that the caller asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.utils import BaseOutput

from .pipeline_inputs import EEGPrompts
from .processing.volume import VolumeProcessor


@dataclass
class EEG2fMRIPipelineOutput(BaseOutput):
    """Output of [`EEG2fMRIPipeline`] and [`EEG2fMRIRegressionPipeline`].

    Args:
        volumes (`list` or `torch.Tensor`):
            One entry per recording (and per sample, when `num_volumes_per_prompt` is above one): a 4-D
            `nibabel.Nifti1Image` (x, y, z, time), or an array or tensor `[volume, x, y, z]`, in BOLD units. For
            `output_type="latent"` the raw tensor `[volume, 1, D, H, W]` in model units.
    """

    volumes: list | torch.Tensor


def postprocess(
    volume_processor: VolumeProcessor,
    latents: torch.Tensor,
    prompts: EEGPrompts,
    num_volumes_per_prompt: int,
    output_type: str,
) -> list | torch.Tensor:
    """Model units to BOLD units, one entry per recording and sample; see [`EEG2fMRIPipelineOutput`].

    Args:
        volume_processor ([`VolumeProcessor`]): the pipeline's.
        latents (`torch.Tensor` of shape `[N * num_volumes_per_prompt, 1, D, H, W]`): volumes in model units; only the
            first of them, when a callback stopped the call.
        prompts ([`EEGPrompts`]): the recordings that they belong to.
        num_volumes_per_prompt (`int`): samples of every volume, one after the other.
        output_type (`str`): `"nifti"`, `"np"`, `"pt"` or `"latent"`.
    """
    if output_type == "latent":
        return latents
    volumes = []
    remaining = latents.float().cpu()
    for recording in prompts.recordings:
        count = recording.num_volumes * num_volumes_per_prompt
        samples, remaining = remaining[:count], remaining[count:]
        if not len(samples):
            break
        for sample in samples.unflatten(0, (-1, num_volumes_per_prompt)).unbind(1):
            array = volume_processor.postprocess(sample.numpy(), recording.reference)
            if output_type == "nifti":
                array = volume_processor.to_image(
                    array, recording.reference, recording.repetition_time, recording.first_volume_time
                )
            elif output_type == "pt":
                array = torch.from_numpy(array)
            volumes.append(array)
    return volumes
