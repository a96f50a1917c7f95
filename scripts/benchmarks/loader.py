"""Reading a paired dataset, made here: pairs a second, beside what training takes here and would take on a GPU."""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.utils.data import DataLoader

from eeg2fmri import EEGProcessor, EPGModel, FDUNetModel, PairedDataset, VolumeProcessor
from eeg2fmri.data.index import FORMAT_VERSION, INDEX_NAME, write_json
from eeg2fmri.data.schemes import write_scheme

from .flops import PEAK_TERAFLOPS, meta_networks, network_costs, pairs_per_second
from .measuring import machine, median, timed
from .peers import predict_ours
from .training import TrainingStep

GPU, UTILIZATIONS = "H100, H200", (0.3, 0.4)
TRAINING_STEPS = 3


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, help="Passes over the pairs.")


def run(options: Namespace) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        dataset = PairedDataset(write_random_pairs(Path(folder), num_runs=3, num_pairs=290))
        rates = reading_rates(dataset, options.rounds)
    print(f"loader: {options.rounds} rounds of {len(dataset)} pairs of the paper's size, batches of 16, one process")
    print(machine())
    for name, rate in rates.items():
        print(f"  {rate:.0f} pairs a {name} second, median")
    torch.manual_seed(0)
    unet = FDUNetModel()
    step = TrainingStep(EPGModel(), unet, predict_ours, unet.config.sample_size)
    seconds = median([step().whole for _ in range(TRAINING_STEPS)]).cpu
    print(f"  training takes {1 / seconds:.2f} pairs a CPU second (whole steps of one pair, float32):")
    print(f"  the loader is {rates['CPU'] * seconds:.0f} times faster")
    flops = network_costs(*meta_networks("paper"))[-1].training
    low, high = (pairs_per_second(flops, PEAK_TERAFLOPS[GPU], share) for share in UTILIZATIONS)
    print(f"  an H200 at {UTILIZATIONS[0]:.0%} to {UTILIZATIONS[1]:.0%} of its bfloat16 peak would take {low:.0f} to")
    print(f"  {high:.0f} a second (projected from {flops / 1e9:.0f} GFLOP a pair): the loader is", end=" ")
    print(f"{rates['CPU'] / high:.1f} to {rates['CPU'] / low:.1f} times faster")


def reading_rates(dataset: PairedDataset, rounds: int) -> dict[str, float]:
    """Pairs a second of wall-clock and of CPU time, in shuffled batches of 16 from a warm cache."""
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    batches = [order[i : i + 16] for i in range(0, len(order), 16)]
    loader = DataLoader(dataset, sampler=batches, batch_size=None)

    def read() -> None:
        for _batch in loader:
            pass

    read()
    seconds = median([timed(read) for _ in range(rounds)])
    return {"wall-clock": len(dataset) / seconds.wall, "CPU": len(dataset) / seconds.cpu}


def write_random_pairs(folder: Path, num_runs: int, num_pairs: int) -> Path:
    """A paired dataset of the paper's sizes (64 x 134 x 10 and 32 x 64 x 64) in mode `change`, of noise."""
    rng = np.random.default_rng(0)
    eeg = EEGProcessor(mode="log_power", num_frequencies=134, normalization="training")
    volume = VolumeProcessor(mode="change")
    column, grid = (1, 64, 134), (32, 64, 64)
    entries = []
    for name in map(str, range(num_runs)):
        spectra = rng.standard_normal((num_pairs + 9, *column), dtype=np.float32)
        arrays = {
            "spectra": spectra.astype(np.float16),
            "index": (np.arange(num_pairs)[:, None] + np.arange(10)).astype(np.int32),
            "volumes": rng.standard_normal((num_pairs, 1, *grid), dtype=np.float32).astype(np.float16),
            "volume_limits": np.zeros((num_pairs, 2), np.float32),
            "spectra_total": spectra.sum(0, dtype=np.float64),
            "spectra_squares": (spectra**2).sum(0, dtype=np.float64),
            "mean": np.full(grid, 1000.0, np.float32),
            "scale": np.full(grid, 10.0, np.float32),
            "mask": rng.random(grid) < 0.3,
        }
        path = folder / f"{name}.safetensors"
        save_file(arrays, path)
        reference = {"low": 0.0, "high": 2000.0, "affine": np.eye(4).tolist()}
        pairs = {
            "num_pairs": num_pairs,
            "volumes": list(range(num_pairs)),
            "onsets": [2.16 * i for i in range(num_pairs)],
        }
        files = {"file": path.name, "bytes": path.stat().st_size}
        entries.append({"name": name, "subject": name, "reference": reference, **files, **pairs})
    configurations = {"eeg_processor": dict(eeg.config), "volume_processor": dict(volume.config)}
    index = {"format_version": FORMAT_VERSION, **configurations, "runs": entries}
    stretches = {"train": {entry["name"]: (0, num_pairs) for entry in entries}, "validation": {}, "test": {}}
    write_scheme(folder / "splits" / "default", folder, index, stretches, {})
    write_json(folder / INDEX_NAME, index)
    return folder
