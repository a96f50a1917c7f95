"""What a caller gives to the pipeline, checked and brought into one form: windows or tokens of every recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .errors import InputError
from .models.blocks import check_tensor
from .pipeline_timing import VolumeTimes
from .processing.volume import VolumeReference
from .recordings.repetition_time import is_number

OUTPUT_TYPES = ("nifti", "np", "pt", "latent")


@dataclass(frozen=True)
class RecordingPrompt:
    """One recording: its windows or tokens, when its first volume is, and what the volumes are laid on."""

    windows: torch.Tensor | None
    eeg_embeds: torch.Tensor | None
    negative_eeg_embeds: torch.Tensor | None
    prior_volumes: torch.Tensor | None
    condition: np.ndarray | None
    reference: VolumeReference
    repetition_time: float
    first_volume_time: float

    @property
    def num_volumes(self) -> int:
        given = self.windows if self.eeg_embeds is None else self.eeg_embeds
        assert given is not None  # one of the two always is
        return len(given)


@dataclass(frozen=True)
class EEGPrompts:
    """All recordings of a call, as one row of windows."""

    recordings: list[RecordingPrompt]

    @property
    def counts(self) -> list[int]:
        return [recording.num_volumes for recording in self.recordings]

    def batches(self, batch_size: int) -> list[slice]:
        total = sum(self.counts)
        return [slice(start, min(start + batch_size, total)) for start in range(0, total, batch_size)]

    def take(self, rows: slice) -> tuple[torch.Tensor | None, ...]:
        """Windows, or tokens, negative tokens and expected volumes, of these rows; `None` for what was not given."""
        names = ("windows", "eeg_embeds", "negative_eeg_embeds", "prior_volumes")
        return tuple(self._gather(name, rows) for name in names)

    def condition(self, rows: slice, num_volumes_per_prompt: int, device, dtype) -> torch.Tensor | None:
        """The mean volume of each row's recording, `[rows * num_volumes_per_prompt, 1, D, H, W]`, or `None`."""
        conditions = [recording.condition for recording in self.recordings if recording.condition is not None]
        if not conditions:
            return None
        owners = np.repeat(np.arange(len(self.recordings)), self.counts)[rows]
        means = torch.from_numpy(np.stack(conditions))
        return means[torch.from_numpy(owners)].repeat_interleave(num_volumes_per_prompt, dim=0).to(device, dtype)

    def check_noise(self, generator, latents, num_volumes_per_prompt: int, unet) -> None:
        """Check the arguments whose right size follows from the number of volumes."""
        generators = generator if isinstance(generator, list | tuple) else [generator]
        if not all(isinstance(each, torch.Generator | None) for each in generators):
            raise InputError(
                "generator",
                found=", ".join(sorted({type(each).__name__ for each in generators})),
                expected="a torch.Generator, or one per recording",
                remedy="Make it with torch.Generator().manual_seed(0).",
            )
        if isinstance(generator, list | tuple) and len(generator) != len(self.recordings):
            raise InputError(
                "generator",
                found=f"a list of {len(generator)}",
                expected=f"one generator per recording, {len(self.recordings)}",
                remedy="Pass one generator, or a list as long as the list of recordings.",
            )
        shape = (sum(self.counts) * num_volumes_per_prompt, unet.config.out_channels, *unet.config.sample_size)
        if latents is not None:
            check_tensor("latents", latents, dict(zip(("volume", "channel", "D", "H", "W"), shape, strict=True)))
            _check_values("latents", latents)

    def _gather(self, name: str, rows: slice) -> torch.Tensor | None:
        parts = [getattr(recording, name) for recording in self.recordings]
        return None if parts[0] is None else torch.cat(parts)[rows]


def volume_generators(
    counts: list[int], generator: torch.Generator | list[torch.Generator] | tuple[torch.Generator, ...] | None
) -> list[torch.Generator]:
    """One generator per volume, so that a volume's noise does not depend on what shares its batch.

    Args:
        counts (`list[int]`): number of volumes of every recording.
        generator: one for all recordings, one per recording, or `None` for torch's default.
    """
    sources = generator if isinstance(generator, list | tuple) else [generator] * len(counts)
    generators = []
    for count, source in zip(counts, sources, strict=True):
        device = "cpu" if source is None else source.device
        seeds = torch.randint(0, 2**62, (count,), generator=source, device=device)
        generators += [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
    return generators


def window_shape(eeg_processor) -> tuple[int, int, int, int]:
    """Channel, electrode, frequency and window of what a processor makes."""
    eeg = eeg_processor.config
    return 2 if eeg.mode == "complex" else 1, len(eeg.electrodes), eeg.num_frequencies, eeg.num_windows


def check_inputs(
    pipe,
    *,
    eeg,
    eeg_embeds,
    negative_eeg_embeds,
    prior_volumes,
    num_inference_steps,
    guidance_scale,
    num_volumes_per_prompt,
    batch_size,
    output_type,
    callback_on_step_end_tensor_inputs,
) -> None:
    """Check the arguments that need no file to be read.

    Raises:
        InputError: naming the argument.
    """
    if (eeg is None) == (eeg_embeds is None):
        raise InputError(
            "eeg",
            found="both `eeg` and `eeg_embeds`" if eeg is not None else "neither `eeg` nor `eeg_embeds`",
            expected="exactly one of them",
            remedy="Pass a recording as `eeg`, or tokens of `encode_eeg` as `eeg_embeds`.",
        )
    counts = {
        "num_inference_steps": num_inference_steps,
        "num_volumes_per_prompt": num_volumes_per_prompt,
        "batch_size": batch_size,
    }
    check_counts(counts)
    check_output_type(output_type)
    if not is_number(guidance_scale):
        raise InputError(
            "guidance_scale", found=repr(guidance_scale), expected="a finite number", remedy="Pass such a number."
        )
    unknown = [name for name in callback_on_step_end_tensor_inputs if name not in pipe._callback_tensor_inputs]
    if unknown:
        raise InputError(
            "callback_on_step_end_tensor_inputs",
            found=str(unknown),
            expected=f"names among {list(pipe._callback_tensor_inputs)}",
            remedy="Ask for these only.",
        )
    if negative_eeg_embeds is not None and eeg_embeds is None:
        raise InputError(
            "negative_eeg_embeds",
            found="no `eeg_embeds` beside it",
            expected="tokens for both",
            remedy="Encode the EEG first with `encode_eeg`.",
        )
    if (prior_volumes is not None) != (eeg_embeds is not None and pipe.prior is not None):
        raise InputError(
            "prior_volumes",
            found="none beside `eeg_embeds`" if prior_volumes is None else "some without a prior and `eeg_embeds`",
            expected="expected volumes beside `eeg_embeds` of a pipeline with a prior, and only there",
            remedy="Make both from the same windows with `predict_prior` and `encode_eeg`, or pass the recording.",
        )


def check_counts(counts: dict[str, int]) -> None:
    """Refuse anything but integers above 0.

    Raises:
        InputError: naming the argument.
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(
                name, found=repr(value), expected="an integer of at least 1", remedy="Pass such a number."
            )


def check_output_type(output_type: str) -> None:
    """Refuse a form of output that there is not.

    Raises:
        InputError: with the forms that there are.
    """
    if output_type not in OUTPUT_TYPES:
        raise InputError(
            "output_type",
            found=repr(output_type),
            expected=f"one of {', '.join(OUTPUT_TYPES)}",
            remedy="Choose one of these.",
        )


def collect_prompts(
    pipe,
    *,
    eeg,
    reference,
    electrodes,
    sampling_rate,
    onsets,
    repetition_time,
    output_type,
    eeg_embeds=None,
    negative_eeg_embeds=None,
    prior_volumes=None,
) -> EEGPrompts:
    """Read and process every recording of a call.

    Raises:
        InputError, RecordingError, FileError: before anything is generated.
    """
    sources = _as_list(eeg if eeg_embeds is None else eeg_embeds, is_tokens=eeg_embeds is not None)
    negatives = [None] * len(sources)
    if negative_eeg_embeds is not None:
        negatives = _as_list(negative_eeg_embeds, is_tokens=True)
    priors = [None] * len(sources) if prior_volumes is None else _as_list(prior_volumes, is_tokens=True)
    references = reference if isinstance(reference, (list, tuple)) else [reference] * len(sources)
    given = {"reference": references, "negative_eeg_embeds": negatives, "prior_volumes": priors}
    for name, values in given.items():
        if len(values) != len(sources):
            raise InputError(
                name,
                found=f"{len(values)} entries",
                expected=f"one per recording, {len(sources)}",
                remedy="Pass one for all, or a list as long as the list of recordings.",
            )
    default = pipe.volume_processor.config.repetition_time
    times = VolumeTimes.given(onsets, repetition_time, default, needs_spacing=output_type == "nifti")
    recordings = []
    for source, negative, prior, bold in zip(sources, negatives, priors, references, strict=True):
        volume_reference = pipe.volume_processor.reference(bold)
        first_volume_time = -pipe.eeg_processor.config.window_start if times.onsets is None else times.onsets[0]
        windows = None
        if eeg_embeds is not None or getattr(source, "ndim", None) == 5:
            _refuse_names(electrodes, sampling_rate)
        if eeg_embeds is not None:
            _check_tokens(source, negative, pipe.unet.config.cross_attention_dim)
            if prior is not None:
                _check_prior_volumes(prior, (len(source), *pipe.prior.output_shape))
            times.check_count(len(source))
        elif getattr(source, "ndim", None) == 5:
            windows = _checked_windows(source, window_shape(pipe.eeg_processor))
            times.check_count(len(windows))
        else:
            processed = pipe.eeg_processor(
                source,
                onsets=times.onsets,
                repetition_time=times.repetition_time,
                electrodes=electrodes,
                sampling_rate=sampling_rate,
            )
            windows = torch.from_numpy(processed.windows)
            first_volume_time = processed.onsets[0]
        recordings.append(
            RecordingPrompt(
                windows=windows,
                eeg_embeds=source if eeg_embeds is not None else None,
                negative_eeg_embeds=negative,
                prior_volumes=prior,
                condition=pipe.volume_processor.condition(volume_reference),
                reference=volume_reference,
                repetition_time=times.repetition_time,
                first_volume_time=float(first_volume_time),
            )
        )
    num_tokens = sorted({each.eeg_embeds.shape[1] for each in recordings if each.eeg_embeds is not None})
    if len(num_tokens) > 1:
        raise InputError(
            "eeg_embeds",
            found=f"{' and '.join(map(str, num_tokens))} tokens",
            expected="as many for every recording",
            remedy="Encode all recordings with this pipeline's `encode_eeg`.",
        )
    return EEGPrompts(recordings)


def _refuse_names(electrodes, sampling_rate) -> None:
    if electrodes is not None or sampling_rate is not None:
        raise InputError(
            "electrodes, sampling_rate",
            found="values beside windows or tokens",
            expected="none",
            remedy="Leave them out: they go with arrays of signals only.",
        )


def _as_list(value, *, is_tokens: bool) -> list:
    """One entry per recording. A 3-D array is several recordings of signals, or one recording's tokens."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise InputError(
                "eeg", found="an empty list", expected="at least one recording", remedy="Pass a recording."
            )
        return list(value)
    dimensions = getattr(value, "ndim", None)
    if dimensions is not None and not is_tokens and dimensions not in (2, 3, 5):
        raise InputError(
            "eeg",
            found=f"shape {list(value.shape)}",
            expected="[electrode, time], [recording, electrode, time] or [N, C, electrode, frequency, window]",
            remedy="Bring the array into one of these shapes.",
        )
    return list(value) if dimensions == 3 and not is_tokens else [value]


def _checked_windows(windows, shape: tuple[int, int, int, int]) -> torch.Tensor:
    lengths = dict(zip(("channel", "electrode", "frequency", "window"), shape, strict=True))
    if isinstance(windows, np.ndarray) and windows.dtype.kind == "f":
        windows = torch.from_numpy(windows)
    check_tensor("eeg", windows, {"volume": None, **lengths})
    _check_values("eeg", windows)
    if not len(windows):
        raise InputError(
            "eeg",
            found="no window",
            expected="at least one window",
            remedy="Make them with this pipeline's `eeg_processor`, or pass the recording itself.",
        )
    return windows.float()


def _check_tokens(eeg_embeds, negative_eeg_embeds, width: int) -> None:
    for name, tokens in {"eeg_embeds": eeg_embeds, "negative_eeg_embeds": negative_eeg_embeds}.items():
        if tokens is None:
            continue
        check_tensor(name, tokens, {"volume": None, "token": None, "channel": width})
        _check_values(name, tokens)
        if not len(tokens):
            raise InputError(
                name, found="no volume", expected="tokens of one volume at least", remedy="Encode some EEG first."
            )
    if negative_eeg_embeds is not None:
        same = dict(zip(("volume", "token", "channel"), eeg_embeds.shape, strict=True))
        check_tensor("negative_eeg_embeds", negative_eeg_embeds, same)


def _check_values(name: str, tensor: torch.Tensor) -> None:
    """Refuse NaN and infinities, which would come out after all steps only.

    Tensors of every device are moved to the pipeline's; those of `meta` hold no numbers to move.
    """
    if tensor.device.type == "meta":
        raise InputError(
            name, found="device meta", expected="a tensor that holds numbers", remedy="Load its content first."
        )
    num_bad = int((~tensor.isfinite()).sum())
    if num_bad:
        raise InputError(
            name,
            found=f"shape {list(tensor.shape)} with {num_bad} NaN or Inf",
            expected="finite numbers",
            remedy="Make it again, with this pipeline.",
        )


def _check_prior_volumes(volumes, shape: tuple[int, ...]) -> None:
    check_tensor("prior_volumes", volumes, dict(zip(("volume", "channel", "D", "H", "W"), shape, strict=True)))
    _check_values("prior_volumes", volumes)
