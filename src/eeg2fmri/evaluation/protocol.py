"""`eeg2fmri evaluate`: every row on every test run, the table, the verdict, the report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from .. import __version__
from ..data.index import INDEX_NAME
from ..data.leaks import refuse_leak
from ..data.paired_dataset import PairedDataset
from ..errors import FileError, InputError
from ..files import publish_folder, sha256
from ..hub import load_pipeline, model_index, read_training_record, resolve_model, revision_of
from .gather import Cache, TrainingRuns, gather
from .model_rows import check_model
from .outside import NIfTIPredictions
from .report import write_report
from .rows import MODEL, ONE_SAMPLE, Row, baseline_rows, model_rows
from .runs import DatasetRun, root_of
from .scores import check_length, check_subjects, primary_kind, score_rows
from .tables import write_csv
from .verdict import judge

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Protocol:
    """How much is computed.

    Args:
        samples: of every volume, by the model.
        control_samples: likewise, by the model without its EEG.
        image_volumes_per_run: volumes of each run for the image scores; all by default.
    """

    samples: int
    control_samples: int
    image_volumes_per_run: int | None = None


PROTOCOLS = {"full": Protocol(32, 4), "quick": Protocol(4, 1, image_volumes_per_run=20)}


def evaluate(
    model: str,
    dataset: str | os.PathLike,
    output: str | os.PathLike,
    *,
    protocol: str = "full",
    num_samples: int | None = None,
    predictions: str | os.PathLike | None = None,
    root: str | os.PathLike | None = None,
    revision: str | None = None,
    num_inference_steps: int = 10,
    batch_size: int = 16,
    seed: int = 42,
    device: str = "cpu",
    dtype: str = "float32",
) -> dict:
    """Score a model on the test subjects of a paired dataset, beside every baseline and control.

    What is finished of an interrupted evaluation lies in the hidden folder `.OUTPUT.partial` beside the output, and is
    used when the same command is given again.

    Args:
        model: name of an embedded pipeline, a folder, or a Hub id; with `predictions`, any name for the outside model.
        dataset: a paired dataset; its training subjects fit the baselines.
        output: a folder that does not exist yet: `results.json`, `results.csv`, `report.html`, `model_index.yml`.
        protocol: `"full"` or `"quick"`.
        num_samples: of every volume, instead of the protocol's.
        predictions: a folder with one NIfTI for each test run, of another model.
        root: where the dataset's raw files are, if no longer where it was prepared from.
        revision: of a Hub repository.
        num_inference_steps: denoising steps of a sample.
        batch_size: volumes denoised at once.
        seed: of noise, shifts and bootstrap.
        device: where the networks run.
        dtype: of the networks, `"float32"` or `"bfloat16"`.

    Returns:
        `dict`: what `results.json` holds; see docs/evaluation.md.

    Raises:
        InputError: an argument, too few test subjects, or a test subject that the model was trained on.
        RecordingError, FileError, CheckpointError: before anything is written.
    """
    output = Path(output)
    amount = _amount(protocol, num_samples)
    if output.exists():
        raise FileError(output, found="something already there", expected="a free path", remedy="Choose another.")
    test = PairedDataset(dataset, "test")
    check_subjects(test.subjects)
    place = root_of(test, None if root is None else Path(root))
    folder = Path(predictions) if predictions is not None else resolve_model(model, revision)
    record = None if predictions is not None else read_training_record(folder)
    refuse_leak(record, test)
    runs = [DatasetRun(test, entry, place) for entry in tqdm(test.runs, desc="Test runs", unit="run", disable=None)]
    for run in runs:
        check_length(run)
    settings = {"protocol": protocol, **asdict(amount), "steps": num_inference_steps, "seed": seed}
    if predictions is not None:
        own_rows = [Row(MODEL, model, "not known", NIfTIPredictions(predictions, runs))]
        settings |= {"samples": 1, "control_samples": 0, "steps": None}
    else:
        pipe = load_pipeline(folder).to(torch.device(device), _dtype(dtype))
        pipe.set_progress_bar_config(disable=True)
        check_model(pipe, runs[0])
        settings |= {
            "sampler": type(pipe.scheduler).__name__,
            "batch_size": batch_size,
            "device": device,
            "dtype": dtype,
        }
        own_rows = model_rows(
            pipe,
            runs,
            num_samples=amount.samples,
            num_control_samples=amount.control_samples,
            num_inference_steps=num_inference_steps,
            batch_size=batch_size,
            seed=seed,
        )
    rows = [*baseline_rows(), *own_rows]
    partial = output.parent / f".{output.name}.partial"
    files = _checksums(folder)
    identity = {**settings, "version": __version__, "files": files, "dataset": _checksum_of(test)}
    results, unavailable = gather(
        rows, runs, TrainingRuns(test.folder, place), Cache(partial, identity), amount.image_volumes_per_run
    )
    table = _described(rows, score_rows(results, runs, seed))
    report = {
        "schema_version": SCHEMA_VERSION,
        "verdict": judge(table, len(test.subjects), record is not None, primary_kind(runs[0].regions)),
        "model": {"name": model, "revision": revision_of(folder), "files": files},
        "dataset": _dataset(test, runs),
        "settings": {**settings, "eeg2fmri": __version__},
        "rows": table,
        "not_available": unavailable,
    }
    with publish_folder(output) as staging:
        (staging / "results.json").write_text(json.dumps(report, indent=1) + "\n")
        write_csv(report, staging / "results.csv")
        write_report(report, results, runs, staging / "report.html")
        (staging / "model_index.yml").write_text(model_index(report))
    shutil.rmtree(partial, ignore_errors=True)
    return report


def _dtype(name: str) -> torch.dtype:
    if name not in ("float32", "bfloat16"):
        raise InputError("dtype", found=repr(name), expected="float32 or bfloat16", remedy="Choose one.")
    return getattr(torch, name)


def _amount(protocol: str, num_samples: int | None) -> Protocol:
    if protocol not in PROTOCOLS:
        raise InputError(
            "protocol", found=repr(protocol), expected=f"one of {', '.join(PROTOCOLS)}", remedy="Choose one."
        )
    amount = PROTOCOLS[protocol]
    if num_samples is None:
        return amount
    if num_samples < 1:
        raise InputError("samples", found=str(num_samples), expected="at least 1", remedy="Ask for one or more.")
    return replace(amount, samples=num_samples, control_samples=min(num_samples, amount.control_samples))


def _checksums(folder: Path) -> dict[str, str]:
    """Of the weights and processors, or of the predictions."""
    suffixes = (".safetensors", ".json", ".nii", ".gz")
    return {
        str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.suffix in suffixes
    }


def _checksum_of(dataset: PairedDataset) -> str:
    return sha256(dataset.folder / INDEX_NAME)


def _described(rows: Sequence[Row], scored: dict[str, dict]) -> dict[str, dict]:
    """The scored rows in the table's order, with what they are."""
    table = {}
    for row in rows:
        if row.name == MODEL and ONE_SAMPLE in scored:
            one = replace(row, name=ONE_SAMPLE, title="model, one sample", num_samples=1)
            table[ONE_SAMPLE] = {**_description(one), **scored[ONE_SAMPLE]}
        if row.name in scored:
            table[row.name] = {**_description(row), **scored[row.name]}
    return table


def _description(row: Row) -> dict:
    return {
        "title": row.title,
        "sees": row.sees,
        "samples": row.num_samples,
        "network_calls_per_volume": row.num_samples * row.num_steps,
    }


def _dataset(dataset: PairedDataset, runs: Sequence[DatasetRun]) -> dict:
    config = dataset.volume_processor.config
    first = runs[0]
    return {
        "folder": dataset.folder.resolve().name,
        "test_subjects": sorted({run.subject for run in runs}),
        "num_test_runs": len(runs),
        "num_volumes": [len(run.onsets) for run in runs],
        "num_training_subjects": len(PairedDataset(dataset.folder, "train").subjects),
        "simulated": first.truth is not None,
        "grid": list(first.mean.shape[::-1]),
        "repetition_time": first.repetition_time,
        "space": config.space,
        "target": config.mode,
        "image_normalisation": "each volume from 0 to 1; no padding",
        "regions": [
            name for name, kind in zip(first.regions.names, first.regions.kinds, strict=True) if kind != "parcel"
        ],
        "num_parcels": int(first.regions.of("parcel").sum()),
        "scored_regions": primary_kind(first.regions),
    }
