"""What a run tells: `log.jsonl`, a tracker, a progress bar."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from ..errors import FileError, InputError
from ..files import publish_file
from .config import TrainingConfig

logger = logging.getLogger(__name__)


class LogFile:
    """`log.jsonl`: one JSON object a line, with what seed and step determine, so that two runs compare by `diff`.

    Raises:
        FileError: when the file can't be written.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self, last_step: int) -> list[dict]:
        """The records up to a step; a line that a crash cut short is none."""
        if not self.path.is_file():
            return []
        records = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("step"), int) and record["step"] <= last_step:
                records.append(record)
        return records

    def truncate(self, last_step: int) -> None:
        """Forget, all at once, what comes after a step: the run that resumes there tells it again."""
        records = self.read(last_step)
        if last_step and (not records or records[-1]["step"] < last_step):
            logger.warning("%s ends before step %d, where the checkpoint is: lines are missing.", self.path, last_step)
        with publish_file(self.path) as path:
            path.write_text("".join(json.dumps(record) + "\n" for record in records))

    def append(self, record: dict) -> None:
        self._write(json.dumps(record) + "\n", durable=False)

    def sync(self) -> None:
        """Make the lines durable: a checkpoint must never outlive what was logged before it."""
        self._write("", durable=True)

    def _write(self, text: str, durable: bool) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error


def _unwritable(path: Path, error: OSError) -> FileError:
    return FileError(
        path,
        found=f"that it can't be written ({error.strerror or error})",
        expected="a writable place with enough room",
        remedy="Make room, then continue with --resume_from_checkpoint latest.",
    )


@contextlib.contextmanager
def writing_tracker(accelerator: Accelerator) -> Iterator[None]:
    """A context for the tracker's calls, whose files fill a disk like others.

    Raises:
        FileError: when the tracker can't write.
    """
    try:
        yield
    except OSError as error:
        raise _unwritable(Path(accelerator.logging_dir), error) from error


def check_tracker(name: str) -> None:
    """Refuse a tracker that is not installed.

    Raises:
        InputError: with the command that installs it.
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise InputError(
            "--report_to",
            found=f"{name}, which is not installed",
            expected="an installed tracker, or none",
            remedy=f"Install it with `pip install {name}`; log.jsonl is written in any case.",
        )


def start_tracker(accelerator: Accelerator, config: TrainingConfig, step: int) -> None:
    """Start the tracker; points after `step`, which a resumed run computes again, are purged from TensorBoard."""
    if config.report_to != "none":
        options = {"tensorboard": {"purge_step": step + 1}} if step and config.report_to == "tensorboard" else {}
        with writing_tracker(accelerator):
            accelerator.init_trackers(config.tracker_project_name, config=config.to_dict(), init_kwargs=options)


def track_picture(accelerator: Accelerator, picture: np.ndarray, step: int) -> None:
    """Show a picture `[height, width, 3]` in the trackers that take pictures."""
    with writing_tracker(accelerator):
        for tracker in accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.log_images({"validation": picture[None]}, step=step, dataformats="NHWC")
            elif tracker.name == "wandb":
                tracker.log_images({"validation": [picture]}, step=step)


def progress_bar(accelerator: Accelerator, config: TrainingConfig, step: int) -> tqdm:
    return tqdm(
        total=config.max_train_steps,
        initial=step,
        desc="Training",
        unit="step",
        mininterval=0.1 if sys.stderr.isatty() else 30,
        disable=not accelerator.is_local_main_process,
    )


def memory_gigabytes(device: torch.device) -> float:
    """The most memory used so far: the device's on a GPU, the process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
