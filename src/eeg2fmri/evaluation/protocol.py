"""`eeg2fmri evaluate`: every row on every test run, the table, the verdict, the report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import __version__
from ..cards import model_index
from ..data.index import INDEX_NAME
from ..data.leaks import is_complete
from ..data.schemes import DEFAULT_SCHEME, SPLIT_NAME, SPLITS_FOLDER
from ..errors import FileError, InputError
from ..files import publish_folder, sha256
from .against import compare, read_scores, refuse_other_runs
from .entrants import NOBODY, Entrant, FilesEntrant, NoEntrant, PipelineEntrant, Sampling
from .folds import Fold, describe, find_folds, refuse_other_data
from .gather import Cache, Part, RunReader, TrainingRuns, gather
from .report import write_report
from .rows import MODEL, ONE_SAMPLE, Row, baseline_rows
from .runs import DatasetRun, root_of
from .scores import check_length, check_subjects, check_timing, primary_kind, score_rows
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
    data_split: str = DEFAULT_SCHEME,
    protocol: str = "full",
    num_samples: int | None = None,
    predictions: str | os.PathLike | None = None,
    root: str | os.PathLike | None = None,
    revision: str | None = None,
    num_inference_steps: int | None = None,
    batch_size: int = 16,
    seed: int = 42,
    device: str = "cpu",
    dtype: str = "float32",
    against: str | os.PathLike | None = None,
) -> dict:
    """Score a model on the test subjects of a paired dataset, beside every baseline and control.

    What is finished of an interrupted evaluation lies in the hidden folder `.OUTPUT.partial` beside the output, and is
    used when the same command is given again.

    Args:
        model: name of an embedded pipeline, a folder, or a Hub id; with `predictions`, any name for the outside model;
            `"none"` scores the baselines alone. `{split}` in it stands for the name of the split.
        dataset: a paired dataset; its training subjects fit the baselines.
        output: a folder that does not exist yet: `results.json`, `results.csv`, `report.html`, `model_index.yml`.
        data_split: name of a split of the dataset, or a pattern for several, such as `"cv-*"`: each fold's test
            subjects are predicted by its model, with baselines fitted on its training subjects, and all are pooled.
        protocol: `"full"` or `"quick"`.
        num_samples: of every volume, instead of the protocol's.
        predictions: a folder with one NIfTI for each test run, of another model; may hold `{split}` as well.
        root: where the dataset's raw files are, if no longer where it was prepared from.
        revision: of a Hub repository.
        num_inference_steps: denoising steps of a sample; by default those that the pipeline was published for.
        batch_size: volumes denoised at once.
        seed: of noise, shifts and bootstrap.
        device: where the networks run and SSIM is computed.
        dtype: of the networks, `"float32"` or `"bfloat16"`.
        against: the output of another model's evaluation on the same runs, to be compared with.

    Returns:
        `dict`: what `results.json` holds; see docs/evaluation.md.

    Raises:
        InputError: an argument, too few test subjects, a subject that is tested twice or that its model was trained
            on, models of folds of different datasets, or results of other runs to compare with.
        RecordingError, FileError, CheckpointError: before anything is written.
    """
    output = Path(output)
    amount = _amount(protocol, num_samples)
    _check_dtype(dtype)
    if output.exists():
        raise FileError(output, found="something already there", expected="a free path", remedy="Choose another.")
    other = None if against is None else read_scores(against)
    folds = find_folds(Path(dataset), data_split)
    subjects = [subject for fold in folds for subject in fold.test.subjects]
    check_subjects(subjects)
    place = root_of(folds[0].test, None if root is None else Path(root))
    sampling = Sampling(
        amount.samples, amount.control_samples, num_inference_steps, batch_size, seed, device=device, dtype=dtype
    )
    entrants = [_entrant(model, predictions, revision, fold, sampling) for fold in folds]
    refuse_other_data({fold.name: entrant.record for fold, entrant in zip(folds, entrants, strict=True)})
    parts = _read(folds, entrants, RunReader(place))
    runs = [run for part in parts for run in part.runs]
    settings = {
        "protocol": protocol,
        "seed": seed,
        "data_split": data_split,
        "image_volumes_per_run": amount.image_volumes_per_run,
        **entrants[0].settings,
        "eeg2fmri": __version__,
    }
    described = _dataset(folds, runs)
    if other is not None:
        refuse_other_runs(other, described, settings)
    own_files = {fold.name: _identity(fold, entrant) for fold, entrant in zip(folds, entrants, strict=True)}
    identity = {
        **settings,
        "dataset": sha256(Path(dataset) / INDEX_NAME),
        "folds": own_files,
    }
    partial = output.parent / f".{output.name}.partial"
    results, unavailable = gather(parts, Cache(partial, identity), amount.image_volumes_per_run, device)
    table = _described(parts[0].rows, score_rows(results, runs, seed))
    training_known = all(is_complete(entrant.record) for entrant in entrants)
    report = {
        "schema_version": SCHEMA_VERSION,
        "verdict": judge(table, len(subjects), training_known, primary_kind(runs[0].regions)),
        "model": {
            "name": model,
            "revision": entrants[0].revision,
            "files": {name: fold["files"] for name, fold in own_files.items()},
        },
        "dataset": described,
        "settings": settings,
        "rows": table,
        "not_available": unavailable,
        "against": None if other is None or MODEL not in table else compare(table, other, seed),
    }
    with publish_folder(output) as staging:
        (staging / "results.json").write_text(json.dumps(report, indent=1) + "\n")
        write_csv(report, staging / "results.csv")
        write_report(report, results, runs, staging / "report.html")
        if MODEL in table:
            (staging / "model_index.yml").write_text(model_index(report))
    shutil.rmtree(partial, ignore_errors=True)
    return report


def _read(folds: Sequence[Fold], entrants: Sequence[Entrant], reader: RunReader) -> list[Part]:
    """Each fold's rows and runs, all checked."""
    tested = [reader.read(fold.test, "Test runs") for fold in folds]
    runs = [run for own in tested for run in own]
    check_timing(runs)
    for run in runs:
        check_length(run)
        _ = run.task  # a table that can't be read is refused now
    return [
        Part([*baseline_rows(), *entrant.rows(own, runs)], own, TrainingRuns(fold.training, reader))
        for fold, entrant, own in zip(folds, entrants, tested, strict=True)
    ]


def _check_dtype(name: str) -> None:
    if name not in ("float32", "bfloat16"):
        raise InputError("dtype", found=repr(name), expected="float32 or bfloat16", remedy="Choose one.")


def _entrant(
    model: str, predictions: str | os.PathLike | None, revision: str | None, fold: Fold, sampling: Sampling
) -> Entrant:
    if predictions is not None:
        return FilesEntrant(model, fold.named(os.fspath(predictions)))
    return NoEntrant() if model == NOBODY else PipelineEntrant(fold.named(model), revision, fold, sampling)


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


def _identity(fold: Fold, entrant: Entrant) -> dict:
    """Checksums of what the results of a fold depend on: the split, and weights and processors, or predictions."""
    suffixes = (".safetensors", ".json", ".nii", ".gz")
    folder = entrant.folder
    files = [] if folder is None else [path for path in sorted(folder.rglob("*")) if path.suffix in suffixes]
    return {
        "split": sha256(fold.test.folder / SPLITS_FOLDER / fold.name / SPLIT_NAME),
        "files": {str(path.relative_to(folder or "")): sha256(path) for path in files},
    }


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


def _dataset(folds: Sequence[Fold], runs: Sequence[DatasetRun]) -> dict:
    config = folds[0].test.volume_processor.config
    first = runs[0]
    return {
        "folder": folds[0].test.folder.resolve().name,
        "test_subjects": sorted({run.subject for run in runs}),
        "num_test_runs": len(runs),
        "runs": {run.name: run.checksum for run in runs},
        "num_volumes": [len(run.onsets) for run in runs],
        "num_training_subjects": min(len(fold.training.subjects) for fold in folds),
        "folds": describe(folds),
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
        "scored_voxels": "grey matter" if config.space == "mni" else "brain",
    }
