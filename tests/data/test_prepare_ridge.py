"""What a ridge learns from prepared pairs: something where EEG and BOLD are coupled, nothing where they are not."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from eeg2fmri import PairedDataset
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.simulation import PRESETS, simulate_dataset

NUM_TRAINING, NUM_TEST, NUM_COUPLED = 20, 6, 15
PENALTY = 1e5
RECIPE = {
    "eeg_processor": {
        **{"electrodes": list(PRESETS["mini"].electrodes), "sampling_rate": 128.0, "mode": "log_power"},
        **{"num_frequencies": 11, "bins_per_frequency": 8, "num_windows": 10, "window_start": -20.0},
        **{"normalization": "training", "baseline": "recording", "clip": 6.0},
    },
    "volume_processor": {
        **{"mode": "change", "sample_size": [16, 32, 32], "grid_shape": [32, 32, 16], "repetition_time": 2.0},
        **{"smoothing_fwhm": 12.0, "high_pass": 0.008, "space": "mni"},
    },
}


def examples(dataset, maps):
    """Of every run, the stored windows as predictors and the networks' mean change, both with mean zero."""
    cores = (maps[:NUM_COUPLED] > 0.5).transpose(0, 3, 2, 1).reshape(NUM_COUPLED, -1).astype(np.float32)
    start = 0
    for run in dataset.runs:
        items = [dataset[index] for index in range(start, start + run["num_pairs"])]
        start += run["num_pairs"]
        inputs = torch.stack([item["eeg"] for item in items]).flatten(1).double().numpy()
        volumes = torch.stack([item["volume"] for item in items]).flatten(1).numpy()
        targets = volumes @ (cores / cores.sum(axis=1, keepdims=True)).T
        yield inputs - inputs.mean(axis=0), targets - targets.mean(axis=0)


def mean_correlation(level, folder):
    """Over the coupled networks and the test subjects, none of whom was trained on."""
    tree = simulate_dataset(folder / "tree", level=level, num_subjects=NUM_TRAINING + NUM_TEST)
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    pairs, _ = prepare_dataset(
        tree, folder / "pairs", recipe=folder / "recipe.json", num_validation=0, num_test=NUM_TEST
    )
    maps = load_file(next(tree.rglob("*_truth.safetensors")))["maps"]
    training, test = PairedDataset(pairs, "train"), PairedDataset(pairs, "test")
    assert (len(training.subjects), len(test.subjects)) == (NUM_TRAINING, NUM_TEST)
    inputs, targets = (np.concatenate(parts) for parts in zip(*examples(training, maps), strict=True))
    weights = np.linalg.solve(inputs.T @ inputs + PENALTY * np.eye(inputs.shape[1]), inputs.T @ targets)
    return np.mean(
        [
            np.corrcoef(inputs @ weights[:, network], targets[:, network])[0, 1]
            for inputs, targets in examples(test, maps)
            for network in range(NUM_COUPLED)
        ]
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ridge_learns_from_easy(tmp_path):
    assert mean_correlation("easy", tmp_path) > 0.25


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ridge_learns_nothing_from_null(tmp_path):
    assert abs(mean_correlation("null", tmp_path)) < 0.10
