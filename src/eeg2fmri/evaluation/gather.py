"""Run every row on every test run; what is finished is kept, so that an interrupted evaluation goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from ..baselines.run import NotAvailable
from ..data.paired_dataset import PairedDataset
from ..errors import InputError
from ..files import publish_file
from .collect import Measured, RunResult
from .rows import MODEL, ONE_SAMPLE, Row
from .runs import DatasetRun


class TrainingRuns:
    """The training runs of a paired dataset, read at the first pass; their spectra and volumes stay on disk.

    Args:
        folder (`Path`): the paired dataset.
        root (`Path`): the dataset that it was prepared from.
    """

    def __init__(self, folder: Path, root: Path):
        self.folder, self.root = folder, root
        self._runs: list[DatasetRun] = []

    def __iter__(self) -> Iterator[DatasetRun]:
        if not self._runs:
            dataset = PairedDataset(self.folder, "train")
            entries = tqdm(dataset.runs, desc="Training runs", unit="run", disable=None)
            self._runs = [DatasetRun(dataset, entry, self.root) for entry in entries]
        return iter(self._runs)


class Cache:
    """Results of rows and runs in a folder that belongs to one evaluation.

    Args:
        folder (`Path`): may exist.
        identity (`dict`): all that the results depend on. Results of anything else are not read.
    """

    def __init__(self, folder: Path, identity: dict):
        text = json.dumps(identity, sort_keys=True, default=str)
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
    rows: Sequence[Row],
    runs: Sequence[DatasetRun],
    training: TrainingRuns,
    cache: Cache,
    num_image_volumes: int | None,
) -> tuple[dict[str, list[RunResult]], dict[str, str]]:
    """Everything that scores and report need.

    Returns:
        `dict`: for each row's name the results of the runs, in order; the model's first sample is a row of its own;
        `dict`: for each row that can't be had, why.

    Raises:
        InputError: when the model itself can't be run.
    """
    reasons = cache.unavailable()
    for row in rows:
        if row.name not in reasons and any(cache.load(row.name, run.name) is None for run in runs):
            try:
                row.predictor.fit(training)
            except NotAvailable as error:
                reasons[row.name] = _reason(error)
    progress = tqdm(total=len(rows) * len(runs), desc="Rows x runs", unit="run", disable=None)
    for run in runs:
        measured = None
        for row in rows:
            progress.update()
            if row.name in reasons or cache.load(row.name, run.name) is not None:
                continue
            measured = Measured(run, num_image_volumes) if measured is None else measured
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
    progress.close()
    cache.note_unavailable(reasons)
    names = [name for row in rows for name in ((ONE_SAMPLE, row.name) if row.name == MODEL else (row.name,))]
    results = {}
    for name in names:
        own = [cache.load(name, run.name) for run in runs]
        if name not in reasons and all(own):
            results[name] = [result for result in own if result is not None]
    return results, reasons


def _reason(error: InputError) -> str:
    return f"{error.subject}: {error.found}; needs {error.expected}"
