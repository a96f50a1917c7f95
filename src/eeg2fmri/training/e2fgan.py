"""E2fGAN as a trainable model: generator and discriminator by one loss and one optimizer."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from ..baselines.networks.e2fgan import E2fGANDiscriminator, E2fGANModel
from ..data.paired_dataset import PairedDataset
from ..metrics.image import ssim_of_tensors
from .regression import Regression

SSIM_DEFINITION = "ssim_2d"
SMALLEST_RANGE = 1e-6
DISCRIMINATOR_CHANNELS = (64, 64, 128, 128)  # the original's; fewer layers where slices can't be halved as often


class AdversarialNetwork(nn.Module):
    """Generator (`network`) and discriminator, so joined that one backward gives each the gradient of its own loss.

    The discriminator judges every prediction twice: detached, for its own loss, whose gradient thus ends before the
    generator; and with its weights detached, for the generator's, whose gradient passes through it and leaves it as
    it is. The sum of both losses has no other gradient, so that its descent is the simultaneous descent of both
    players.
    """

    def __init__(self, network: E2fGANModel, discriminator: E2fGANDiscriminator):
        super().__init__()
        self.network = network
        self.discriminator = discriminator

    def forward(self, eeg: torch.Tensor, volume: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Predicted volumes `[B, 1, D, H, W]`; where measured ones are given, also the log odds `[B]` that the
        discriminator gives the measured and the predicted volumes, and those that the generator sees."""
        (predicted,) = self.network(eeg, return_dict=False)
        if volume is None:
            return (predicted,)
        frozen = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        return (
            predicted,
            self.discriminator(volume),
            self.discriminator(predicted.detach()),
            functional_call(self.discriminator, frozen, (predicted,)),
        )


class E2fGAN(Regression):
    r"""E2fNet as a generator, against a discriminator; see [`TrainableModel`] for what the methods promise.

    The generator's loss is \( \frac12 (1 - SSIM) + \frac12 MSE - \ln D(\hat y) \), the discriminator's
    \( -\frac12 (\ln D(y) + \ln(1 - D(\hat y))) \), both as in the original (Roos, Fukuda and Cap 2025). Their sum is
    trained: [`AdversarialNetwork`] keeps the gradients apart. Only the generator is published.

    Differs from the original in: both players move at once, from the same weights, not one after the other; gradients
    are clipped by their common norm; SSIM's data range is that of each measured volume, which is the original's for
    min-max volumes and gives changes one too.

    Args:
        recipe (`dict`): the recipe.
        dataset ([`PairedDataset`]): decides what sizes windows and volumes have.

    Raises:
        InputError: when the recipe can't be, or slices are smaller than SSIM's window.
    """

    def __init__(self, recipe: dict[str, dict], dataset: PairedDataset):
        super().__init__(E2fGANModel, "e2fgan", recipe, dataset)
        slices = torch.zeros(1, *self.volume_processor.config.sample_size)
        ssim_of_tensors(slices, slices, SSIM_DEFINITION, 1.0)

    def _with_partner(self, regressor: E2fGANModel) -> nn.Module:
        size = tuple(regressor.config.volume_size)
        widths = tuple(
            width
            for layer, width in enumerate(DISCRIMINATOR_CHANNELS, start=1)
            if not any(length % 2**layer for length in size[1:])
        )
        return AdversarialNetwork(regressor, E2fGANDiscriminator(volume_size=size, block_out_channels=widths))

    def loss(self, network: nn.Module, batch: dict[str, torch.Tensor], seeds: list[int]) -> torch.Tensor:
        """Both players' losses in training, the reconstruction alone in validation; nothing is drawn."""
        if not network.training:
            return reconstruction_loss(self.predict(network, batch, seeds, 1), batch["volume"])
        predicted, measured_odds, predicted_odds, generator_odds = network(batch["eeg"], batch["volume"])
        return (
            reconstruction_loss(predicted, batch["volume"])
            + functional.softplus(-generator_odds.float())
            + discriminator_loss(measured_odds, predicted_odds)
        )


def reconstruction_loss(predicted: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
    r"""\( \frac12 (1 - SSIM) + \frac12 MSE \) of every pair `[B]`, SSIM slice by slice.

    Args:
        predicted, measured (`torch.Tensor` of shape `[B, 1, D, H, W]`).
    """
    with torch.autocast(predicted.device.type, enabled=False):  # SSIM takes differences of squares
        predicted, measured = predicted.float().squeeze(1), measured.float().squeeze(1)
        scale = (measured.amax((1, 2, 3)) - measured.amin((1, 2, 3))).clamp(min=SMALLEST_RANGE)
        similarity = ssim_of_tensors(predicted, measured, SSIM_DEFINITION, scale[:, None, None, None])
        error = (predicted - measured).square().flatten(1).mean(1)
    return 0.5 * (1 - similarity) + 0.5 * error


def discriminator_loss(measured_odds: torch.Tensor, predicted_odds: torch.Tensor) -> torch.Tensor:
    r"""\( -\frac12 (\ln D(y) + \ln(1 - D(\hat y))) \) of every pair `[B]`, from log odds `[B]`."""
    return 0.5 * (functional.softplus(-measured_odds.float()) + functional.softplus(predicted_odds.float()))
