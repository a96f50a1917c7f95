"""One-pass networks as trainable models: the baselines CNN+, BIOT and TAG, published as regression pipelines."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from ..baselines.networks.regressor import RegressionNetwork
from ..baselines.networks.tag import TAGModel, TAGVolumeEncoder
from ..data.paired_dataset import PairedDataset
from ..hub import save_for_hub
from ..pipeline_inputs import window_shape
from ..regression_pipeline import EEG2fMRIRegressionPipeline
from .networks import from_section


class Regression:
    r"""A network trained with the mean squared error \( \| y - f(EEG) \|_2^2 \); see [`TrainableModel`].

    Args:
        kind (`type`): the network's class.
        section (`str`): the recipe's section with its options.
        recipe (`dict`): the recipe.
        dataset ([`PairedDataset`]): decides what sizes windows and volumes have.

    Raises:
        InputError: when the recipe can't be.
    """

    published_index = "model_index.json"

    def __init__(self, kind: type[RegressionNetwork], section: str, recipe: dict[str, dict], dataset: PairedDataset):
        self.eeg_processor, self.volume_processor = dataset.eeg_processor, dataset.volume_processor
        in_channels, *sample_size = window_shape(self.eeg_processor)
        regressor = from_section(
            kind,
            recipe,
            section,
            in_channels=in_channels,
            sample_size=tuple(sample_size),
            volume_size=tuple(self.volume_processor.config.sample_size),
        )
        self.network = self._with_partner(regressor)
        self.identity: dict[str, str] = {}

    def _with_partner(self, regressor: RegressionNetwork) -> nn.Module:
        """The network beside whatever else is trained with it."""
        return _Alone(regressor)

    def enable_gradient_checkpointing(self) -> None:
        self.network.network.enable_gradient_checkpointing()

    def loss(self, network: nn.Module, batch: dict[str, torch.Tensor], seeds: list[int]) -> torch.Tensor:
        """Nothing is drawn."""
        return (network(batch["eeg"])[0] - batch["volume"]).float().square().flatten(1).mean(1)

    def predict(
        self, network: nn.Module, batch: dict[str, torch.Tensor], seeds: list[int], num_inference_steps: int
    ) -> torch.Tensor:
        """The volume that the network expects: the same in any number of steps."""
        return network(batch["eeg"])[0]

    def save(self, folder: Path) -> None:
        """A pipeline in the layout of a Hub repository, with the network alone."""
        pipeline = EEG2fMRIRegressionPipeline(self.network.network, self.eeg_processor, self.volume_processor)
        save_for_hub(pipeline, folder)


class _Alone(nn.Module):
    def __init__(self, network: RegressionNetwork):
        super().__init__()
        self.network = network

    def forward(self, eeg: torch.Tensor) -> tuple[torch.Tensor]:
        return self.network(eeg, return_dict=False)


class TAG(Regression):
    r"""TAG with its partner, the encoder of volumes; see [`TrainableModel`].

    \( |y - \hat y|_1 + 1 - \cos(z_{EEG}, z_{fMRI}) \): mean absolute error, and the cosine distance of both codes
    (Calhas and Henriques 2022). The partner stays behind when the model is published.

    Args:
        recipe (`dict`): the recipe.
        dataset ([`PairedDataset`]): decides what sizes windows and volumes have.
    """

    def __init__(self, recipe: dict[str, dict], dataset: PairedDataset):
        super().__init__(TAGModel, "tag", recipe, dataset)

    def _with_partner(self, regressor: TAGModel) -> nn.Module:
        options = ("volume_size", "block_out_channels", "norm_num_groups", "latent_size")
        partner = TAGVolumeEncoder(**{name: regressor.config[name] for name in options})
        return _WithVolumeEncoder(regressor, partner)

    def enable_gradient_checkpointing(self) -> None:
        super().enable_gradient_checkpointing()
        self.network.volume_encoder.enable_gradient_checkpointing()

    def loss(self, network: nn.Module, batch: dict[str, torch.Tensor], seeds: list[int]) -> torch.Tensor:
        """Nothing is drawn."""
        predicted, code, volume_code = network(batch["eeg"], batch["volume"])
        error = (predicted - batch["volume"]).float().abs().flatten(1).mean(1)
        return error + 1 - functional.cosine_similarity(code.float(), volume_code.float())


class _WithVolumeEncoder(nn.Module):
    def __init__(self, network: TAGModel, volume_encoder: TAGVolumeEncoder):
        super().__init__()
        self.network = network
        self.volume_encoder = volume_encoder

    def forward(self, eeg: torch.Tensor, volume: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Predicted volumes, the EEG's codes, and the measured volumes' codes where these are given."""
        code, graph = self.network.encode(eeg)
        predicted = self.network.decode(code, graph), code
        return predicted if volume is None else (*predicted, self.volume_encoder(volume))
