"""The paired dataset on disk: spectra once a repetition time, volumes, and an index.

```
pairs/
  index.json             format version, runs (subject, sources, onsets, checksum), split of the subjects
  alignment_report.json  per run: marker, offset, drift, missing electrodes, rejected volumes; what was left out
  alignment_report.html  the same with pictures
  eeg_processor/         as saved with a checkpoint, its statistics from the training subjects only
  volume_processor/      likewise
  sub-001_task-rest.safetensors
                         spectra [column, C, electrode, frequency], index [volume, window], volumes
                         [volume, 1, D, H, W], condition [1, D, H, W]; float16
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from safetensors import safe_open
from safetensors.numpy import save_file
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..errors import EEG2fMRIError, FileError, InputError, RecordingError
from ..files import publish_folder, sha256
from ..processing.eeg import EEGProcessor
from ..processing.volume import VolumeProcessor
from ..randomness import seed_for
from ..recordings.bold import BOLDRun, read_bold
from ..recordings.layouts import RunFiles, RunProblem
from .alignment import Timing, align_run
from .checks import check_run
from .report import write_report

FORMAT_VERSION = 1
INDEX_NAME = "index.json"
SPLITS = ("train", "validation", "test")


def split_subjects(subjects: Sequence[str], num_validation: int, num_test: int, seed: int) -> dict[str, list[str]]:
    """Draw validation and test subjects; never pairs, since neighbouring pairs share nine of ten windows.

    Raises:
        InputError: when no subject is left for training.
    """
    names = sorted(set(subjects))
    if num_validation < 0 or num_test < 0 or num_validation + num_test >= len(names):
        raise InputError(
            "split",
            found=f"{len(names)} subjects for {num_validation} validation and {num_test} test subjects",
            expected="at least one subject left for training",
            remedy="Ask for fewer validation and test subjects.",
        )
    order = np.random.default_rng(seed_for(seed, "split")).permutation(len(names))
    shuffled = [names[i] for i in order]
    test, rest = shuffled[:num_test], shuffled[num_test:]
    return {
        "train": sorted(rest[num_validation:]),
        "validation": sorted(rest[:num_validation]),
        "test": sorted(test),
    }


def build_pairs(
    runs: Sequence[RunFiles],
    output: str | os.PathLike,
    *,
    eeg_processor: EEGProcessor,
    volume_processor: VolumeProcessor,
    split: dict[str, list[str]] | Callable[[list[str]], dict[str, list[str]]],
    timing: Timing | None = None,
    problems: Sequence[RunProblem] = (),
    skip_invalid: bool = False,
    num_jobs: int = 1,
) -> Path:
    """Check every run, fit both processors on the training subjects, then process and store every run.

    Args:
        runs: the runs of `recordings.layouts`.
        output: a folder that does not exist yet; it appears whole or not at all.
        eeg_processor, volume_processor: configured; their statistics are fitted here.
        split: subjects of `"train"`, `"validation"` and `"test"`, or what makes them of the usable runs' subjects.
        timing: how volumes are found in the EEG; by the scanner's markers by default.
        problems: what the search for runs found; it is part of the report.
        skip_invalid: leave unusable runs out and name them in the report, instead of refusing all.
        num_jobs: processes.

    Raises:
        RecordingError, FileError: naming the file; with several unusable runs, a RecordingError that names them all.
        InputError: when the subjects can't be split.
    """
    output = Path(output)
    timing = Timing() if timing is None else timing
    with publish_folder(output) as folder:
        parallel = Parallel(n_jobs=num_jobs, return_as="generator")
        checks = parallel(delayed(check_run)(run, eeg_processor, volume_processor, timing) for run in runs)
        reports, invalid = _sorted_out(runs, _progress(checks, len(runs), "Checks"))
        problems = [*problems, *invalid]
        _refuse_invalid(problems, len(reports), skip_invalid)
        runs = [run for run in runs if run.name in reports]
        subjects = split([run.subject for run in runs]) if callable(split) else split
        training = [run for run in runs if run.subject in subjects["train"]]
        if eeg_processor.config.normalization == "training":
            recordings = parallel(delayed(_recording_and_onsets)(run, eeg_processor, timing) for run in training)
            eeg_processor.fit(_progress(recordings, len(training), "EEG statistics"))
        volume_processor.fit(_bold(run) for run in _progress(training, len(training), "Template"))
        eeg_processor.save_pretrained(folder / "eeg_processor")
        volume_processor.save_pretrained(folder / "volume_processor")
        stored = parallel(delayed(_store_run)(run, folder, eeg_processor, volume_processor, timing) for run in runs)
        entries, invalid = _sorted_out(runs, _progress(stored, len(runs), "Pairs"))
        problems += invalid
        _refuse_invalid(problems, len(entries), skip_invalid)
        index = {"format_version": FORMAT_VERSION, "split": subjects, "runs": list(entries.values())}
        (folder / INDEX_NAME).write_text(json.dumps(index, indent=1) + "\n")
        write_report(folder, [reports[name] for name in entries], problems)
    return output


def _sorted_out(runs: Sequence[RunFiles], results: Iterable) -> tuple[dict[str, Any], list[RunProblem]]:
    """What came out well, by the run's name, and the errors."""
    named = [(run.name, result) for run, result in zip(runs, results, strict=True)]
    invalid = [RunProblem(name, str(error), "invalid") for name, error in named if isinstance(error, EEG2fMRIError)]
    return {name: result for name, result in named if not isinstance(result, EEG2fMRIError)}, invalid


def _refuse_invalid(problems: Sequence[RunProblem], num_usable: int, skip_invalid: bool) -> None:
    """Name all runs that can't be used in one error, unless they may be skipped and some are left."""
    listed = [problem for problem in problems if problem.kind == "invalid" or not num_usable]
    if num_usable and (skip_invalid or not listed):
        return
    raise RecordingError(
        "runs",
        found=f"{len(listed)} that can't be used beside {num_usable} that can",
        expected="usable runs",
        remedy=("Mend them, or leave them out (skip_invalid):" if num_usable else "Mend them:")
        + "".join(f"\n  {problem.run}: {problem.reason}" for problem in listed),
    )


def _progress(items, total: int, description: str):
    return tqdm(items, total=total, desc=description, unit="run")


def _bold(run: RunFiles) -> BOLDRun:
    return read_bold(run.bold, repetition_time=run.repetition_time)


def _recording_and_onsets(run: RunFiles, eeg_processor: EEGProcessor, timing: Timing):
    aligned = align_run(run, eeg_processor, timing)
    return aligned.recording, aligned.onsets


def _store_run(
    run: RunFiles,
    folder: Path,
    eeg_processor: EEGProcessor,
    volume_processor: VolumeProcessor,
    timing: Timing,
) -> dict | EEG2fMRIError:
    """The run's entry in the index, or why it can't be used: one bad run must not hide the next."""
    try:
        return _stored_run(run, folder, eeg_processor, volume_processor, timing)
    except (RecordingError, InputError) as error:
        return error


def _stored_run(
    run: RunFiles,
    folder: Path,
    eeg_processor: EEGProcessor,
    volume_processor: VolumeProcessor,
    timing: Timing,
) -> dict:
    aligned = align_run(run, eeg_processor, timing)
    starts, index = eeg_processor.columns(aligned.onsets)
    reference = volume_processor.reference(aligned.bold)
    arrays = {
        "spectra": eeg_processor.spectra(aligned.recording, starts).astype(np.float16),
        "index": index.astype(np.int32),
        "volumes": volume_processor.preprocess(aligned.bold, reference)[aligned.volumes].astype(np.float16),
    }
    condition = volume_processor.condition(reference)
    if condition is not None:
        arrays["condition"] = condition.astype(np.float16)
    path = folder / f"{run.name}.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    return {
        "subject": run.subject,
        "name": run.name,
        "file": path.name,
        "sha256": sha256(path),
        "eeg": run.eeg.name,
        "bold": run.bold.name,
        "sources": [{"path": run.bold.name, "sha256": sha256(run.bold)}],
        "num_pairs": len(aligned.volumes),
        "volumes": aligned.volumes.tolist(),
        "onsets": np.round(aligned.onsets, 6).tolist(),
    }


class PairedDataset(Dataset):
    """Pairs of an EEG window and a volume, memory-mapped.

    An item is a dictionary of tensors: `eeg [C, electrode, frequency, window]`, `volume [1, D, H, W]` and, for
    checkpoints of the `change` mode, `condition [1, D, H, W]`.

    Args:
        folder (`str` or `os.PathLike`): made by [`build_pairs`].
        split (`str`): `"train"`, `"validation"` or `"test"`.

    Raises:
        FileError: when the folder is no paired dataset or a file of it is missing.
        InputError: when the split is unknown or empty.
    """

    def __init__(self, folder: str | os.PathLike, split: str = "train"):
        self.folder = Path(folder)
        index = _read_index(self.folder)
        self.subjects = index["split"].get(split, [])
        self.runs = [run for run in index["runs"] if run["subject"] in self.subjects]
        if not self.runs:
            raise InputError(
                "split",
                found=f"{split!r}, which holds no run",
                expected=f"one of {', '.join(SPLITS)} with at least one run in {self.folder}",
                remedy="Prepare the dataset with subjects for this split.",
            )
        self.eeg_processor = EEGProcessor.from_pretrained(self.folder / "eeg_processor")
        self.volume_processor = VolumeProcessor.from_pretrained(self.folder / "volume_processor")
        counts = [run["num_pairs"] for run in self.runs]
        self._pairs = [(run, row) for run, count in enumerate(counts) for row in range(count)]
        self._files: dict[int, dict] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        run, row = self._pairs[i]
        file = self._open(run)
        window = np.moveaxis(file["spectra"][file["columns"][row]], 0, -1)
        item = {
            "eeg": torch.from_numpy(window.astype(np.float32)),
            "volume": torch.from_numpy(file["volumes"][row : row + 1][0].astype(np.float32)),
        }
        if file["condition"] is not None:
            item["condition"] = torch.from_numpy(file["condition"])
        return item

    def _open(self, run: int) -> dict:
        """Spectra of a run are small and kept; volumes stay on disk and are mapped."""
        if run not in self._files:
            path = self.folder / self.runs[run]["file"]
            if not path.is_file():
                raise FileError(
                    path, found="nothing", expected="a run of the dataset", remedy="Prepare the dataset again."
                )
            handle = safe_open(path, framework="numpy")
            self._files[run] = {
                "spectra": self.eeg_processor.normalise(handle.get_tensor("spectra").astype(np.float32)),
                "columns": handle.get_tensor("index"),
                "volumes": handle.get_slice("volumes"),
                "condition": handle.get_tensor("condition").astype(np.float32)
                if "condition" in handle.keys()  # noqa: SIM118 - the handle is no mapping
                else None,
            }
        return self._files[run]


def _read_index(folder: Path) -> dict:
    path = folder / INDEX_NAME
    try:
        index = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FileError(
            path,
            found=f"no readable index ({error})",
            expected="a paired dataset",
            remedy="Make one with `eeg2fmri prepare`.",
        ) from error
    if index.get("format_version") != FORMAT_VERSION:
        raise FileError(
            path,
            found=f"format version {index.get('format_version')}",
            expected=f"version {FORMAT_VERSION}",
            remedy="Prepare the dataset again with this version of eeg2fmri.",
        )
    return index
