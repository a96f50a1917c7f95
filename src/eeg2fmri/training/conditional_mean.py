"""The conditional mean as a trainable model: a regression of volumes on the EEG, published as a pipeline's prior."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..data.paired_dataset import PairedDataset
from ..errors import CheckpointError, InputError
from ..files import sha256
from ..models.conditional_mean import ConditionalMeanModel
from .config import TrainingConfig
from .fine_tuning import Pretrained, load_pretrained
from .networks import build_prior

NUM_PRINCIPAL = 200
NUM_VOLUMES = 3000  # that they are computed from
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"


class Readout(ModelMixin, ConfigMixin):
    """Linear map from components to principal components of the volumes; training alone needs it."""

    @register_to_config
    def __init__(self, num_components: int, num_principal: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_components, num_principal) / (3 * math.sqrt(num_components)))


class _Network(nn.Module):
    """From EEG windows to standardised principal components `[B, principal]`."""

    def __init__(self, prior: ConditionalMeanModel, readout: Readout):
        super().__init__()
        self.prior = prior
        self.readout = readout

    def forward(self, eeg: torch.Tensor) -> torch.Tensor:
        courses, _ = self.prior.components(eeg)
        return courses @ self.readout.weight


class ConditionalMean:
    r"""The network that expects a volume from the EEG; see [`TrainableModel`] for what the methods promise.

    Volumes are compared by their principal components, \( \sum_k (\hat y_k - y_k)^2 / \sqrt{\lambda_k} \) with the
    variances \( \lambda_k \): between the plain squared error, which the global signal and the strongest networks
    rule, and the standardised one, which noise rules (`docs/experiments.md`). All are least for the conditional mean.

    With `--pretrained_model_name_or_path` it starts from a published pipeline's prior, as far as its maps lie in the
    space of the new dataset's principal components.

    Raises:
        InputError: when the recipe or the dataset's spectra don't fit, or the pipeline has no prior.
        CheckpointError: when the pipeline can't be loaded.
    """

    published_index = "config.json"

    def __init__(self, config: TrainingConfig, recipe: dict[str, dict], dataset: PairedDataset):
        pretrained = load_pretrained(config, recipe, dataset)
        if pretrained is None:
            prior = build_prior(recipe, dataset.eeg_processor, dataset.volume_processor)
        else:
            prior = _prior_of(pretrained, config)
        prior.maps.requires_grad_(False)  # they follow from the readout at the end
        self.basis, self.variances = principal_components(dataset)
        readout = Readout(num_components=len(prior.maps), num_principal=len(self.variances))
        if pretrained is not None:
            readout.weight.data = prior.maps.detach() @ self.basis / self.variances.sqrt()
        self.network = _Network(prior, readout)
        self.identity: dict[str, str] = {} if pretrained is None else pretrained.identity

    def enable_gradient_checkpointing(self) -> None:
        self.network.prior.enable_gradient_checkpointing()

    def loss(self, network: nn.Module, batch: dict[str, torch.Tensor], seeds: list[int]) -> torch.Tensor:
        """Squared error by principal component, scaled so that predicting nothing costs about 1."""
        basis, scale = self._on(batch["volume"].device)
        measured = batch["volume"].flatten(1) @ basis / scale
        weights = scale / scale.mean()
        return ((network(batch["eeg"]) - measured).float().square() * weights).mean(1)

    def predict(
        self, network: nn.Module, batch: dict[str, torch.Tensor], seeds: list[int], num_inference_steps: int
    ) -> torch.Tensor:
        """The expected volume: nothing is drawn."""
        basis, scale = self._on(batch["eeg"].device)
        return (network(batch["eeg"]) * scale @ basis.T).unflatten(1, network.prior.output_shape)

    def save(self, folder: Path) -> None:
        """The network alone, for `--prior` of a diffusion model."""
        basis, scale = self._on(self.network.readout.weight.device)
        with torch.no_grad():
            self.network.prior.maps.copy_(self.network.readout.weight * scale @ basis.T)
        self.network.prior.save_pretrained(folder)

    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        return self.basis.to(device), self.variances.sqrt().to(device)


def principal_components(dataset: PairedDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Principal components of the training volumes, from pairs spread evenly over the dataset.

    Returns:
        `tuple`: basis `[voxel, component]`, orthonormal, and variances `[component]`, falling; at most
        `NUM_PRINCIPAL`, and none without variance.
    """
    count = min(NUM_VOLUMES, len(dataset))
    rows = [i * len(dataset) // count for i in range(count)]
    volumes = dataset[rows]["volume"].flatten(1)
    volumes = volumes - volumes.mean(0)
    # The small side: volumes are fewer than voxels.
    values, vectors = torch.linalg.eigh((volumes @ volumes.T).double() / count)
    values, vectors = values.flip(0)[:NUM_PRINCIPAL], vectors.flip(1)[:, :NUM_PRINCIPAL]
    kept = values > 1e-6 * values[0]
    basis = volumes.T @ (vectors[:, kept] / (values[kept] * count).sqrt()).float()
    return basis, values[kept].float()


def _prior_of(pretrained: Pretrained, config: TrainingConfig) -> ConditionalMeanModel:
    if pretrained.pipeline.prior is None:
        raise InputError(
            "--pretrained_model_name_or_path",
            found=f"{config.pretrained_model_name_or_path}, which has no prior",
            expected="a pipeline with one, for --model conditional_mean",
            remedy="Fine-tune it with --model ef_diffusion.",
        )
    return pretrained.pipeline.prior


def load_prior(folder: str) -> tuple[ConditionalMeanModel, dict[str, str]]:
    """A trained prior, as it stays, and the checksum of its weights.

    Raises:
        CheckpointError: when the folder holds none, or a damaged one.
    """
    try:
        prior = ConditionalMeanModel.from_pretrained(folder)
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            folder,
            found=f"no model there ({str(error).strip().splitlines()[0]})",
            expected="a network trained with --model conditional_mean",
            remedy="Train it first, and give its --output_dir as --prior.",
        ) from error
    return prior.eval().requires_grad_(False), {"prior": sha256(Path(folder) / WEIGHTS_NAME)}
