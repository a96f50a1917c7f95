"""Scores of a pipeline on held-out subjects of a small group: cheap ones, each beside its control."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.paired_dataset import PairedDataset
from ..metrics.temporal import temporal_correlation
from ..recipes import SECTIONS
from .config import TrainingConfig
from .ef_diffusion import EFDiffusion
from .objective import pair_seeds
from .validation import BATCH_SIZE, Validator

NUM_PAIRS = 512  # that the loss is computed on


@torch.no_grad()
def score(model: str, pairs: Path, seed: int) -> dict[str, Any]:
    """Score a pipeline on the test subjects, with and without the right EEG.

    Args:
        model (`str`): a published pipeline, or the output folder of a training.
        pairs (`Path`): the paired dataset.
        seed (`int`): of the noise.

    Returns:
        `dict`: `loss` and `loss_other_eeg` (the training objective on volumes with their own EEG window, and with
        another's), `r` and `r_other_eeg` (for each test subject the correlation over time of the one-step prediction
        with the measured volumes, the mean over voxels; the control takes the EEG of half a run earlier).
    """
    test = PairedDataset(pairs, "test")
    config = TrainingConfig(
        train_data_dir=str(pairs),
        output_dir="unused",
        seed=seed,
        pretrained_model_name_or_path=model,
        num_validation_pairs=NUM_PAIRS,
    )
    own = EFDiffusion(config, {name: {} for name in SECTIONS}, test)
    network = own.network.eval()
    losses = Validator(own, test, config, torch.device("cpu"), nullcontext).losses(network)
    correlations: dict[str, list[list[float]]] = {}
    first = 0
    for run in test.runs:
        indices = list(range(first, first + run["num_pairs"]))
        first += run["num_pairs"]
        shifted = np.roll(indices, len(indices) // 2).tolist()
        both = [_correlation(own, test, indices, eeg, seed) for eeg in (indices, shifted)]
        correlations.setdefault(run["subject"], []).append(both)
    by_subject = np.array([np.mean(runs, axis=0) for runs in correlations.values()])
    return {
        "loss": losses["validation_loss"],
        "loss_other_eeg": losses["validation_loss_other_eeg"],
        "r": by_subject[:, 0].tolist(),
        "r_other_eeg": by_subject[:, 1].tolist(),
    }


def _correlation(model: EFDiffusion, dataset: PairedDataset, indices: list[int], eeg: list[int], seed: int) -> float:
    """Over time, in every voxel that varies; the mean of these."""
    predicted, measured = [], []
    for start in range(0, len(indices), BATCH_SIZE):
        rows = range(start, min(start + BATCH_SIZE, len(indices)))
        batch = dataset[[indices[row] for row in rows]]
        batch["eeg"] = dataset[[eeg[row] for row in rows]]["eeg"]
        seeds = pair_seeds(seed, "score", 0, rows)
        predicted.append(model.predict(model.network, batch, seeds, 1).flatten(1).numpy())
        measured.append(batch["volume"].flatten(1).numpy())
    one, other = np.concatenate(predicted), np.concatenate(measured)
    varies = other.std(0) > 0
    return float(temporal_correlation(one[:, varies], other[:, varies]).mean())
