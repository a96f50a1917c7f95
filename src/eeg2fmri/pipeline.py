"""EEG2fMRIPipeline: an EEG recording in, one fMRI volume per repetition time out (EF-Diffusion, section 3.1)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from diffusers import SchedulerMixin
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.utils import replace_example_docstring
from diffusers.utils.torch_utils import randn_tensor

from .errors import InputError
from .models.conditional_mean import ConditionalMeanModel, ConditionalMeanOutput
from .models.epg import EPGModel
from .models.fd_unet import FDUNetModel
from .pipeline_adapters import EEG2fMRILoraLoaderMixin
from .pipeline_components import check_components
from .pipeline_inputs import EEGPrompts, check_counts, check_inputs, collect_prompts, volume_generators
from .pipeline_loading import CheckedPipeline
from .pipeline_outputs import EEG2fMRIPipelineOutput, postprocess
from .processing.eeg import EEGProcessor
from .processing.volume import VolumeProcessor

NUM_INFERENCE_STEPS = 75  # the paper's for NODDI; it takes 100 for XP-2
EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> from eeg2fmri import EEG2fMRIPipeline

            >>> pipe = EEG2fMRIPipeline.from_pretrained("pipelines/eeg2fmri-sim-small")
            >>> image = pipe("recording.edf").volumes[0]
            >>> image.to_filename("bold.nii.gz")
            ```
"""


class EEG2fMRIPipeline(CheckedPipeline, EEG2fMRILoraLoaderMixin):
    r"""Generate fMRI volumes from EEG recordings.

    Each volume is denoised from Gaussian noise under the guidance of the EEG that precedes it: the encoder turns the
    spectrogram window into tokens once, then FD-UNet predicts the noise at every step (equation 38 with DDIM). With a
    `prior`, which the paper does not have, the diffusion makes only what the volume differs by from its expectation.

    This model inherits from [`DiffusionPipeline`]: see there for loading, saving and moving between devices.

    Args:
        eeg_encoder ([`EPGModel`]): spectrogram windows to tokens (section 3.3).
        unet ([`FDUNetModel`]): the denoiser with cross-modal interaction (section 3.2).
        scheduler ([`SchedulerMixin`]): DDIM by default; DDPM and every Karras scheduler can take its place,
            and those of flow matching for a network that was trained for them.
        eeg_processor ([`EEGProcessor`]): recordings to spectrogram windows.
        volume_processor ([`VolumeProcessor`]): model volumes to BOLD units and NIfTI.
        prior ([`ConditionalMeanModel`], *optional*): expects a volume from the EEG; the encoder then reads the prior's
            band powers, and the denoiser's samples are added to the expected volume.
        default_denoising_steps (`int`, *optional*): the steps that the pipeline was published for, with its scheduler:
            its calibration holds for them. 75 by default, as in the paper.
    """

    model_cpu_offload_seq = "prior->eeg_encoder->unet"
    _optional_components: ClassVar[list[str]] = ["prior"]
    _callback_tensor_inputs = ("latents", "eeg_embeds", "negative_eeg_embeds")

    def __init__(
        self,
        eeg_encoder: EPGModel,
        unet: FDUNetModel,
        scheduler: SchedulerMixin,
        eeg_processor: EEGProcessor,
        volume_processor: VolumeProcessor,
        prior: ConditionalMeanModel | None = None,
        default_denoising_steps: int | None = None,
    ):
        super().__init__()
        check_components(eeg_encoder, unet, eeg_processor, volume_processor, prior)
        if default_denoising_steps is not None:
            check_counts({"default_denoising_steps": default_denoising_steps})
        self.register_modules(
            eeg_encoder=eeg_encoder,
            unet=unet,
            scheduler=scheduler,
            eeg_processor=eeg_processor,
            volume_processor=volume_processor,
            prior=prior,
        )
        self.register_to_config(default_denoising_steps=default_denoising_steps)

    @property
    def default_denoising_steps(self) -> int:
        return self.config.default_denoising_steps or NUM_INFERENCE_STEPS

    @property
    def guidance_scale(self) -> float:
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        return self._guidance_scale > 1.0

    @property
    def num_timesteps(self) -> int:
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        return self._interrupt

    def encode_eeg(
        self,
        windows: torch.Tensor | None,
        num_volumes_per_prompt: int = 1,
        eeg_embeds: torch.Tensor | None = None,
        negative_eeg_embeds: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode spectrogram windows into the tokens that guide the denoiser, once for all steps.

        Args:
            windows (`torch.Tensor` of shape `[N, C, electrode, frequency, window]`): the windows, or with a prior the
                `band_powers` of `predict_prior`; `None` when `eeg_embeds` are given.
            num_volumes_per_prompt (`int`): how often each window's tokens are repeated, one after the other.
            eeg_embeds (`torch.Tensor` of shape `[N, tokens, cross_attention_dim]`): tokens made before.
            negative_eeg_embeds (`torch.Tensor`, same shape): tokens to be guided away from. Zeros by default, which is
                what the condition is replaced by when it is dropped in training.

        Returns:
            `tuple`: tokens `[N * num_volumes_per_prompt, tokens, cross_attention_dim]`, and the negative ones, which
            are used with classifier-free guidance only.
        """
        device, dtype = self._execution_device, (self.eeg_encoder if self.unet is None else self.unet).dtype
        if eeg_embeds is None:
            assert windows is not None  # `check_inputs` has seen to it
            eeg_embeds = self.eeg_encoder(windows.to(device, self.eeg_encoder.dtype), return_dict=False)[0]
        eeg_embeds = eeg_embeds.to(device, dtype)
        if negative_eeg_embeds is None:
            negative_eeg_embeds = torch.zeros_like(eeg_embeds)
        negative_eeg_embeds = negative_eeg_embeds.to(device, dtype)
        return (
            eeg_embeds.repeat_interleave(num_volumes_per_prompt, dim=0),
            negative_eeg_embeds.repeat_interleave(num_volumes_per_prompt, dim=0),
        )

    def predict_prior(self, windows: torch.Tensor) -> ConditionalMeanOutput:
        """Expect a volume from each window, and make the band powers that the encoder reads.

        Args:
            windows (`torch.Tensor` of shape `[N, C, electrode, frequency, window]`).

        Raises:
            InputError: when the pipeline has no prior.
        """
        if self.prior is None:
            raise InputError(
                "prior", found="none in this pipeline", expected="a ConditionalMeanModel", remedy="Call `encode_eeg`."
            )
        return self.prior(windows.to(self._execution_device, self.prior.dtype))

    def prepare_latents(self, generators: list[torch.Generator], latents: torch.Tensor | None = None) -> torch.Tensor:
        """Initial noise `[N, out_channels, D, H, W]`, scaled as the scheduler wants it.

        Args:
            generators (`list[torch.Generator]` of length N): one per volume.
            latents (`torch.Tensor`, *optional*): unscaled noise to start from instead.
        """
        shape = (len(generators), self.unet.config.out_channels, *self.unet.config.sample_size)
        device, dtype = self._execution_device, self.unet.dtype
        if latents is None:
            latents = randn_tensor(shape, generator=generators, device=device, dtype=dtype)
        return latents.to(device, dtype) * getattr(self.scheduler, "init_noise_sigma", 1.0)  # 1 in flow matching

    def prepare_extra_step_kwargs(self, generators: list[torch.Generator], eta: float) -> dict:
        """Arguments of the scheduler's step that not every scheduler has."""
        accepted = inspect.signature(self.scheduler.step).parameters
        extra = {"eta": eta, "generator": generators}
        return {name: value for name, value in extra.items() if name in accepted}

    @torch.no_grad()
    @replace_example_docstring(EXAMPLE_DOC_STRING)
    def __call__(
        self,
        eeg=None,
        num_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        num_volumes_per_prompt: int = 1,
        eta: float = 0.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        eeg_embeds: torch.Tensor | None = None,
        negative_eeg_embeds: torch.Tensor | None = None,
        prior_volumes: torch.Tensor | None = None,
        output_type: str = "nifti",
        return_dict: bool = True,
        callback_on_step_end: Callable | PipelineCallback | MultiPipelineCallbacks | None = None,
        callback_on_step_end_tensor_inputs: list[str] | tuple[str, ...] = ("latents",),
        reference=None,
        electrodes: list[str] | None = None,
        sampling_rate: float | None = None,
        onsets: np.ndarray | None = None,
        repetition_time: float | None = None,
        batch_size: int = 16,
    ) -> EEG2fMRIPipelineOutput | tuple:
        """Generate one volume per repetition time for every recording.

        Args:
            eeg:
                A recording, or a list of them: the path of a file that MNE reads, an `mne.io.Raw`, an
                [`EEGRecording`], an array or tensor `[electrode, time]` in volts (with `electrodes` and
                `sampling_rate`; `[recording, electrode, time]` for several), or spectrogram windows
                `[volume, C, electrode, frequency, window]` made by the `eeg_processor`.
            num_inference_steps (`int`, *optional*): denoising steps; `default_denoising_steps` by default.
            guidance_scale (`float`): classifier-free guidance above 1, for models trained with a dropped condition.
            num_volumes_per_prompt (`int`): independent samples of every volume.
            eta (`float`): DDIM's eta; other schedulers ignore it.
            generator (`torch.Generator` or a list with one per recording, *optional*): makes the result repeatable.
                A volume's noise does not depend on `batch_size`.
            latents (`torch.Tensor` of shape `[N * num_volumes_per_prompt, 1, D, H, W]`, *optional*): initial noise.
            eeg_embeds (`torch.Tensor` of shape `[N, tokens, cross_attention_dim]` or a list, *optional*): tokens
                made by `encode_eeg`, instead of `eeg`.
            negative_eeg_embeds (same shape, *optional*): what guidance leads away from; zeros by default.
            prior_volumes (`torch.Tensor` of shape `[N, 1, D, H, W]` or a list, *optional*): expected volumes made by
                `predict_prior`; they belong to `eeg_embeds` where the pipeline has a prior.
            output_type (`str`): `"nifti"`, `"np"`, `"pt"` or `"latent"`.
            return_dict (`bool`): an [`EEG2fMRIPipelineOutput`] or a plain tuple.
            callback_on_step_end (`Callable` or [`PipelineCallback`], *optional*):
                called as `callback(pipe, step, timestep, tensors)` after every step of every batch: `step` starts
                again with each, and `"latents"` are those of the batch, without the prior. It may set
                `pipe._guidance_scale` for the rest of its batch, or `pipe._interrupt = True` to stop; then what the
                batches made that were begun is returned, and recordings without any volume are left out.
            callback_on_step_end_tensor_inputs (`list[str]`): among `"latents"`, `"eeg_embeds"` and
                `"negative_eeg_embeds"`.
            reference (path, [`BOLDRun`] or a list of them, *optional*):
                BOLD data of the same person, in the template's space: the generated change is added to its mean.
                Without it, the checkpoint's template.
            electrodes (`list[str]`, *optional*): electrode names of an array.
            sampling_rate (`float`, *optional*): samples per second of an array.
            onsets (`np.ndarray`, *optional*): volume onsets in seconds from the first EEG sample. By default one per
                `repetition_time`, from the first that has a whole EEG window before it. Beside windows or tokens, the
                times of these. An image needs equal spacing.
            repetition_time (`float`, *optional*): seconds between volumes; by default the spacing of `onsets`, without
                them the checkpoint's.
            batch_size (`int`): EEG windows at once: `batch_size * num_volumes_per_prompt` volumes are denoised at
                once, twice as many with guidance.

        Examples:

        Returns:
            [`EEG2fMRIPipelineOutput`] or `tuple`: see there for the formats.

        Raises:
            InputError: an argument is wrong.
            RecordingError: a recording can't be used: too short, NaN, too few known electrodes, wrong units.
            FileError: a file is missing, empty, a pointer, damaged or unreadable.
        """
        if isinstance(callback_on_step_end, PipelineCallback | MultiPipelineCallbacks):
            callback_on_step_end_tensor_inputs = callback_on_step_end.tensor_inputs
        if num_inference_steps is None:
            num_inference_steps = self.default_denoising_steps

        # 1. Check everything before any work
        check_inputs(
            self,
            eeg=eeg,
            eeg_embeds=eeg_embeds,
            negative_eeg_embeds=negative_eeg_embeds,
            prior_volumes=prior_volumes,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            num_volumes_per_prompt=num_volumes_per_prompt,
            batch_size=batch_size,
            output_type=output_type,
            callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
        )
        self._interrupt = False

        # 2. Recordings to spectrogram windows (or given tokens), and the mean volumes that they are laid on
        prompts = collect_prompts(
            self,
            eeg=eeg,
            eeg_embeds=eeg_embeds,
            negative_eeg_embeds=negative_eeg_embeds,
            prior_volumes=prior_volumes,
            reference=reference,
            electrodes=electrodes,
            sampling_rate=sampling_rate,
            onsets=onsets,
            repetition_time=repetition_time,
            output_type=output_type,
        )
        prompts.check_noise(generator, latents, num_volumes_per_prompt, self.unet)

        # 3. Noise, the same for a volume whatever its batch
        counts = [count * num_volumes_per_prompt for count in prompts.counts]
        generators = volume_generators(counts, generator)

        # 4. Denoise in batches of windows
        batches = prompts.batches(batch_size)
        self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
        self._num_timesteps = len(self.scheduler.timesteps)
        generated = []
        with self.progress_bar(total=len(batches) * num_inference_steps) as progress_bar:
            for batch in batches:
                if self.interrupt:
                    break
                self._guidance_scale = guidance_scale  # which a callback may have changed for an earlier batch
                rows = slice(batch.start * num_volumes_per_prompt, batch.stop * num_volumes_per_prompt)
                sample = self._denoise(
                    prompts,
                    batch,
                    generators[rows],
                    None if latents is None else latents[rows],
                    num_inference_steps,
                    num_volumes_per_prompt,
                    eta,
                    callback_on_step_end,
                    callback_on_step_end_tensor_inputs,
                    progress_bar,
                )
                generated.append(sample)
        latents = torch.cat(generated)

        # 5. Model units to BOLD units
        volumes = postprocess(self.volume_processor, latents, prompts, num_volumes_per_prompt, output_type)
        self.maybe_free_model_hooks()
        if not return_dict:
            return (volumes,)
        return EEG2fMRIPipelineOutput(volumes=volumes)

    def _denoise(
        self,
        prompts: EEGPrompts,
        batch: slice,
        generators: list[torch.Generator],
        latents: torch.Tensor | None,
        num_inference_steps: int,
        num_volumes_per_prompt: int,
        eta: float,
        callback_on_step_end: Callable | None,
        callback_tensor_inputs: list[str] | tuple[str, ...],
        progress_bar,
    ) -> torch.Tensor:
        """The reverse process (equation 38) for one batch of windows."""
        windows, eeg_embeds, negative_eeg_embeds, prior_volumes = prompts.take(batch)
        if windows is not None and self.prior is not None:
            prior_volumes, windows = self.predict_prior(windows).to_tuple()
        eeg_embeds, negative_eeg_embeds = self.encode_eeg(
            windows, num_volumes_per_prompt, eeg_embeds, negative_eeg_embeds
        )
        condition = prompts.condition(batch, num_volumes_per_prompt, self._execution_device, self.unet.dtype)

        # Schedulers that remember earlier steps forget them here.
        self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
        timesteps = self.scheduler.timesteps
        num_warmup_steps = len(timesteps) - num_inference_steps * self.scheduler.order
        latents = self.prepare_latents(generators, latents)
        extra_step_kwargs = self.prepare_extra_step_kwargs(generators, eta)

        for i, t in enumerate(timesteps):
            if self.interrupt:
                continue
            model_input = latents
            if hasattr(self.scheduler, "scale_model_input"):  # not in flow matching
                model_input = self.scheduler.scale_model_input(latents, t)
            if condition is not None:
                model_input = torch.cat([model_input, condition], dim=1)
            noise_prediction = self._predict_noise(model_input, t, eeg_embeds, negative_eeg_embeds)
            latents = self.scheduler.step(noise_prediction, t, latents, **extra_step_kwargs, return_dict=False)[0]

            if callback_on_step_end is not None:
                available = {"latents": latents, "eeg_embeds": eeg_embeds, "negative_eeg_embeds": negative_eeg_embeds}
                callback_kwargs = {}
                for name in callback_tensor_inputs:
                    callback_kwargs[name] = available[name]
                callback_outputs = callback_on_step_end(self, i, t, callback_kwargs)
                latents = callback_outputs.pop("latents", latents)
                eeg_embeds = callback_outputs.pop("eeg_embeds", eeg_embeds)
                negative_eeg_embeds = callback_outputs.pop("negative_eeg_embeds", negative_eeg_embeds)

            if i == len(timesteps) - 1 or ((i + 1) > num_warmup_steps and (i + 1) % self.scheduler.order == 0):
                progress_bar.update()
        if prior_volumes is not None:
            latents = latents + prior_volumes.repeat_interleave(num_volumes_per_prompt, dim=0).to(latents)
        return latents

    def _predict_noise(self, model_input, t, eeg_embeds, negative_eeg_embeds) -> torch.Tensor:
        if not self.do_classifier_free_guidance:
            return self.unet(model_input, t, encoder_hidden_states=eeg_embeds, return_dict=False)[0]
        both = self.unet(
            torch.cat([model_input, model_input]),
            t,
            encoder_hidden_states=torch.cat([negative_eeg_embeds, eeg_embeds]),
            return_dict=False,
        )[0]
        unconditional, conditional = both.chunk(2)
        return unconditional + self.guidance_scale * (conditional - unconditional)
