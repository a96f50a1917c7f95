"""`eeg2fmri explain`: what a pipeline looks at, held against what drives the simulator's BOLD."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ... import __version__
from ...baselines.run import NotAvailable
from ...data.leaks import refuse_leak
from ...data.paired_dataset import PairedDataset
from ...data.schemes import DEFAULT_SCHEME
from ...errors import FileError, InputError
from ...files import publish_folder
from ...hub import load_pipeline, read_training_record, resolve_model, revision_of
from ...pipeline import EEG2fMRIPipeline
from ..model_rows import check_model
from ..runs import DatasetRun, root_of
from .axes import BAND_NAMES, encoder_axes
from .collect import RunFindings, Settings, explain_run
from .figures import draw_figures
from .page import write_page
from .panels import Findings
from .ranks import CANDIDATE_NAMES
from .sources import DEFAULT_REFERENCE, Sources
from .summary import against_truth, by_band, over_subjects, words

SCHEMA_VERSION = 1
LARGEST = 10_000


def explain(
    model: str,
    dataset: str | os.PathLike,
    output: str | os.PathLike,
    *,
    windows_per_run: int = 8,
    num_inference_steps: int = 4,
    root: str | os.PathLike | None = None,
    revision: str | None = None,
    seed: int = 42,
    device: str = "cpu",
    data_split: str = DEFAULT_SCHEME,
) -> dict:
    """Explain a pipeline on the test runs of a paired dataset (paper, 3.3).

    Args:
        model: name of an embedded pipeline, a folder, or a Hub id.
        dataset: a paired dataset that its processors fit.
        output: a folder that does not exist yet: `explanation.json`, figures as PNG, `explanation.html`.
        windows_per_run: EEG windows of each run, evenly spread.
        num_inference_steps: denoising steps, over which attention is averaged.
        root: where the dataset's raw files are, if no longer where it was prepared from.
        revision: of a Hub repository.
        seed: of noise and permutations.
        device: where the networks run.
        data_split: name of a split of the dataset, whose test runs are looked at: a fold's model has its own.

    Returns:
        `dict`: what `explanation.json` holds; see docs/interpretability.md.

    Raises:
        InputError: an argument, other processors, or a test subject that the model was trained on.
        RecordingError, FileError, CheckpointError: before anything is written.
    """
    output = Path(output)
    for name, value in (("windows_per_run", windows_per_run), ("num_inference_steps", num_inference_steps)):
        if not 1 <= value <= LARGEST:
            raise InputError(name, found=str(value), expected=f"1 to {LARGEST}", remedy="Choose another number.")
    if output.exists():
        raise FileError(output, found="something already there", expected="a free path", remedy="Choose another.")
    test = PairedDataset(dataset, "test", data_split)
    place = root_of(test, None if root is None else Path(root))
    folder = resolve_model(model, revision)
    record = read_training_record(folder)
    refuse_leak(record, test)
    pipe = _prepared(load_pipeline(folder), device)
    runs = [DatasetRun(test, entry, place) for entry in tqdm(test.runs, desc="Test runs", unit="run", disable=None)]
    check_model(pipe, runs[0])
    simulated = all(run.coupling is not None for run in runs)
    sources, not_available = _sources(pipe, runs, simulated)
    regions = runs[0].regions
    rows = np.flatnonzero(~regions.of("parcel")) if not regions.of("parcel").all() else np.arange(len(regions.names))
    settings = Settings(windows_per_run, num_inference_steps, seed, rows)
    findings = [
        explain_run(run, pipe, position, settings, sources)
        for position, run in enumerate(tqdm(runs, desc="Explained runs", unit="run", disable=None))
    ]
    names = [regions.names[row] for row in rows]
    present = np.all([run.regions.present[rows] for run in runs], axis=0)
    measures = {}
    if simulated:
        coupling = [run.coupling[0] for run in runs]  # type: ignore[index]
        measures = against_truth(findings, names, present, coupling, seed)
    explanation = {
        "schema_version": SCHEMA_VERSION,
        "found": words(measures, not_available, len(test.subjects)),
        "model": {"name": model, "revision": revision_of(folder), "training_subjects_known": record is not None},
        "dataset": {"folder": test.folder.resolve().name, "test_subjects": test.subjects, "simulated": simulated},
        "settings": {
            "data_split": data_split,
            "windows_per_run": windows_per_run,
            "steps": num_inference_steps,
            "seed": seed,
            "sampler": type(pipe.scheduler).__name__,
            "device": device,
            "eeg2fmri": __version__,
        },
        "not_available": not_available,
        "axes": _axes(pipe),
        "regions": {
            name: {"kind": regions.kinds[row], "present": bool(own)}
            for name, row, own in zip(names, rows, present, strict=True)
        },
        **_numbers(findings, names),
        "truth": measures,
    }
    with publish_folder(output) as staging:
        (staging / "explanation.json").write_text(json.dumps(explanation, indent=1) + "\n")
        shown = Findings(explanation, findings, runs[0], pipe)
        figures = draw_figures(shown, staging)
        write_page(explanation, figures, staging / "explanation.html")
    return explanation


def _prepared(pipe: EEG2fMRIPipeline, device: str) -> EEG2fMRIPipeline:
    if not isinstance(pipe, EEG2fMRIPipeline):
        raise InputError(
            "model", found=type(pipe).__name__, expected="an EEG2fMRIPipeline", remedy="Explain a diffusion model."
        )
    pipe = pipe.to(torch.device(device))
    for component in (pipe.eeg_encoder, pipe.unet, pipe.prior):
        if component is not None:
            component.eval().requires_grad_(False)
    return pipe


def _sources(
    pipe: EEG2fMRIPipeline, runs: Sequence[DatasetRun], simulated: bool
) -> tuple[Sources | None, dict[str, str]]:
    """The template head's sources, and for everything that can't be had why."""
    reasons = {}
    if pipe.eeg_encoder.config.encoder != "epg":
        reasons["fusion"] = "the model's encoder is linear: it has no MHRSA"
    if pipe.unet.config.conditioning != "ciim":
        reasons["attention"] = "the model has no CIIM: the EEG is added at every place alike"
    if not simulated:
        reasons["truth"] = "the dataset is measured: its driving networks aren't known"
    reference = runs[0].coupling[1] if runs[0].coupling is not None else DEFAULT_REFERENCE
    try:
        sources = Sources(pipe.eeg_processor.config.electrodes, reference, simulated)
    except NotAvailable as error:
        sources = None
        reasons["response"] = f"{error.subject}: {error.found}; needs {error.expected}"
    return sources, reasons


def _axes(pipe: EEG2fMRIPipeline) -> dict:
    axes = encoder_axes(pipe)
    return {
        "electrodes": list(pipe.eeg_processor.config.electrodes),
        "encoder_reads": "spectrogram" if pipe.prior is None else "band powers of the prior's filters",
        "frequency_ranges": axes.ranges.tolist(),
        "lags": axes.lags.tolist(),
        "bands": list(BAND_NAMES),
        "candidates": list(CANDIDATE_NAMES),
    }


def _numbers(findings: Sequence[RunFindings], names: Sequence[str]) -> dict:
    """Means over subjects."""
    first = findings[0]

    def mean(name: str, key: str | int | None = None) -> np.ndarray:
        return over_subjects(findings, name, key).mean(axis=0)

    return {
        "fusion": [mean("fusion", stage).tolist() for stage in range(len(first.fusion))],
        "attention": None if first.attention is None else _by_region(mean("attention"), names),
        "response": {
            target: {
                "electrodes": _by_region(mean("electrode_response", target), names),
                "networks": _by_region(mean("source_response", target), names) if networks.shape[-1] else None,
            }
            for target, networks in first.source_response.items()
        },
    }


def _by_region(values: np.ndarray, names: Sequence[str]) -> dict[str, dict]:
    """`[region, band, window, place]`: the sums over places by band and lag, and over lags by band and place."""
    return {
        name: {"by_band_and_lag": by_band(own.sum(axis=-1)), "by_band_and_place": by_band(own.sum(axis=1))}
        for name, own in zip(names, values, strict=True)
    }
