"""The settings of a training run, with the paper's values (section 3.5.1) as defaults."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import asdict, dataclass, field, fields

from ..errors import InputError
from .models import DIFFUSION, FINE_TUNABLE, MODELS

AS_LAUNCHED = "accelerate"
LEAST_SAMPLES = 3  # volumes that have a correlation over time
TRACKERS = ("tensorboard", "wandb", "trackio", "none")


def _setting(group: str, default, text: str, **metadata):
    """A setting: `group` and `text` are for `--help`. `free`: a resumed run may change it without changing a bit.
    `secret`: it is written nowhere."""
    return field(default=default, repr="secret" not in metadata, metadata={"group": group, "help": text, **metadata})


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that a training run depends on, besides the data and the recipe of the networks.

    Raises:
        InputError: for a value that can't be, naming it.
    """

    train_data_dir: str = _setting("data", "", "Paired dataset made by `eeg2fmri prepare`; needed.", free=True)
    data_split: str = _setting(
        "data", "default", "Named split of the dataset, as `prepare` and `eeg2fmri split` make them.", free=True
    )
    output_dir: str = _setting("data", "", "Where checkpoints, log and the trained model go; needed.", free=True)
    dataloader_num_workers: int = _setting("data", 0, "Processes that load pairs; 0 is this one.", free=True, least=0)

    model: str = _setting("model", "ef_diffusion", "What is trained.", choices=MODELS)
    pretrained_model_name_or_path: str = _setting(
        "model", "", "Published pipeline to start from: embedded name, folder or Hub id.", free=True
    )
    revision: str = _setting("model", "", "Branch, tag or commit of that pipeline on the Hub.", free=True)
    freeze: str = _setting(
        "model", "none", "Network of that pipeline that stays as it is.", choices=("none", "eeg_encoder", "unet")
    )
    lora_rank: int = _setting(
        "model", 0, "Train adapters of this rank instead of that pipeline's weights; 0 is none.", least=0
    )
    prior: str = _setting(
        "model", "", "Folder of a network trained with --model conditional_mean: the diffusion adds to it.", free=True
    )
    conditioning_dropout_prob: float = _setting(
        "model", 0.0, "Share of pairs whose EEG tokens are zeroed, for guidance.", least=0, below=1
    )
    snr_gamma: float = _setting("model", 0.0, "Min-SNR weighting of the loss, usually 5; 0 is none.", least=0)

    seed: int = _setting("optimization", 42, "Seed of everything random.", least=0)
    train_batch_size: int = _setting("optimization", 2, "Pairs per device and forward pass.", least=1)
    gradient_accumulation_steps: int = _setting("optimization", 8, "Forward passes per optimizer step.", least=1)
    max_train_steps: int = _setting("optimization", 30_000, "Optimizer steps.", least=1)
    learning_rate: float = _setting("optimization", 1e-4, "Adam's learning rate, after warm-up.", above=0)
    lr_scheduler: str = _setting(
        "optimization",
        "constant",
        "Schedule of the learning rate.",
        choices=("constant", "constant_with_warmup", "cosine", "linear"),
    )
    lr_warmup_steps: int = _setting("optimization", 0, "Steps over which the learning rate rises from 0.", least=0)
    adam_beta1: float = _setting("optimization", 0.9, "Adam's first decay.", least=0, below=1)
    adam_beta2: float = _setting("optimization", 0.99, "Adam's second decay.", least=0, below=1)
    adam_epsilon: float = _setting("optimization", 1e-8, "Adam's epsilon.", above=0)
    adam_weight_decay: float = _setting(
        "optimization", 0.0, "Decoupled weight decay (AdamW); 0 is the paper's Adam.", least=0
    )
    max_grad_norm: float = _setting("optimization", 1.0, "Gradients are clipped to this norm.", above=0)
    ema_decay: float = _setting(
        "optimization", 0.995, "Decay of the averaged weights, which are what is published.", least=0, below=1
    )
    ema_warmup: bool = _setting("optimization", False, "Let the decay rise as (1 + step) / (10 + step) at first.")

    validation_steps: int = _setting("validation", 500, "Validate every so many optimizer steps.", free=True, least=1)
    num_validation_pairs: int = _setting(
        "validation", 256, "Pairs of the validation subjects that the loss is computed on.", free=True, least=1
    )
    num_validation_samples: int = _setting(
        "validation",
        16,
        f"Volumes of a validation run that are generated and scored, {LEAST_SAMPLES} at least; 0 is none.",
        free=True,
        least=0,
    )
    validation_inference_steps: int = _setting(
        "validation", 10, "Denoising steps of these volumes.", free=True, least=1
    )
    early_stopping_patience: int = _setting(
        "validation", 5, "Stop after so many validations without a better SSIM; 0 is never.", free=True, least=0
    )

    checkpointing_steps: int = _setting(
        "checkpoints", 500, "Save a checkpoint every so many optimizer steps.", free=True, least=1
    )
    checkpoints_total_limit: int = _setting("checkpoints", 3, "How many checkpoints are kept.", free=True, least=1)
    resume_from_checkpoint: str = _setting(
        "checkpoints", "", "`latest`, or the name of a checkpoint in `output_dir`.", free=True
    )

    report_to: str = _setting(
        "logging",
        "tensorboard" if importlib.util.find_spec("tensorboard") else "none",
        "Tracker beside `log.jsonl`; tensorboard where it is installed.",
        choices=TRACKERS,
        free=True,
    )
    tracker_project_name: str = _setting("logging", "eeg2fmri", "The run's project in the tracker.", free=True)

    push_to_hub: bool = _setting("publication", False, "Upload what is published to the Hub.", free=True)
    hub_model_id: str = _setting(
        "publication", "", "Its repository there; by default named like `output_dir`.", free=True
    )
    hub_token: str = _setting(
        "publication", "", "Token to write there; by default that of `hf auth login`.", free=True, secret=True
    )

    mixed_precision: str = _setting(
        "machine",
        AS_LAUNCHED,
        f"Precision of forward and backward; {AS_LAUNCHED} is what `accelerate launch` says.",
        choices=(AS_LAUNCHED, "no", "bf16"),
    )
    gradient_checkpointing: bool = _setting(
        "machine", False, "Recompute activations in the backward pass to save memory."
    )
    torch_compile: bool = _setting("machine", False, "Compile forward and backward, for GPUs: minutes at the start.")
    deterministic: bool = _setting(
        "machine", False, "Only deterministic kernels (the paper's cuDNN setting): the same bits on the same machine."
    )
    dry_run: bool = _setting(
        "machine", False, "Two steps and all that follows them; prints what they take, and leaves nothing.", free=True
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, rules = getattr(self, setting.name), setting.metadata
            kind = type(setting.default)
            if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool) != (
                kind is bool
            ):
                _refuse(setting.name, value, f"a value of type {kind.__name__}")
            if "choices" in rules and value not in rules["choices"]:
                _refuse(setting.name, value, f"one of {', '.join(rules['choices'])}")
            if kind is float and not math.isfinite(value):
                _refuse(setting.name, value, "a finite number")
            if "below" in rules and not rules["least"] <= value < rules["below"]:
                _refuse(setting.name, value, f"in [{rules['least']}, {rules['below']})")
            if "least" in rules and value < rules["least"]:
                _refuse(setting.name, value, f"at least {rules['least']}")
            if "above" in rules and value <= rules["above"]:
                _refuse(setting.name, value, f"above {rules['above']}")
        for name in ("train_data_dir", "output_dir"):
            if not getattr(self, name):
                _refuse(name, "", "a path")
        if self.early_stopping_patience and not self.num_validation_samples:
            _refuse(
                "num_validation_samples",
                0,
                f"at least {LEAST_SAMPLES}, to stop by their SSIM, or --early_stopping_patience 0",
            )
        if 0 < self.num_validation_samples < LEAST_SAMPLES:
            _refuse("num_validation_samples", self.num_validation_samples, f"0, or at least {LEAST_SAMPLES}")
        if self.lr_scheduler == "constant" and self.lr_warmup_steps:
            _refuse("lr_warmup_steps", self.lr_warmup_steps, "0, or --lr_scheduler constant_with_warmup")
        self._check_model()

    def _check_model(self) -> None:
        """Refuse settings that would mean nothing to the model."""
        if self.pretrained_model_name_or_path and self.model not in FINE_TUNABLE:
            _refuse("model", self.model, f"{' or '.join(FINE_TUNABLE)}, with --pretrained_model_name_or_path")
        fine_tuning = {"revision": FINE_TUNABLE, "freeze": ("ef_diffusion",), "lora_rank": ("ef_diffusion",)}
        diffusion = dict.fromkeys(("conditioning_dropout_prob", "snr_gamma", "prior"), DIFFUSION)
        checkpointing = {"gradient_checkpointing": tuple(name for name in MODELS if name != "conditional_mean")}
        allowed = {**fine_tuning, **diffusion, **checkpointing}
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name not in allowed or value == setting.default:
                continue
            if setting.name in fine_tuning and not self.pretrained_model_name_or_path:
                _refuse(setting.name, value, f"{setting.default!r}, without --pretrained_model_name_or_path")
            if self.model not in allowed[setting.name]:
                _refuse(setting.name, value, f"{setting.default!r}, with --model {self.model}")

    def to_dict(self) -> dict:
        """All settings that may be written."""
        return {setting.name: getattr(self, setting.name) for setting in fields(self) if setting.repr}

    def identity(self, num_processes: int = 1) -> dict:
        """The settings that a resumed run must share with the run that it continues.

        Two devices with one pair each see what one device with two pairs sees: the product counts.
        """
        free = {setting.name for setting in fields(self) if setting.metadata.get("free")}
        shared = {name: value for name, value in asdict(self).items() if name not in free}
        pairs = shared.pop("train_batch_size") * num_processes
        return {**shared, "train_batch_size x processes": pairs}


def _refuse(name: str, value, expected: str) -> None:
    raise InputError(f"--{name}", found=repr(value), expected=expected, remedy="Change the setting.")
