"""The model as a row of the table, and the same model kept from the EEG in four ways."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from ..baselines.run import Prediction
from ..errors import InputError
from ..metrics.statistics import MINIMUM_SHIFT
from ..pipeline import EEG2fMRIPipeline
from ..randomness import seed_for
from .runs import DatasetRun

CONTROLS = ("none", "shifted", "other_subject", "zeroed", "unconditional")
SPECTRAL_SETTINGS = (
    "electrodes",
    "mode",
    "sampling_rate",
    "num_frequencies",
    "bins_per_frequency",
    "num_windows",
    "window_start",
    "window_stop",
    "baseline",
)


class DiffusionModel:
    """A pipeline, sampled over whole runs in order.

    Without a recording of the person it lays its volumes on the checkpoint's template. A model of the mode `change`
    in native space has no common template: it is given the mean of the run's first 30 volumes.

    Args:
        pipe ([`EEG2fMRIPipeline`]): the model.
        runs: all test runs, of which the control `"other_subject"` takes the EEG.
        num_samples (`int`): independent samples of every volume.
        num_inference_steps (`int`): of each sample.
        batch_size (`int`): volumes denoised at once.
        seed (`int`): of the noise; the same noise for the model and its controls. Samples come in pairs of opposite
            initial noise (docs/experiments.md).
        control (`str`): `"none"`; `"shifted"`: the EEG shifted in a circle by at least 40 s, by another time for each
            sample; `"other_subject"`: the EEG of the next test subjects; `"zeroed"`: windows of zeros, after the
            normalisation; `"unconditional"`: tokens of zeros, which means something only to a model that was trained
            with conditioning dropout.
    """

    def __init__(
        self,
        pipe: EEG2fMRIPipeline,
        runs: Sequence[DatasetRun],
        *,
        num_samples: int,
        num_inference_steps: int,
        batch_size: int,
        seed: int,
        control: str = "none",
    ):
        self.pipe = pipe
        self.runs = runs
        self.num_samples = num_samples
        self.num_inference_steps = num_inference_steps
        self.batch_size = batch_size
        self.seed = seed
        self.control = control

    def fit(self, runs: Iterable[DatasetRun]) -> DiffusionModel:
        return self

    def predict(self, run: DatasetRun) -> Prediction:
        """Generate the run, one sample after the other."""
        return Prediction(self._samples(run))

    def _samples(self, run: DatasetRun) -> Iterator[np.ndarray]:
        reference = _mean_volume(self.pipe, run)
        position = [other.name for other in self.runs].index(run.name)
        for sample in range(self.num_samples):
            volumes = self.pipe(
                **self._guidance(run, position, sample),
                **self._sampling(run, position, sample),
                reference=reference,
                batch_size=self.batch_size,
                output_type="np",
            ).volumes[0]
            yield volumes.transpose(0, 3, 2, 1)

    def _sampling(self, run: DatasetRun, position: int, sample: int) -> dict:
        steps = torch.Generator().manual_seed(seed_for(self.seed, "evaluation steps", position, sample))
        latents = self._noise(run, position, sample)
        return {"num_inference_steps": self.num_inference_steps, "latents": latents, "generator": steps}

    def _noise(self, run: DatasetRun, position: int, sample: int) -> torch.Tensor:
        """Of an odd sample the opposite of the one before: each is a fair draw, and their mean is a better one."""
        unet = self.pipe.unet.config
        pair = torch.Generator().manual_seed(seed_for(self.seed, "evaluation noise", position, sample // 2))
        noise = torch.randn(len(run.onsets), unet.out_channels, *unet.sample_size, generator=pair)
        return -noise if sample % 2 else noise

    def _guidance(self, run: DatasetRun, position: int, sample: int) -> dict[str, torch.Tensor]:
        windows = run.windows(self.pipe.eeg_processor)
        if self.control == "shifted":
            windows = np.roll(windows, self._shift(run, position, sample), axis=0)
        elif self.control == "other_subject":
            others = [other for other in self.runs if other.subject != run.subject]
            other = others[(position + sample) % len(others)].windows(self.pipe.eeg_processor)
            windows = other[np.arange(len(windows)) % len(other)]
        elif self.control == "zeroed":
            windows = np.zeros_like(windows)
        if self.control != "unconditional":
            return {"eeg": torch.from_numpy(windows)}
        return self._nothing(len(windows), torch.from_numpy(windows[:1]))

    def _nothing(self, count: int, window: torch.Tensor) -> dict[str, torch.Tensor]:
        """Tokens of zeros, as many as the encoder makes of a window, and no expectation."""
        pipe = self.pipe
        nothing = {}
        with torch.no_grad():
            if pipe.prior is not None:
                expected = pipe.predict_prior(window)
                window = expected.band_powers
                nothing["prior_volumes"] = torch.zeros(count, *expected.sample.shape[1:])
            encoder = pipe.eeg_encoder
            tokens = encoder(window.to(encoder.device, encoder.dtype), return_dict=False)[0]
        return {"eeg_embeds": torch.zeros(count, *tokens.shape[1:]), **nothing}

    def _shift(self, run: DatasetRun, position: int, sample: int) -> int:
        """A number of volumes, drawn between 40 s and the run's length less 40 s."""
        first = math.ceil(MINIMUM_SHIFT / run.repetition_time)
        draw = np.random.default_rng(seed_for(self.seed, "evaluation shift", position, sample))
        return int(draw.integers(first, len(run.onsets) - first + 1))


class PriorModel:
    """What a pipeline's prior expects: the regression below the diffusion, on its own.

    Args:
        pipe ([`EEG2fMRIPipeline`]): with a prior.
        batch_size (`int`): windows at once.
    """

    def __init__(self, pipe: EEG2fMRIPipeline, batch_size: int):
        self.pipe = pipe
        self.batch_size = batch_size

    def fit(self, runs: Iterable[DatasetRun]) -> PriorModel:
        return self

    @torch.no_grad()
    def predict(self, run: DatasetRun) -> Prediction:
        """Expect the run's volumes."""
        processor = self.pipe.volume_processor
        windows = torch.from_numpy(run.windows(self.pipe.eeg_processor)).split(self.batch_size)
        expected = torch.cat([self.pipe.predict_prior(batch).sample for batch in windows]).float().cpu().numpy()
        volumes = processor.postprocess(expected, processor.reference(_mean_volume(self.pipe, run)))
        return Prediction([volumes.transpose(0, 3, 2, 1)])


def _mean_volume(pipe: EEG2fMRIPipeline, run: DatasetRun):
    """What changes are laid on: the run's first volumes where the checkpoint's template does not fit, else `None`."""
    volume_processor = pipe.volume_processor.config
    own = volume_processor.mode == "change" and volume_processor.space == "native"
    return run.calibration() if own else None


def check_model(pipe: EEG2fMRIPipeline, run: DatasetRun) -> None:
    """Refuse a model that was made for other spectra or another grid than the dataset's.

    Raises:
        InputError: naming the setting.
    """
    own, stored = pipe.eeg_processor.config, run.eeg_processor.config
    pairs = {f"eeg_processor.{name}": (own[name], stored[name]) for name in SPECTRAL_SETTINGS}
    pairs["volume_processor.grid_shape (z, y, x)"] = (pipe.volume_processor.grid_shape[::-1], run.mean.shape)
    for name, (found, expected) in pairs.items():
        if _plain(found) != _plain(expected):
            raise InputError(
                "model",
                found=f"{name} {found}",
                expected=f"that of the dataset, {expected}",
                remedy="Prepare the dataset with the recipe that the model was trained with.",
            )


def _plain(value):
    return tuple(value) if isinstance(value, (list, tuple)) else value
