"""The training loop on Accelerate, from a paired dataset to a published model (section 3.5.1)."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, broadcast_object_list

from ..data.leaks import training_record
from ..files import publish_contents, remove_leftovers
from ..hub import write_training_record
from ..randomness import seed_for
from ..recipes import MODEL_SECTIONS
from .checks import (
    check_batch_statistics,
    check_compiler,
    check_place,
    check_prior,
    check_processes,
    check_sharding,
    dataset_identity,
    open_datasets,
)
from .config import AS_LAUNCHED, TrainingConfig
from .fine_tuning import base_model, check_held_out, earlier_training
from .flags import save_settings
from .folder_lock import FolderLock
from .models import MODELS
from .picture import draw_samples
from .run_log import (
    LogFile,
    check_tracker,
    memory_gigabytes,
    progress_bar,
    start_tracker,
    track_picture,
    writing_tracker,
)
from .scores import sample_scores
from .signals import StopRequest
from .state import TrainingState
from .upload import CARD_NAME, check_upload, make_repository, model_card, upload
from .validation import Validator, validations_without_gain
from .weights import averaged_weights, models_with


@dataclass(frozen=True)
class TrainingEnd:
    """How a run ended.

    Args:
        step (`int`): optimizer steps done.
        message (`str`): why it ended, where the result is, what to do now.
        exit_code (`int`): 0 when a model was published, 128 + the signal's number when the run is to be continued.
        files (`list[str]`): what was published, by the process that did.
    """

    step: int
    message: str
    exit_code: int = 0
    files: list[str] = field(default_factory=list)


class Trainer:
    """One training run. It knows nothing of the model it trains but what [`TrainableModel`] promises.

    Args:
        config ([`TrainingConfig`]): its settings.
        recipe (`dict[str, dict]`): the sections of `recipes.read_recipe`.

    Raises:
        EEG2fMRIError: for bad data, settings or checkpoints, before training starts and anything is written.
    """

    def __init__(self, config: TrainingConfig, recipe: dict[str, dict]):
        self.recipe = recipe
        self.output_dir = Path(config.output_dir)
        self.log_file = LogFile(self.output_dir / "log.jsonl")
        check_tracker(config.report_to)
        check_upload(config)
        self.dataset, validation_dataset = open_datasets(config.train_data_dir, config.data_split, recipe)
        if config.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.backends.cudnn.benchmark = False
            torch.use_deterministic_algorithms(True)
        if config.torch_compile:
            check_compiler()
        self.accelerator = Accelerator(
            mixed_precision=None if config.mixed_precision == AS_LAUNCHED else config.mixed_precision,
            dynamo_backend="inductor" if config.torch_compile else None,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            log_with=None if config.report_to == "none" else config.report_to,
            project_config=ProjectConfiguration(str(self.output_dir), logging_dir=str(self.output_dir / "logs")),
        )
        self.config = config = replace(config, mixed_precision=self.accelerator.mixed_precision)
        torch.manual_seed(seed_for(config.seed, "weights"))
        data = dataset_identity(self.dataset, config.data_split)
        if config.prior:
            check_prior(config.prior, data)
        self.model = MODELS[config.model](config, recipe, self.dataset)
        self._num_trained = sum(own.numel() for own in self.model.network.parameters() if own.requires_grad)
        self._earlier_training = earlier_training(config)
        check_held_out(self._earlier_training, config, validation_dataset)
        check_place(config, self.model.network)
        check_sharding(self.accelerator)
        check_processes(self.accelerator)
        check_batch_statistics(self.accelerator, config.model)
        self.lock = FolderLock(self.output_dir) if self.accelerator.is_main_process else None
        if config.gradient_checkpointing:
            self.model.enable_gradient_checkpointing()
        self.identity = {
            **config.identity(self.accelerator.num_processes),
            **{f"recipe.{name}": recipe[name] for name in MODEL_SECTIONS},
            **self.model.identity,
            **data,
        }
        self.state = TrainingState(config, self.model, self.dataset, self.accelerator, self.identity)
        if (self.state.step or config.dry_run) and self.accelerator.is_local_main_process:
            self.dataset.verify()
            validation_dataset.verify()
        self.validator = Validator(
            self.model, validation_dataset, config, self.accelerator.device, self.accelerator.autocast
        )
        self._repository = ""  # on the Hub, of the process that uploads
        self._validations = [r for r in self.log_file.read(self.state.step) if "validation_loss" in r]

    def train(self) -> TrainingEnd:
        """Train to `max_train_steps`, or until the validation SSIM stalls, and publish the averaged weights.

        SIGTERM or Ctrl-C: the step is finished, a checkpoint saved, nothing published; a second one stops at once.

        Raises:
            EEG2fMRIError: when the loss is not finite, before the weights are changed; when the disk is full.
        """
        config, signal_number = self.config, 0
        self._start()
        try:
            with StopRequest() as stop, progress_bar(self.accelerator, config, self.state.step) as progress:
                if self._validation_due() and not any(r["step"] == self.state.step for r in self._validations):
                    self._log_validation()  # the run was stopped between the step and its validation
                while self.state.step < config.max_train_steps and not self._stalled():
                    record = self.state.optimizer_step()
                    self._log(record)
                    shown = {name: f"{value:.3g}" for name, value in {**record, **self._usage()}.items()}
                    progress.set_postfix(shown, refresh=False)  # a log file gets a line as seldom as the bar says
                    progress.update()
                    signal_number = self._agree(stop.received)
                    if self.state.step % config.checkpointing_steps == 0:
                        self._save()  # first, since a resumed run makes up a validation that failed
                    if self._validation_due() and not signal_number:
                        self._log_validation()
                        signal_number = self._agree(stop.received)
                    if signal_number:
                        self._save()
                        break
            self.accelerator.wait_for_everyone()
            if signal_number:
                return self._stopped(signal_number)
            end = self.publish()
            if self._repository:
                upload(config, self._repository, end.files)
            return end
        finally:
            try:
                with writing_tracker(self.accelerator):
                    self.accelerator.end_training()
            finally:
                if self.lock:
                    self.lock.release()

    def validate(self) -> dict[str, float]:
        """Losses of the averaged weights and, if asked for, scores and a picture of generated volumes."""
        with self.state.averaged_weights() as network:
            record = self.validator.losses(network)
            if self.config.num_validation_samples == 0:
                return record
            generated, measured = self.validator.generate(network)
        record.update(sample_scores(generated, measured))
        if self.accelerator.is_main_process:
            path = self.output_dir / "validation" / f"step-{self.state.step:06d}.png"
            picture = draw_samples(generated, measured, path, f"step {self.state.step}")
            track_picture(self.accelerator, picture, self.state.step)
        return record

    def _save(self) -> None:
        """A checkpoint must never outlive what was logged before it."""
        if self.accelerator.is_main_process:
            self.log_file.sync()
        self.state.save()

    def _start(self) -> None:
        self.accelerator.wait_for_everyone()  # all have read before one rewrites
        if self.accelerator.is_main_process:
            remove_leftovers(self.output_dir, "*")
            self.log_file.truncate(self.state.step)
            save_settings(self.output_dir / "recipe.yaml", self.config, self.recipe)
            if self.config.push_to_hub:
                self._repository = make_repository(self.config)
        start_tracker(self.accelerator, self.config, self.state.step)

    def _validation_due(self) -> bool:
        return self.state.step > 0 and self.state.step % self.config.validation_steps == 0

    def _log_validation(self) -> None:
        record, *_ = broadcast_object_list([self.validate()])  # all stop by the same scores
        self._validations.append({"step": self.state.step, **record})
        self._log(record)

    def _stalled(self) -> bool:
        patience = self.config.early_stopping_patience
        scores = [record["validation_ssim"] for record in self._validations if "validation_ssim" in record]
        return 0 < patience <= validations_without_gain(scores)

    def _agree(self, signal_number: int) -> int:
        """The signal that any process got: all stop after the same step."""
        if self.accelerator.num_processes == 1:
            return signal_number
        received = torch.tensor([signal_number], device=self.accelerator.device)
        return int(self.accelerator.gather(received).max())

    def _usage(self) -> dict[str, float]:
        memory = memory_gigabytes(self.accelerator.device)
        return {"samples_per_second": self.state.samples_per_second, "memory_gigabytes": memory}

    def _log(self, record: dict[str, float]) -> None:
        """What seed and step determine goes to the log; the tracker also gets what this machine makes of it."""
        if self.accelerator.is_main_process:
            self.log_file.append({"step": self.state.step, **record})
        with writing_tracker(self.accelerator):
            self.accelerator.log({**record, **self._usage()}, step=self.state.step)

    def _stopped(self, signal_number: int) -> TrainingEnd:
        step, name = self.state.step, signal.Signals(signal_number).name
        message = f"{name}: stopped after step {step} and saved; continue with --resume_from_checkpoint latest."
        return TrainingEnd(step, message, 128 + signal_number)

    def publish(self) -> TrainingEnd:
        """Save the model with the averaged weights: its files appear in the output folder at the very end."""
        config, step = self.config, self.state.step
        finished = step == config.max_train_steps
        reason = "all steps done" if finished else f"no better SSIM in {config.early_stopping_patience} validations"
        end = TrainingEnd(step, f"Saved the model of step {step} to {self.output_dir} ({reason}).")
        averaged = averaged_weights(self.state.bare_network, self.state.ema)
        if not self.accelerator.is_main_process:
            return end
        for component, network in models_with(self.state.bare_network, averaged).items():
            setattr(self.model.network, component, network)
        history = {
            "model": config.model,
            "step": step,
            "reason": reason,
            "last_validation": self._validations[-1] if self._validations else None,
            "settings": self.identity,
            "num_trained_parameters": self._num_trained,
            "base_model": base_model(config),
            **training_record(self.dataset, self._earlier_training, self.validator.dataset),
        }
        with publish_contents(self.output_dir, last=self.model.published_index) as folder:
            self.model.save(folder)
            write_training_record(folder, history)
            if config.push_to_hub:
                (folder / CARD_NAME).write_text(model_card(config, history), encoding="utf-8")
            files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return replace(end, files=files)
