"""Time generation: the EEG encoded once a window against once a step, and the number formats, side by side.

    python scripts/benchmark.py --model eeg2fmri-sim-small
    python scripts/benchmark.py --model paper          (networks of the paper's size, random weights)
    python scripts/benchmark.py --main-job recording.edf   (the whole command `generate`, its time and memory)
    python scripts/benchmark.py --main-job demo            (the same with --demo)
    python scripts/benchmark.py --main-job prepare         (`prepare` on two simulated subjects of NODDI's size)
    python scripts/benchmark.py --loader      (pairs of the paper's size a second, beside what training takes)

Every variant runs in turn, several rounds; ratios are those of medians. Absolute times are this machine's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.utils.data import DataLoader

from eeg2fmri import EEGProcessor, EPGModel, FDUNetModel, PairedDataset, VolumeProcessor
from eeg2fmri.data.index import FORMAT_VERSION, INDEX_NAME, write_json
from eeg2fmri.data.schemes import write_scheme
from eeg2fmri.data.simulation import simulate_dataset
from eeg2fmri.hub import load_pipeline, resolve_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="eeg2fmri-sim-small", help="Embedded name, folder, Hub id, or `paper`.")
    parser.add_argument("--steps", type=int, default=5, help="Denoising steps of one measurement.")
    parser.add_argument("--batch_size", type=int, default=2, help="Windows at once.")
    parser.add_argument("--rounds", type=int, default=5, help="Measurements of every variant.")
    parser.add_argument("--main-job", metavar="RECORDING", help="Time `generate` on it, or `demo`, or `prepare`.")
    parser.add_argument(
        "--loader", action="store_true", help="Time reading a paired dataset, made here, and training."
    )
    args = parser.parse_args()
    if args.loader:
        return _loader(args.rounds)
    if args.main_job is not None:
        return _main_job(args.main_job)

    networks = _networks(args.model)
    variants = {
        "naive (encoded every step), float32": (networks, False),
        "encoded once, float32": (networks, True),
        "encoded once, bfloat16, channels last": (tuple(_fast_copy(network) for network in networks), True),
    }
    inputs = _inputs(*networks, args.batch_size)
    outputs = {name: _denoise(*models, *inputs, args.steps, once) for name, (models, once) in variants.items()}
    times = {name: [] for name in variants}
    for _ in range(args.rounds):
        for name, (models, once) in variants.items():
            start = time.process_time()
            _denoise(*models, *inputs, args.steps, once)
            times[name].append(time.process_time() - start)
    _report(args, variants, outputs, times)


def _main_job(job: str) -> None:
    """Run the command in a process of its own and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        output = ["--output", f"{folder}/output"]
        if job == "prepare":
            dataset = simulate_dataset(f"{folder}/noddi", preset="noddi", num_subjects=2)
            arguments = ["prepare", str(dataset), "--layout", "noddi", "--test-subjects", "0", *output]
        else:
            arguments = ["generate", "--demo" if job == "demo" else job, *output]
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "eeg2fmri.cli", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"eeg2fmri {' '.join(arguments)} failed")
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    command = f"eeg2fmri {arguments[0]} {os.path.basename(arguments[1])}"
    print(f"{command}: {wall:.0f} s, {cpu:.0f} s of CPU, {peak:.0f} MB at the peak")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def _loader(rounds: int) -> None:
    """Read shuffled batches of 16 from a warm cache in one process, and take a few training steps' forward passes."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        dataset = PairedDataset(_random_pairs(Path(folder), num_runs=3, num_pairs=290))
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
        batches = [order[i : i + 16] for i in range(0, len(order), 16)]
        loader = DataLoader(dataset, sampler=batches, batch_size=None)
        for _batch in loader:
            pass
        wall, cpu = [], []
        for _ in range(rounds):
            start = time.perf_counter(), time.process_time()
            for _batch in loader:
                pass
            wall.append(len(dataset) / (time.perf_counter() - start[0]))
            cpu.append(len(dataset) / (time.process_time() - start[1]))
        batch = dataset[order[:2]]
    print(f"loader: {rounds} rounds of {len(order)} pairs of the paper's size, batches of 16, one process")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, torch {torch.__version__}")
    for name, rates in (("wall-clock", wall), ("CPU", cpu)):
        print(f"  pairs a {name} second: median {statistics.median(rates):.0f}, best {max(rates):.0f}", flush=True)
    torch.manual_seed(0)
    encoder, unet, steps = EPGModel(), FDUNetModel(), []
    for _ in range(3):
        start = time.process_time()
        tokens = encoder(batch["eeg"]).encoder_hidden_states
        unet(batch["volume"], torch.tensor([500, 500]), tokens).sample.square().mean().backward()
        steps.append(2 / (time.process_time() - start))
    print(f"  training takes {statistics.median(steps):.2f} pairs a CPU second (forward and backward, batch 2)")


def _random_pairs(folder: Path, num_runs: int, num_pairs: int) -> Path:
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


def _networks(model: str) -> tuple[EPGModel, FDUNetModel]:
    if model == "paper":
        torch.manual_seed(0)
        return EPGModel().eval(), FDUNetModel().eval()
    pipe = load_pipeline(resolve_model(model))
    return pipe.eeg_encoder, pipe.unet


def _fast_copy(network):
    copy = type(network).from_config(network.config).to(torch.bfloat16).eval()
    copy.load_state_dict(network.state_dict())
    for parameter in copy.parameters():
        if parameter.ndim == 5:  # other weights have no such memory format
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return copy


def _inputs(encoder: EPGModel, unet: FDUNetModel, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    eeg = torch.randn(batch_size, encoder.config.in_channels, *encoder.config.sample_size, generator=generator)
    volume = torch.randn(batch_size, unet.config.in_channels, *unet.config.sample_size, generator=generator)
    return eeg, volume


@torch.no_grad()
def _denoise(encoder, unet, eeg, volume, steps: int, once: bool) -> torch.Tensor:
    """The network calls of a denoising loop; a scheduler's own arithmetic costs nothing beside them."""
    dtype = unet.dtype
    eeg, volume = eeg.to(dtype), volume.to(dtype)
    tokens = encoder(eeg).encoder_hidden_states if once else None
    noise = volume[:, :1]
    for step in range(steps):
        used = tokens if once else encoder(eeg).encoder_hidden_states
        sample = torch.cat([noise, volume[:, 1:]], dim=1)
        noise = unet(sample, torch.tensor(900 - step), used).sample
    return noise.float()


def _report(args, variants, outputs, times) -> None:
    naive, once, fast = variants
    print(f"{args.model}: {args.steps} steps, batch {args.batch_size}, {args.rounds} rounds, CPU seconds")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, torch {torch.__version__}")
    for name in variants:
        print(f"  {name:42s} {statistics.median(times[name]):8.3f}")
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"encoding once is {median[naive] / median[once]:.2f} times faster than the naive loop")
    print(f"  equal to the bit: {torch.equal(outputs[naive], outputs[once])}")
    print(f"bfloat16 and channels last are {median[once] / median[fast]:.2f} times faster than float32")
    difference = (outputs[fast] - outputs[once]).norm() / outputs[once].norm()
    print(f"  relative difference {float(difference):.4f}")


if __name__ == "__main__":
    main()
