"""The training loop on Accelerate, from a paired dataset to a saved pipeline (section 3.5.1)."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..data.leaks import training_record
from ..data.pairs import PairedDataset
from ..errors import EEG2fMRIError
from ..files import publish_contents
from ..hub import save_for_hub, write_training_record
from ..pipeline import EEG2fMRIPipeline
from ..randomness import seed_for
from ..recipes import read_recipe
from .checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .data_order import StepBatchSampler
from .networks import build_networks, build_schedulers
from .objective import denoising_loss, pair_seeds

logger = logging.getLogger(__name__)


class Trainer:
    """One training run.

    Args:
        config ([`TrainingConfig`]): its settings.

    Raises:
        EEG2fMRIError: for bad data, settings or checkpoints, before training starts.
    """

    def __init__(self, config: TrainingConfig):
        self.config = config
        self.output_dir = Path(config.output_dir)
        recipe = read_recipe(config.recipe)
        self.dataset = PairedDataset(config.train_data_dir, "train")
        self.validation_dataset = PairedDataset(config.train_data_dir, "validation")
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            log_with=None if config.report_to == "none" else config.report_to,
            project_dir=str(self.output_dir),
        )
        torch.manual_seed(seed_for(config.seed, "weights"))
        network = build_networks(recipe, self.dataset.eeg_processor, self.dataset.volume_processor)
        if config.gradient_checkpointing:
            network.eeg_encoder.enable_gradient_checkpointing()
            network.unet.enable_gradient_checkpointing()
        self.noise_scheduler, self.sampling_scheduler = build_schedulers(recipe, self.dataset.volume_processor)
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            weight_decay=config.adam_weight_decay,
        )
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.ema = EMAModel(self._bare_network.parameters(), decay=config.ema_decay)
        self.ema.to(self.accelerator.device)
        self.identity = {**config.identity(), "recipe": recipe}
        self.step = self._resume()
        self.learning_rate = get_scheduler(
            config.lr_scheduler,
            optimizer,
            num_warmup_steps=config.lr_warmup_steps,
            num_training_steps=config.max_train_steps,
        )
        for _ in range(self.step):
            self.learning_rate.step()

    @property
    def _bare_network(self):
        return self.accelerator.unwrap_model(self.network)

    def train(self) -> Path:
        """Train to `max_train_steps`, then save the pipeline with the averaged weights.

        Returns:
            `Path`: the output folder, which `EEG2fMRIPipeline.from_pretrained` loads.

        Raises:
            EEG2fMRIError: when the loss is not finite, before the weights are changed.
        """
        config, accelerator = self.config, self.accelerator
        if config.report_to != "none":
            accelerator.init_trackers("eeg2fmri", config=asdict(config))
        batches = iter(self._loader())
        progress = tqdm(
            total=config.max_train_steps,
            initial=self.step,
            desc="Training",
            unit="step",
            disable=not accelerator.is_local_main_process,
        )
        started, first_step, running = time.perf_counter(), self.step, []
        while self.step < config.max_train_steps:
            loss = self._optimizer_step(batches)
            self.step += 1
            running.append(loss)
            progress.update()
            if self.step % config.logging_steps == 0:
                elapsed = time.perf_counter() - started
                pairs = (self.step - first_step) * self._pairs_per_step
                record = {"loss": math.fsum(running) / len(running), "pairs_per_second": pairs / elapsed}
                progress.set_postfix({name: f"{value:.4g}" for name, value in record.items()})
                self._log({**record, "learning_rate": self.learning_rate.get_last_lr()[0]})
                running = []
            if self.step % config.validation_steps == 0:
                self._log(self.validate())
            if self.step % config.checkpointing_steps == 0:
                self._save()
        progress.close()
        accelerator.wait_for_everyone()
        self._publish()
        accelerator.end_training()
        return self.output_dir

    @property
    def _pairs_per_step(self) -> int:
        config = self.config
        return config.train_batch_size * config.gradient_accumulation_steps * self.accelerator.num_processes

    def _loader(self) -> DataLoader:
        config, accelerator = self.config, self.accelerator
        sampler = StepBatchSampler(
            len(self.dataset),
            config.train_batch_size,
            config.seed,
            first_pass=self.step * config.gradient_accumulation_steps,
            process_index=accelerator.process_index,
            num_processes=accelerator.num_processes,
        )
        return DataLoader(self.dataset, batch_sampler=sampler)

    def _optimizer_step(self, batches) -> float:
        """All forward passes of one optimizer step; returns the mean loss over all devices."""
        config, accelerator = self.config, self.accelerator
        self.network.train()
        losses = []
        for i in range(config.gradient_accumulation_steps):
            with accelerator.accumulate(self.network):
                batch = self._to_device(next(batches))
                first_row = accelerator.process_index * config.train_batch_size
                seeds = pair_seeds(
                    config.seed,
                    "noise",
                    self.step * config.gradient_accumulation_steps + i,
                    range(first_row, first_row + config.train_batch_size),
                )
                with accelerator.autocast():
                    loss = denoising_loss(
                        self.network, self.noise_scheduler, batch, seeds, config.conditioning_dropout_prob
                    ).mean()
                accelerator.backward(loss)
                losses.append(loss.detach())
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
                    mean_loss = accelerator.reduce(torch.stack(losses).mean(), reduction="mean").item()
                    self._check_finite(mean_loss, float(norm))
                self.optimizer.step()
                self.optimizer.zero_grad()
        self.learning_rate.step()
        self.ema.step(self._bare_network.parameters())
        return mean_loss

    def _check_finite(self, loss: float, gradient_norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(gradient_norm):
            return
        gradients = {name: p.grad for name, p in self._bare_network.named_parameters() if p.grad is not None}
        damaged = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
        raise EEG2fMRIError(
            f"step {self.step + 1}",
            found=f"a loss of {loss} and {len(damaged)} gradients that are not finite ({', '.join(damaged[:3])})",
            expected="finite ones",
            remedy="Continue with --resume_from_checkpoint latest; if it recurs, lower --learning_rate or use "
            "--mixed_precision no. The last checkpoint is intact.",
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss of the averaged weights on pairs of unseen subjects, at fixed noise and timesteps.

        `validation_loss_other_eeg` is the same with every volume's EEG exchanged for another one's: a network that
        uses the EEG does worse there.
        """
        config, total = self.config, len(self.validation_dataset)
        count = min(config.num_validation_pairs, total)
        indices = [i * total // count for i in range(count)]
        parameters = list(self._bare_network.parameters())
        self.ema.store(parameters)
        self.ema.copy_to(parameters)
        self.network.eval()
        losses, losses_other = [], []
        for start in range(0, count, 16):
            rows = range(start, min(start + 16, count))
            batch = self._batch([indices[row] for row in rows])
            # Half the set away, another subject or at least another minute.
            other = self._batch([indices[(row + count // 2) % count] for row in rows])
            seeds = pair_seeds(config.seed, "validation noise", 0, rows)
            with self.accelerator.autocast():
                losses.append(denoising_loss(self._bare_network, self.noise_scheduler, batch, seeds))
                exchanged = {**batch, "eeg": other["eeg"]}
                losses_other.append(denoising_loss(self._bare_network, self.noise_scheduler, exchanged, seeds))
        self.ema.restore(parameters)
        return {
            "validation_loss": torch.cat(losses).mean().item(),
            "validation_loss_other_eeg": torch.cat(losses_other).mean().item(),
        }

    def _batch(self, indices: list[int]) -> dict[str, torch.Tensor]:
        return self._to_device(torch.utils.data.default_collate([self.validation_dataset[i] for i in indices]))

    def _to_device(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}

    def _log(self, record: dict[str, float]) -> None:
        if not self.accelerator.is_main_process:
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        with open(self.output_dir / "log.jsonl", "a") as file:
            file.write(json.dumps({"step": self.step, **record}) + "\n")
        self.accelerator.log(record, step=self.step)

    def _resume(self) -> int:
        if not self.config.resume_from_checkpoint:
            return 0
        path = find_checkpoint(self.output_dir, self.config.resume_from_checkpoint)
        if path is None:
            logger.info("No checkpoint in %s: training starts anew.", self.output_dir)
            return 0
        return load_checkpoint(path, self._bare_network, self.ema, self.optimizer, self.identity)

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            save_checkpoint(
                self.output_dir,
                self.step,
                self._bare_network,
                self.ema,
                self.optimizer,
                self.identity,
                self.config.checkpoints_total_limit,
            )

    def _publish(self) -> None:
        """Save the pipeline with the averaged weights: its files appear in the output folder at the very end."""
        if not self.accelerator.is_main_process:
            return
        self.ema.copy_to(self._bare_network.parameters())
        pipeline = EEG2fMRIPipeline(
            eeg_encoder=self._bare_network.eeg_encoder,
            unet=self._bare_network.unet,
            scheduler=self.sampling_scheduler,
            eeg_processor=self.dataset.eeg_processor,
            volume_processor=self.dataset.volume_processor,
        )
        with publish_contents(self.output_dir, last="model_index.json") as folder:
            save_for_hub(pipeline, folder)
            write_training_record(folder, training_record(self.dataset))
