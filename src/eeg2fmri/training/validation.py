"""Validation during training: the loss at fixed noise with its control, and a few generated volumes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch

from ..data.paired_dataset import PairedDataset
from ..errors import InputError
from .config import LEAST_SAMPLES, TrainingConfig
from .models import TrainableModel
from .objective import pair_seeds

BATCH_SIZE = 16


class Validator:
    """Scores a network on pairs of subjects that training does not see, the same ones every time.

    Args:
        model ([`TrainableModel`]): says what a loss and a prediction are.
        dataset ([`PairedDataset`]): the validation pairs.
        config ([`TrainingConfig`]): how many.
        device (`torch.device`): where the network is.
        autocast: a context for the forward passes.

    Raises:
        InputError: when the run to generate has too few volumes.
    """

    def __init__(
        self,
        model: TrainableModel,
        dataset: PairedDataset,
        config: TrainingConfig,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager],
    ):
        self.model, self.dataset, self.config = model, dataset, config
        self.device, self.autocast = device, autocast
        self.pairs = _spread(min(config.num_validation_pairs, len(dataset)), len(dataset))
        # One run, in order, so that a correlation over time means something.
        first_run = dataset.runs[0]["num_pairs"]
        if config.num_validation_samples and first_run < LEAST_SAMPLES:
            raise InputError(
                dataset.runs[0]["name"],
                found=f"a validation run of {first_run} volumes",
                expected=f"at least {LEAST_SAMPLES}, to be scored over time",
                remedy="Validate on another subject, or with --num_validation_samples 0 --early_stopping_patience 0.",
            )
        self.samples = _spread(min(config.num_validation_samples, first_run), first_run)

    @torch.no_grad()
    def losses(self, network: torch.nn.Module) -> dict[str, float]:
        """The mean loss at fixed noise and timesteps, `validation_loss`.

        `validation_loss_other_eeg` is the same with every volume's EEG exchanged for another one's: a network that
        uses the EEG does worse there.
        """
        count, seed = len(self.pairs), self.config.seed
        losses, losses_other = [], []
        for start in range(0, count, BATCH_SIZE):
            rows = range(start, min(start + BATCH_SIZE, count))
            batch = self._batch([self.pairs[row] for row in rows])
            # Half the set away, another subject or at least another minute.
            other = self._batch([self.pairs[(row + count // 2) % count] for row in rows])
            seeds = pair_seeds(seed, "validation noise", 0, rows)
            with self.autocast():
                losses.append(self.model.loss(network, batch, seeds))
                losses_other.append(self.model.loss(network, {**batch, "eeg": other["eeg"]}, seeds))
        return {
            "validation_loss": torch.cat(losses).mean().item(),
            "validation_loss_other_eeg": torch.cat(losses_other).mean().item(),
        }

    @torch.no_grad()
    def generate(self, network: torch.nn.Module) -> tuple[np.ndarray, np.ndarray]:
        """Generated and measured volumes `[N, x, y, z]` of one run in order, laid on the template's mean."""
        generated, measured = [], []
        for start in range(0, len(self.samples), BATCH_SIZE):
            batch = self._batch(self.samples[start : start + BATCH_SIZE])
            count = len(batch["volume"])
            seeds = pair_seeds(self.config.seed, "validation sample", 0, range(start, start + count))
            with self.autocast():
                generated.append(
                    self.model.predict(network, batch, seeds, self.config.validation_inference_steps).float().cpu()
                )
            measured.append(batch["volume"].cpu())
        processor = self.dataset.volume_processor
        template = processor.reference()
        first, second = (
            processor.postprocess(torch.cat(volumes).numpy(), template) for volumes in (generated, measured)
        )
        return first, second

    def _batch(self, indices: list[int]) -> dict[str, torch.Tensor]:
        return {name: tensor.to(self.device) for name, tensor in self.dataset[indices].items()}


def _spread(count: int, total: int) -> list[int]:
    return [i * total // count for i in range(count)]


def validations_without_gain(scores: list[float]) -> int:
    """How many validations have passed since the best one; one without a score is worse than any."""
    return len(scores) - 1 - int(np.argmax(np.nan_to_num(scores, nan=-np.inf))) if scores else 0
