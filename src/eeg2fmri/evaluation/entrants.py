"""Who is scored: a pipeline, another model's files, or nobody (baselines alone)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ..data.leaks import refuse_leak
from ..hub import denoising_steps_of, load_pipeline, read_training_record, resolve_model, revision_of
from ..regression_pipeline import EEG2fMRIRegressionPipeline
from .folds import Fold
from .model_rows import check_model
from .outside import NIfTIPredictions
from .regression_rows import ONE_PASS, regression_rows
from .rows import MODEL, Row, model_rows
from .runs import DatasetRun

NOBODY = "none"


@dataclass(frozen=True)
class Sampling:
    """How a pipeline is sampled; see [`evaluation.protocol.evaluate`]."""

    num_samples: int
    num_control_samples: int
    num_inference_steps: int | None
    batch_size: int
    seed: int
    device: str
    dtype: str


class Entrant(Protocol):
    """What is scored on one fold."""

    settings: dict[str, Any]
    """What its predictions depend on besides the files and the seed."""

    @property
    def folder(self) -> Path | None:
        """With the files that its predictions depend on."""

    @property
    def record(self) -> dict | None:
        """What it was trained on, where it says so."""

    @property
    def revision(self) -> str | None:
        """Its commit on the Hub."""

    def rows(self, own_runs: Sequence[DatasetRun], runs: Sequence[DatasetRun]) -> list[Row]:
        """Its rows for the fold's test runs; `runs` are those of all folds.

        Raises:
            InputError, FileError, CheckpointError: when it can't be scored on them.
        """
        ...


class PipelineEntrant:
    """A pipeline.

    Args:
        model (`str`): name of an embedded pipeline, a folder, or a Hub id.
        revision (`str`, *optional*): of a Hub repository.
        fold ([`Fold`]): whose test subjects it is scored on.
        sampling ([`Sampling`]): how.

    Raises:
        CheckpointError: when it can't be found.
        InputError: when it was trained on a test subject.
    """

    def __init__(self, model: str, revision: str | None, fold: Fold, sampling: Sampling):
        self.folder = resolve_model(model, revision)
        self.record = read_training_record(self.folder)
        refuse_leak(self.record, fold.test, model)
        self.revision = revision_of(self.folder)
        self.sampling = sampling
        self.num_inference_steps = sampling.num_inference_steps or denoising_steps_of(self.folder)
        self.settings: dict[str, Any] = {
            "samples": sampling.num_samples,
            "control_samples": sampling.num_control_samples,
            "steps": self.num_inference_steps,
            "batch_size": sampling.batch_size,
            "device": sampling.device,
            "dtype": sampling.dtype,
        }

    def rows(self, own_runs: Sequence[DatasetRun], runs: Sequence[DatasetRun]) -> list[Row]:
        sampling = self.sampling
        pipe = load_pipeline(self.folder, getattr(torch, sampling.dtype)).to(torch.device(sampling.device))
        pipe.set_progress_bar_config(disable=True)
        check_model(pipe, own_runs[0])
        if isinstance(pipe, EEG2fMRIRegressionPipeline):
            self.settings |= ONE_PASS
            return regression_rows(pipe, runs, batch_size=sampling.batch_size, seed=sampling.seed)
        self.settings["sampler"] = type(pipe.scheduler).__name__
        return model_rows(
            pipe,
            runs,
            num_samples=sampling.num_samples,
            num_control_samples=sampling.num_control_samples,
            num_inference_steps=self.num_inference_steps,
            batch_size=sampling.batch_size,
            seed=sampling.seed,
        )


class FilesEntrant:
    """Another model's predictions, one NIfTI for each test run.

    Args:
        name (`str`): of the model.
        folder: with the files.
    """

    record = revision = None

    def __init__(self, name: str, folder: str | os.PathLike):
        self.name, self.folder = name, Path(folder)
        self.settings: dict[str, Any] = {"samples": 1, "control_samples": 0, "steps": None}

    def rows(self, own_runs: Sequence[DatasetRun], runs: Sequence[DatasetRun]) -> list[Row]:
        return [Row(MODEL, self.name, "not known", NIfTIPredictions(self.folder, own_runs))]


class NoEntrant:
    """Nobody: the baselines are scored alone."""

    record = revision = folder = None

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"samples": 0, "control_samples": 0, "steps": None}

    def rows(self, own_runs: Sequence[DatasetRun], runs: Sequence[DatasetRun]) -> list[Row]:
        return []
