"""The settings of a training run, with the paper's values (section 3.5.1) as defaults."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields

from ..errors import InputError


def _setting(default, text: str, **metadata):
    return field(default=default, metadata={"help": text, **metadata})


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that a training run depends on, besides the data and the recipe of the networks.

    Raises:
        InputError: for a value that can't be, naming it.
    """

    train_data_dir: str = _setting("", "Paired dataset made by `eeg2fmri prepare`.")
    recipe: str = _setting("", "JSON file with the sections `eeg_encoder`, `unet` and `scheduler`.")
    output_dir: str = _setting("", "Where checkpoints, log and the trained pipeline go.")
    seed: int = _setting(42, "Seed of everything random.")
    train_batch_size: int = _setting(2, "Pairs per device and forward pass.")
    gradient_accumulation_steps: int = _setting(8, "Forward passes per optimizer step.")
    max_train_steps: int = _setting(30_000, "Optimizer steps.")
    learning_rate: float = _setting(1e-4, "Adam's learning rate, after warm-up.")
    lr_scheduler: str = _setting("constant", "Schedule of the learning rate.", choices=("constant", "cosine"))
    lr_warmup_steps: int = _setting(0, "Optimizer steps over which the learning rate rises from zero.")
    adam_beta1: float = _setting(0.9, "Adam's first decay.")
    adam_beta2: float = _setting(0.99, "Adam's second decay.")
    adam_weight_decay: float = _setting(0.0, "Decoupled weight decay (AdamW); 0 is the paper's Adam.")
    max_grad_norm: float = _setting(1.0, "Gradients are clipped to this norm.")
    ema_decay: float = _setting(0.995, "Decay of the moving average of the weights, which is what is published.")
    conditioning_dropout_prob: float = _setting(0.0, "Share of pairs whose EEG tokens are zeroed, for guidance.")
    mixed_precision: str = _setting("no", "Precision of forward and backward.", choices=("no", "fp16", "bf16"))
    gradient_checkpointing: bool = _setting(False, "Recompute activations in the backward pass to save memory.")
    checkpointing_steps: int = _setting(500, "Save a checkpoint every so many optimizer steps.")
    checkpoints_total_limit: int = _setting(3, "How many checkpoints are kept.")
    resume_from_checkpoint: str = _setting("", "`latest`, or the name of a checkpoint in `output_dir`.")
    validation_steps: int = _setting(500, "Compute the validation loss every so many optimizer steps.")
    num_validation_pairs: int = _setting(256, "Pairs of the validation subjects that the loss is computed on.")
    logging_steps: int = _setting(10, "Write the log every so many optimizer steps.")
    report_to: str = _setting("none", "Tracker beside `log.jsonl`.", choices=("none", "tensorboard"))

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            choices = setting.metadata.get("choices")
            if choices and value not in choices:
                _refuse(setting.name, value, f"one of {', '.join(choices)}")
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isfinite(value):
                _refuse(setting.name, value, "a finite number")
        for name in ("train_data_dir", "recipe", "output_dir"):
            if not getattr(self, name):
                _refuse(name, "", "a path")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                _refuse(name, getattr(self, name), "at least 1")
        for name in ("adam_beta1", "adam_beta2", "ema_decay", "conditioning_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                _refuse(name, getattr(self, name), "in [0, 1)")
        for name in ("learning_rate", "max_grad_norm"):
            if getattr(self, name) <= 0:
                _refuse(name, getattr(self, name), "above 0")
        for name in ("lr_warmup_steps", "adam_weight_decay", "seed"):
            if getattr(self, name) < 0:
                _refuse(name, getattr(self, name), "at least 0")

    def identity(self) -> dict:
        """The settings that a resumed run must share with the run that it continues."""
        free = {
            "train_data_dir",
            "recipe",
            "output_dir",
            "resume_from_checkpoint",
            "checkpointing_steps",
            "checkpoints_total_limit",
            "validation_steps",
            "num_validation_pairs",
            "logging_steps",
            "report_to",
        }
        return {name: value for name, value in asdict(self).items() if name not in free}


_AT_LEAST_ONE = (
    "train_batch_size",
    "gradient_accumulation_steps",
    "max_train_steps",
    "checkpointing_steps",
    "checkpoints_total_limit",
    "validation_steps",
    "num_validation_pairs",
    "logging_steps",
)


def _refuse(name: str, value, expected: str) -> None:
    raise InputError(f"--{name}", found=repr(value), expected=expected, remedy="Change the setting.")
