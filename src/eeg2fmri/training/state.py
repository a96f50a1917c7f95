"""The state of a training run and what changes it: one optimizer step, save, resume."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import nn
from torch.utils.data import DataLoader

from ..data.paired_dataset import PairedDataset
from ..errors import EEG2fMRIError
from ..randomness import seed_for
from .checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from .checks import pair_name
from .config import TrainingConfig
from .data_order import StepBatchSampler
from .models import TrainableModel
from .objective import pair_seeds
from .signals import leave_process_group

logger = logging.getLogger(__name__)


class TrainingState:
    """Weights, their moving averages, Adam's moments, the schedule and the step; everything else follows from these.

    Args:
        config ([`TrainingConfig`]): the run's settings.
        model ([`TrainableModel`]): what is trained.
        dataset ([`PairedDataset`]): the training pairs.
        accelerator (`Accelerator`): the devices.
        identity (`dict`): what a checkpoint must share with this run.

    Raises:
        InputError, CheckpointError: when the checkpoint to resume from is of another run, missing or damaged.
    """

    def __init__(
        self,
        config: TrainingConfig,
        model: TrainableModel,
        dataset: PairedDataset,
        accelerator: Accelerator,
        identity: dict,
    ):
        self.config, self.model, self.dataset, self.accelerator = config, model, dataset, accelerator
        self.identity = identity
        self.output_dir = Path(config.output_dir)
        optimizer = torch.optim.AdamW(
            model.network.parameters(),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.adam_weight_decay,
        )
        self.network, self.optimizer = accelerator.prepare(model.network, optimizer)
        self.ema = EMAModel(
            self.bare_network.parameters(),
            decay=config.ema_decay,
            min_decay=0.0 if config.ema_warmup else config.ema_decay,
        )
        self.ema.to(accelerator.device)
        self.step = self._resume()
        schedule = get_scheduler(
            config.lr_scheduler,
            optimizer,
            num_warmup_steps=config.lr_warmup_steps,
            num_training_steps=config.max_train_steps,
        )
        # A function of the step alone, so that there is nothing to resume.
        (self._schedule,) = schedule.lr_lambdas
        self._batches = self._make_batches()
        self._seconds, self._steps_timed = 0.0, 0

    @property
    def bare_network(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.network, keep_torch_compile=False)

    @property
    def samples_per_second(self) -> float:
        """Pairs that all devices together train on in a second of optimizer steps."""
        config = self.config
        pairs = config.train_batch_size * config.gradient_accumulation_steps * self.accelerator.num_processes
        return pairs * self._steps_timed / self._seconds if self._steps_timed else 0.0

    def optimizer_step(self) -> dict[str, float]:
        """All forward passes of one optimizer step; returns its loss over all devices, and more to log.

        Raises:
            EEG2fMRIError: when loss or gradient are not finite, naming the pairs of all devices; the weights are as
                before.
        """
        config, accelerator, started = self.config, self.accelerator, time.perf_counter()
        self.network.train()
        learning_rate = config.learning_rate * self._schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        losses, indices = [], []
        for i in range(config.gradient_accumulation_steps):
            with accelerator.accumulate(self.network):
                batch_indices, batch = next(self._batches)
                batch = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
                first_row = accelerator.process_index * config.train_batch_size
                rows = range(first_row, first_row + config.train_batch_size)
                forward_pass = self.step * config.gradient_accumulation_steps + i
                seeds = pair_seeds(config.seed, "noise", forward_pass, rows)
                # Dropout draws from the process's generator, whose state no checkpoint holds.
                torch.manual_seed(seed_for(config.seed, "forward", forward_pass, accelerator.process_index))
                with accelerator.autocast():
                    loss = self.model.loss(self.network, batch, seeds)
                accelerator.backward(loss.mean())
                losses.append(loss.detach())
                indices += batch_indices
                if accelerator.sync_gradients:
                    norm = float(accelerator.clip_grad_norm_(self.network.parameters(), config.max_grad_norm))
                    means = torch.stack([loss.mean() for loss in losses])
                    mean_loss = accelerator.reduce(means.mean(), reduction="mean").item()
                    if not (math.isfinite(mean_loss) and math.isfinite(norm)):
                        self._refuse_step(mean_loss, norm, torch.cat(losses), indices)
                self.optimizer.step()
                self.optimizer.zero_grad()
        self.ema.step(self.bare_network.parameters())
        self.step += 1
        self._seconds += time.perf_counter() - started
        self._steps_timed += 1
        return {"loss": mean_loss, "gradient_norm": norm, "learning_rate": learning_rate}

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[nn.Module]:
        """The network with the averaged weights, for evaluation; the trained ones come back at the end."""
        parameters = list(self.bare_network.parameters())
        self.ema.store(parameters)
        self.ema.copy_to(parameters)
        self.network.eval()
        try:
            yield self.bare_network
        finally:
            self.ema.restore(parameters)

    def save(self) -> None:
        """Save a checkpoint of this step, and prune the oldest."""
        save_checkpoint(
            self.output_dir,
            self.step,
            self.bare_network,
            self.ema,
            self.optimizer.optimizer,
            self.identity,
            self.config.checkpoints_total_limit,
            self.accelerator.is_main_process,
        )

    def _make_batches(self) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        config, accelerator = self.config, self.accelerator
        sampler = StepBatchSampler(
            len(self.dataset),
            config.train_batch_size,
            config.seed,
            first_pass=self.step * config.gradient_accumulation_steps,
            process_index=accelerator.process_index,
            num_processes=accelerator.num_processes,
        )
        # Whole batches at once, which the dataset reads faster than item by item.
        loader = DataLoader(
            self.dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=config.dataloader_num_workers,
            worker_init_fn=leave_process_group,
        )
        return zip(sampler, loader, strict=True)

    def _resume(self) -> int:
        if not self.config.resume_from_checkpoint:
            return 0
        path = find_checkpoint(self.output_dir, self.config.resume_from_checkpoint)
        if path is None:
            logger.info("No checkpoint in %s: training starts anew.", self.output_dir)
            return 0
        return load_checkpoint(path, self.bare_network, self.ema, self.optimizer.optimizer, self.identity)

    def _refuse_step(self, loss: float, gradient_norm: float, losses: torch.Tensor, indices: list[int]) -> NoReturn:
        finite, number = self.accelerator.gather((losses.isfinite(), torch.tensor(indices, device=losses.device)))
        damaged = number[~finite].tolist()
        names = [pair_name(self.dataset, index) for index in damaged or number.tolist()]
        kind = (
            "a loss that is not finite" if damaged else f"a gradient of norm {gradient_norm} at a loss of {loss:.3g}"
        )
        raise EEG2fMRIError(
            f"step {self.step + 1}",
            found=f"{kind}, on {'; '.join(names[:8])}{' and others' if len(names) > 8 else ''}",
            expected="finite ones",
            remedy="Look at these pairs, and continue with --resume_from_checkpoint latest: the last checkpoint is "
            "intact. If it recurs, lower --learning_rate or use --mixed_precision no in a new run.",
        )
