"""Does a model use the EEG? Temporal correlation on simulated test subjects, never without its controls."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from tqdm.auto import tqdm

from ..baselines.ridge import SensorRidge
from ..data.alignment import align_run
from ..data.paired_dataset import PairedDataset
from ..data.simulation import DARK_NETWORK
from ..errors import InputError
from ..metrics.statistics import circular_shift_null, fisher_mean_interval, swapped_subject_scores
from ..metrics.temporal import temporal_correlation, without_global
from ..pipeline import EEG2fMRIPipeline
from ..recordings.layouts import RunFiles, find_bids_runs

MAP_THRESHOLD = 0.5  # of a network's map, for the voxels that are averaged


@dataclass(frozen=True)
class TestRun:
    """A simulated run as a model sees it, with what is true."""

    __test__ = False

    windows: np.ndarray  # [N, C, electrode, frequency, window]
    measured: np.ndarray  # [N, network], mean standardised change
    coupled: np.ndarray  # [N, network], the part that the EEG drives
    repetition_time: float


@dataclass(frozen=True)
class Networks:
    """Averages model volumes over the simulator's networks."""

    names: tuple[str, ...]
    maps: np.ndarray  # [network, D, H, W], boolean

    def series(self, volumes: np.ndarray) -> np.ndarray:
        """Model volumes `[N, 1, D, H, W]` to `[N, network]`."""
        flat = volumes.reshape(len(volumes), -1).astype(np.float64)
        masks = self.maps.reshape(len(self.maps), -1).astype(np.float64)
        return flat @ (masks / masks.sum(1, keepdims=True)).T


def evaluate_coupling(
    pipe: EEG2fMRIPipeline, dataset: PairedDataset, root: Path, *, num_inference_steps: int, batch_size: int, seed: int
) -> dict:
    """Score a pipeline of the `change` mode on a simulated BIDS dataset whose subjects it has never seen.

    Rows: the conditional mean (the volume that a single step predicts from pure noise), one sample of the full
    sampler, the sensor ridge fitted on the same training subjects, and the part of the signal that the EEG truly
    drives. Controls of the two model rows: the same volumes against time shifted by at least 40 s (in a circle), and
    against another subject's measurement.

    Args:
        pipe ([`EEG2fMRIPipeline`]): to be scored.
        dataset ([`PairedDataset`]): what it was trained on, for the ridge.
        root (`Path`): the simulated test dataset with its `derivatives/truth`.
        num_inference_steps (`int`): of the samples.
        batch_size (`int`): windows denoised at once.
        seed (`int`): of noise and bootstrap.

    Returns:
        `dict`: settings and, for every row, mean correlation with its 95 % confidence interval over subjects.
    """
    files = find_bids_runs(root)
    networks = _read_networks(pipe, root, files[0])
    runs = [_read_run(pipe, networks, root, file) for file in tqdm(files, desc="Reading", unit="run")]
    mean, sample = ([] for _ in range(2))
    for i, run in enumerate(tqdm(runs, desc="Generating", unit="run")):
        mean.append(networks.series(_generate(pipe, run, 1, batch_size, seed + i)))
        sample.append(networks.series(_generate(pipe, run, num_inference_steps, batch_size, seed + i)))
    ridge = SensorRidge().fit(_training_runs(dataset, networks))
    predictions = {
        "conditional mean (1 step)": mean,
        f"one sample ({num_inference_steps} steps)": sample,
        "sensor ridge": [ridge.predict(run.windows) for run in runs],
        "EEG-driven part (truth)": [run.coupled for run in runs],
    }
    generator = np.random.default_rng(seed)
    rows = {name: _score(series, runs, generator) for name, series in predictions.items()}
    return {
        "num_test_subjects": len(runs),
        "num_volumes": [len(run.windows) for run in runs],
        "num_training_subjects": len(dataset.subjects),
        "networks": list(networks.names),
        "num_inference_steps": num_inference_steps,
        "sampler": type(pipe.scheduler).__name__,
        "dtype": str(pipe.unet.dtype),
        "seed": seed,
        "rows": rows,
    }


def _generate(pipe: EEG2fMRIPipeline, run: TestRun, steps: int, batch_size: int, seed: int) -> np.ndarray:
    latents = pipe(
        torch.from_numpy(run.windows),
        num_inference_steps=steps,
        output_type="latent",
        batch_size=batch_size,
        generator=torch.Generator().manual_seed(seed),
    ).volumes
    return latents.float().cpu().numpy()


def _score(predicted: list[np.ndarray], runs: list[TestRun], generator: np.random.Generator) -> dict:
    measured = [run.measured for run in runs]
    own = np.array([_mean_r(p, m) for p, m in zip(predicted, measured, strict=True)])
    net = np.array([_mean_r(without_global(p), without_global(m)) for p, m in zip(predicted, measured, strict=True)])
    null = circular_shift_null(_mean_r, predicted, measured, runs[0].repetition_time)
    other = swapped_subject_scores(_mean_r, predicted, measured)
    return {
        "r": asdict(fisher_mean_interval(own, generator)),
        "r_net_of_global": asdict(fisher_mean_interval(net, generator)),
        "r_shifted_eeg_95th_percentile": null.percentile_95,
        "p_shifted_eeg": null.p,
        "r_other_subject": asdict(fisher_mean_interval(other, generator)),
        "r_per_subject": np.round(own, 4).tolist(),
    }


def _mean_r(predicted: np.ndarray, measured: np.ndarray) -> float:
    return float(temporal_correlation(predicted, measured).mean())


def _training_runs(dataset: PairedDataset, networks: Networks):
    start = 0
    for run in tqdm(dataset.runs, desc="Ridge", unit="run"):
        items = [dataset[i] for i in range(start, start + run["num_pairs"])]
        start += run["num_pairs"]
        yield (
            torch.stack([item["eeg"] for item in items]).numpy(),
            networks.series(torch.stack([item["volume"] for item in items]).numpy()),
        )


def _read_run(pipe: EEG2fMRIPipeline, networks: Networks, root: Path, files: RunFiles) -> TestRun:
    aligned = align_run(files, pipe.eeg_processor)
    truth, names = _read_truth(root, files)
    driven = [names.index(name) for name in networks.names]
    return TestRun(
        windows=pipe.eeg_processor(aligned.recording, onsets=aligned.onsets).windows,
        measured=networks.series(pipe.volume_processor.preprocess(aligned.bold)[aligned.volumes]),
        coupled=truth["coupled"][driven].T[aligned.volumes],
        repetition_time=aligned.repetition_time,
    )


def _read_truth(root: Path, files: RunFiles) -> tuple[dict[str, np.ndarray], list[str]]:
    stem = root / "derivatives" / "truth" / f"sub-{files.subject}" / f"{files.name}_truth"
    if not stem.with_suffix(".safetensors").is_file():
        raise InputError(
            "root",
            found=f"no {stem.name}.safetensors in derivatives/truth",
            expected="a dataset made by `eeg2fmri simulate`",
            remedy="Simulate one with a seed that no model was trained on.",
        )
    names = json.loads(stem.with_suffix(".json").read_text())["network_names"]
    return load_file(stem.with_suffix(".safetensors")), names


def _read_networks(pipe: EEG2fMRIPipeline, root: Path, files: RunFiles) -> Networks:
    """The networks that the EEG can drive: all but the dark one."""
    truth, names = _read_truth(root, files)
    driven = [i for i, name in enumerate(names) if name != DARK_NETWORK]
    maps = pipe.volume_processor.pad(truth["maps"][driven].transpose(0, 3, 2, 1)) > MAP_THRESHOLD
    return Networks(tuple(names[i] for i in driven), maps)
