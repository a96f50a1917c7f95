"""Run every row on every test run; what is finished is kept, so that an interrupted evaluation goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from ..baselines.run import NotAvailable
from ..data.paired_dataset import PairedDataset
from ..errors import InputError
from ..files import publish_file
from .collect import IMAGE_SCORES, Measured, RunResult
from .rows import MODEL, ONE_SAMPLE, Row
from .runs import DatasetRun


class RunReader:
    """Reads the runs of a dataset, each once: a test run of one fold is a training run of the others.

    Args:
        root (`Path`): the dataset that the pairs were prepared from.
    """

    def __init__(self, root: Path):
        self.root = root
        self._runs: dict[str, DatasetRun] = {}

    def read(self, dataset: PairedDataset, title: str) -> list[DatasetRun]:
        """The runs of a split, in order."""
        for entry in tqdm(dataset.runs, desc=title, unit="run", disable=None):
            if entry["name"] not in self._runs:
                self._runs[entry["name"]] = DatasetRun(dataset, entry, self.root)
        return [self._runs[entry["name"]] for entry in dataset.runs]


class TrainingRuns:
    """The training runs of a split, read at the first pass; their spectra and volumes stay on disk.

    Args:
        dataset ([`PairedDataset`]): the training split.
        reader ([`RunReader`]): reads them.
    """

    def __init__(self, dataset: PairedDataset, reader: RunReader):
        self.dataset, self.reader = dataset, reader
        self._runs: list[DatasetRun] = []

    def __iter__(self) -> Iterator[DatasetRun]:
        if not self._runs:
            self._runs = self.reader.read(self.dataset, "Training runs")
        return iter(self._runs)


@dataclass(frozen=True)
class Part:
    """What is scored on one fold.

    Args:
        rows: those of the table, not fitted yet.
        runs: the fold's test runs.
        training: the runs that the rows are fitted on.
    """

    rows: Sequence[Row]
    runs: Sequence[DatasetRun]
    training: TrainingRuns


class Cache:
    """Results of rows and runs in a folder that belongs to one evaluation.

    Args:
        folder (`Path`): may exist.
        identity (`dict`): all that the results depend on. Results of anything else are not read.
    """

    def __init__(self, folder: Path, identity: dict):
        text = json.dumps([identity, IMAGE_SCORES], sort_keys=True, default=str)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def path(self, row: str, run: str) -> Path:
        return self.folder / row / f"{run}.npz"

    def load(self, row: str, run: str) -> RunResult | None:
        path = self.path(row, run)
        return RunResult.load(path) if path.is_file() else None

    def save(self, row: str, run: str, result: RunResult) -> None:
        result.save(self.path(row, run))

    def unavailable(self) -> dict[str, str]:
        path = self.folder / "not_available.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def note_unavailable(self, reasons: dict[str, str]) -> None:
        with publish_file(self.folder / "not_available.json") as path:
            path.write_text(json.dumps(reasons))


def gather(
    parts: Sequence[Part], cache: Cache, num_image_volumes: int | None, device: str = "cpu"
) -> tuple[dict[str, list[RunResult]], dict[str, str]]:
    """Everything that scores and report need.

    Args:
        parts: one for each fold, all with the same rows.
        cache ([`Cache`]): where results are kept.
        num_image_volumes (`int`, *optional*): of each run, for the image scores.
        device: where these are computed.

    Returns:
        `dict`: for each row's name the results of the runs of all parts, in order; the model's first sample is a row
        of its own;
        `dict`: for each row that can't be had in every part, why.

    Raises:
        InputError: when the model itself can't be run.
    """
    reasons = cache.unavailable()
    total = sum(len(part.rows) * len(part.runs) for part in parts)
    with tqdm(total=total, desc="Rows x runs", unit="run", disable=None) as progress:
        for part in parts:
            _fit(part, cache, reasons)
            for run in part.runs:
                _run_rows(part.rows, run, cache, reasons, num_image_volumes, device)
                progress.update(len(part.rows))
    cache.note_unavailable(reasons)
    runs = [run for part in parts for run in part.runs]
    names = [name for row in parts[0].rows for name in ((ONE_SAMPLE, row.name) if row.name == MODEL else (row.name,))]
    results = {}
    for name in names:
        own = [cache.load(name, run.name) for run in runs]
        if name not in reasons and all(own):
            results[name] = [result for result in own if result is not None]
    return results, reasons


def _fit(part: Part, cache: Cache, reasons: dict[str, str]) -> None:
    for row in part.rows:
        if row.name not in reasons and any(cache.load(row.name, run.name) is None for run in part.runs):
            try:
                row.predictor.fit(part.training)
            except NotAvailable as error:
                reasons[row.name] = _reason(error)


def _run_rows(
    rows: Sequence[Row],
    run: DatasetRun,
    cache: Cache,
    reasons: dict[str, str],
    num_image_volumes: int | None,
    device: str,
) -> None:
    measured = None
    for row in rows:
        if row.name in reasons or cache.load(row.name, run.name) is not None:
            continue
        measured = Measured(run, num_image_volumes, device) if measured is None else measured
        try:
            result, first = measured.results(row.predictor)
        except NotAvailable as error:
            if row.name == MODEL:
                raise
            reasons[row.name] = _reason(error)
            continue
        if first is not None and row.name == MODEL:
            cache.save(ONE_SAMPLE, run.name, first)
        cache.save(row.name, run.name, result)


def _reason(error: InputError) -> str:
    return f"{error.subject}: {error.found}; needs {error.expected}"
