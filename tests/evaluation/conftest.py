"""Nine simulated subjects with strongly coupled EEG and BOLD, six of them for the test, and tiny models."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eeg2fmri import PairedDataset
from eeg2fmri.baselines.oracle import Oracle
from eeg2fmri.data.leaks import training_record
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.simulation import simulate_dataset
from eeg2fmri.evaluation import protocol
from eeg2fmri.evaluation.runs import DatasetRun
from eeg2fmri.hub import write_training_record
from eeg2fmri.recordings.bold import bold_image, write_bold
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.ef_diffusion import EFDiffusion

RECIPE = {
    "eeg_processor": {
        "electrodes": ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"],
        "mode": "log_power",
        "sampling_rate": 128.0,
        "num_frequencies": 11,
        "bins_per_frequency": 8,
        "num_windows": 5,
        "window_start": -10.0,
        "window_stop": 0.0,
        "baseline": "recording",
        "normalization": "training",
    },
    "volume_processor": {
        "mode": "change",
        "sample_size": [16, 32, 32],
        "grid_shape": [32, 32, 16],
        "repetition_time": 2.0,
        "space": "mni",
    },
}
NETWORKS = {
    "eeg_encoder": {"block_out_channels": [8, 8], "cross_attention_dim": 8, "norm_num_groups": 4},
    "unet": {"block_out_channels": [8, 8], "interaction_levels": [1], "norm_num_groups": 4, "patch_size": 4},
    "scheduler": {},
}


class Place:
    """The folders of the tests: raw data in `sim`, pairs in `pairs`, what the oracle predicts in `good`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.pairs, self.sim, self.good = (folder / name for name in ("pairs", "sim", "good"))

    def runs(self) -> list[DatasetRun]:
        dataset = PairedDataset(self.pairs, "test")
        return [DatasetRun(dataset, entry, self.sim) for entry in dataset.runs]

    def write(self, run: DatasetRun, volumes: np.ndarray, folder: Path) -> None:
        """Predicted volumes `[N, z, y, x]` as the protocol takes them."""
        image = bold_image(np.ascontiguousarray(volumes.T), run.affine, run.repetition_time, space="mni")
        write_bold(image, folder / f"{run.name}.nii.gz")

    def model(self, folder: Path, split: str = "default") -> Path:
        """An untrained pipeline that says that it was trained on a split."""
        dataset = PairedDataset(self.pairs, "train", split)
        torch.manual_seed(0)
        config = TrainingConfig(train_data_dir=str(self.pairs), output_dir=str(folder))
        EFDiffusion(config, NETWORKS, dataset).save(folder)
        write_training_record(folder, training_record(dataset))
        return folder

    def evaluate(self, output: Path, model="planted", **options) -> dict:
        settings = {"protocol": "quick", "root": self.sim, **options}
        if model == "planted":
            settings.setdefault("predictions", self.good)
        else:
            settings.setdefault("num_inference_steps", 10)
        return protocol.evaluate(str(model), self.pairs, output, **settings)

    @staticmethod
    def without_times(folder: Path) -> dict:
        """What must be the same bits in two runs of a command."""
        report = json.loads((folder / "results.json").read_text())
        for row in report["rows"].values():
            del row["seconds_per_volume"]
        return report


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("protocol")
    simulate_dataset(folder / "sim", level="easy", num_subjects=9, num_volumes=70)
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    options = {"num_validation": 1, "num_test": 6, "seed": 1}
    prepare_dataset(folder / "sim", folder / "pairs", recipe=folder / "recipe.json", **options)
    place = Place(folder)
    for run in place.runs():
        (volumes,) = Oracle().fit([]).predict(run).samples
        place.write(run, volumes, place.good)
    return place


@pytest.fixture
def own_pairs(place, tmp_path) -> Place:
    """The same place with pairs of its own, to which a test may add splits."""
    shutil.copytree(place.pairs, tmp_path / "pairs")
    own = Place(tmp_path)
    own.sim, own.good = place.sim, place.good
    return own


@pytest.fixture(autouse=True)
def few_images(request, monkeypatch):
    """Image scores of two volumes a run are as good here as of twenty, except where the protocol's time is tested."""
    if not request.module.__name__.endswith("test_levels"):
        monkeypatch.setitem(protocol.PROTOCOLS, "quick", replace(protocol.PROTOCOLS["quick"], image_volumes_per_run=2))
