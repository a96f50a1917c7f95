"""EEG2fMRIRegressionPipeline: an EEG recording in, one fMRI volume per repetition time out, in one pass."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import ModelMixin

from .errors import InputError
from .pipeline_components import check_network
from .pipeline_inputs import check_counts, check_output_type, collect_prompts
from .pipeline_loading import CheckedPipeline
from .pipeline_outputs import EEG2fMRIPipelineOutput, postprocess
from .processing.eeg import EEGProcessor
from .processing.volume import VolumeProcessor


class EEG2fMRIRegressionPipeline(CheckedPipeline):
    r"""Predict fMRI volumes from EEG recordings, without any noise: \( \hat y = f(EEG) \).

    The published form of the one-pass networks that EF-Diffusion is compared with (Tables 2 and 3). What it predicts
    is in the units of its volume processor: a change in mode `change`, to which the mean volume is added at the end.

    This model inherits from [`DiffusionPipeline`]: see there for loading, saving and moving between devices.

    Args:
        network (`ModelMixin`): spectrogram windows to model volumes, such as a [`CNNPlusModel`].
        eeg_processor ([`EEGProcessor`]): recordings to spectrogram windows.
        volume_processor ([`VolumeProcessor`]): model volumes to BOLD units and NIfTI.
    """

    model_cpu_offload_seq = "network"

    def __init__(self, network: ModelMixin, eeg_processor: EEGProcessor, volume_processor: VolumeProcessor):
        super().__init__()
        check_network(network, eeg_processor, volume_processor)
        self.register_modules(network=network, eeg_processor=eeg_processor, volume_processor=volume_processor)

    @torch.no_grad()
    def __call__(
        self,
        eeg,
        output_type: str = "nifti",
        return_dict: bool = True,
        reference=None,
        electrodes: list[str] | None = None,
        sampling_rate: float | None = None,
        onsets: np.ndarray | None = None,
        repetition_time: float | None = None,
        batch_size: int = 16,
    ) -> EEG2fMRIPipelineOutput | tuple:
        """Predict one volume per repetition time for every recording.

        Args:
            eeg: a recording, or a list of them, in any form that [`EEG2fMRIPipeline`] takes.
            output_type (`str`): `"nifti"`, `"np"`, `"pt"` or `"latent"`.
            return_dict (`bool`): an [`EEG2fMRIPipelineOutput`] or a plain tuple.
            reference (path, [`BOLDRun`] or a list of them, *optional*): BOLD data of the same person, in the
                template's space: a change is added to its mean. Without it, the checkpoint's template.
            electrodes (`list[str]`, *optional*): electrode names of an array.
            sampling_rate (`float`, *optional*): samples per second of an array.
            onsets (`np.ndarray`, *optional*): volume onsets in seconds from the first EEG sample. By default one per
                `repetition_time`, from the first that has a whole EEG window before it. Beside windows, the
                times of these. An image needs equal spacing.
            repetition_time (`float`, *optional*): seconds between volumes; by default the spacing of `onsets`, without
                them the checkpoint's.
            batch_size (`int`): EEG windows at once.

        Returns:
            [`EEG2fMRIPipelineOutput`] or `tuple`: see there for the formats.

        Raises:
            InputError: an argument is wrong.
            RecordingError: a recording can't be used: too short, NaN, too few known electrodes, wrong units.
            FileError: a file is missing, empty, a pointer, damaged or unreadable.
        """
        # 1. Check everything before any work
        check_counts({"batch_size": batch_size})
        check_output_type(output_type)
        if eeg is None:
            raise InputError("eeg", found="None", expected="a recording", remedy="Pass a recording as `eeg`.")

        # 2. Recordings to spectrogram windows, and the mean volumes that predictions are laid on
        prompts = collect_prompts(
            self,
            eeg=eeg,
            reference=reference,
            electrodes=electrodes,
            sampling_rate=sampling_rate,
            onsets=onsets,
            repetition_time=repetition_time,
            output_type=output_type,
        )

        # 3. Predict in batches of windows
        device, dtype = self._execution_device, self.network.dtype
        predicted = []
        for batch in self.progress_bar(prompts.batches(batch_size)):
            windows = prompts.take(batch)[0]
            assert windows is not None  # there are no tokens that could be given instead
            predicted.append(self.network(windows.to(device, dtype), return_dict=False)[0])

        # 4. Model units to BOLD units
        volumes = postprocess(self.volume_processor, torch.cat(predicted), prompts, 1, output_type)
        self.maybe_free_model_hooks()
        if not return_dict:
            return (volumes,)
        return EEG2fMRIPipelineOutput(volumes=volumes)
