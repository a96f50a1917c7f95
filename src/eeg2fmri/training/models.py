"""The models that `scripts/train.py --model` trains, by name.

An entry is a function that builds a [`TrainableModel`]; the trainer knows nothing else of a model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from ..data.paired_dataset import PairedDataset
    from .config import TrainingConfig


class TrainableModel(Protocol):
    """What the trainer asks of a model.

    `batch` is what the paired dataset gives: `eeg [B, C, electrode, frequency, window]`, `volume [B, 1, D, H, W]` and,
    in mode `change`, `condition [B, 1, D, H, W]`. `seeds` has one seed for every pair, from which alone everything
    random about the pair is drawn. `network` is the model's own, possibly wrapped or sharded over several devices:
    only the whole of it can be called.
    """

    network: torch.nn.Module
    """What is trained. Its children are components with `save_pretrained` and `from_pretrained`, saved by their names;
    networks that stay as they are (a frozen prior) are held outside of it."""

    published_index: str
    """The file of the published folder that readers look for first."""

    identity: dict[str, str]
    """Checksums of what a checkpoint must share besides the settings: networks that stay as they are."""

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass."""

    def loss(self, network: torch.nn.Module, batch: dict[str, torch.Tensor], seeds: list[int]) -> torch.Tensor:
        """The loss of every pair `[B]`, float32; what is only for training happens while `network.training`."""

    def predict(
        self, network: torch.nn.Module, batch: dict[str, torch.Tensor], seeds: list[int], num_inference_steps: int
    ) -> torch.Tensor:
        """One volume for every pair, `[B, 1, D, H, W]` in model units, without a look at `batch["volume"]`."""

    def save(self, folder: Path) -> None:
        """Save what is published, with the weights that `network` has now."""


Build = Callable[["TrainingConfig", dict[str, dict], "PairedDataset"], TrainableModel]


def _ef_diffusion(config, recipe, dataset) -> TrainableModel:
    from .ef_diffusion import EFDiffusion

    return EFDiffusion(config, recipe, dataset)


def _conditional_mean(config, recipe, dataset) -> TrainableModel:
    from .conditional_mean import ConditionalMean

    return ConditionalMean(config, recipe, dataset)


def _without_ciim(config, recipe, dataset) -> TrainableModel:
    """Section 3.5.4: the EEG features go straight into the backbone."""
    unet = {**recipe["unet"], "conditioning": "direct"}
    return _ef_diffusion(config, {**recipe, "unet": unet}, dataset)


def _without_ciim_and_epg(config, recipe, dataset) -> TrainableModel:
    """Section 3.5.4: and they are a linear projection of the EEG."""
    eeg_encoder = {**recipe["eeg_encoder"], "encoder": "linear"}
    return _without_ciim(config, {**recipe, "eeg_encoder": eeg_encoder}, dataset)


# Those that start from `--pretrained_model_name_or_path`. A published ablation is fine-tuned as `ef_diffusion`: its
# architecture comes with it.
FINE_TUNABLE = ("conditional_mean", "ef_diffusion")

DIFFUSION = ("cdm_3d", "ef_diffusion", "ef_diffusion_without_ciim", "ef_diffusion_without_ciim_and_epg")


def _cnn_plus(config, recipe, dataset) -> TrainableModel:
    from ..baselines.networks.cnn_plus import CNNPlusModel
    from .regression import Regression

    return Regression(CNNPlusModel, "cnn_plus", recipe, dataset)


def _tag(config, recipe, dataset) -> TrainableModel:
    from .regression import TAG

    return TAG(recipe, dataset)


def _biot(config, recipe, dataset) -> TrainableModel:
    from ..baselines.networks.biot import BIOTModel
    from .regression import Regression

    return Regression(BIOTModel, "biot", recipe, dataset)


def _e2fgan(config, recipe, dataset) -> TrainableModel:
    from .e2fgan import E2fGAN

    return E2fGAN(recipe, dataset)


def _cdm_3d(config, recipe, dataset) -> TrainableModel:
    from .cdm_3d import CDM3D

    return CDM3D(config, recipe, dataset)


MODELS: dict[str, Build] = {
    "biot": _biot,
    "cdm_3d": _cdm_3d,
    "cnn_plus": _cnn_plus,
    "conditional_mean": _conditional_mean,
    "e2fgan": _e2fgan,
    "ef_diffusion": _ef_diffusion,
    "ef_diffusion_without_ciim": _without_ciim,
    "ef_diffusion_without_ciim_and_epg": _without_ciim_and_epg,
    "tag": _tag,
}
