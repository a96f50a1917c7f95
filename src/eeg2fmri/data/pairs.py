"""Build the paired dataset on disk, format version 2: spectra once a repetition time, volumes, and an index.

```
pairs/
  index.json             format version, package version, where the data come from (root, layout, recipe), timing,
                         processors' configurations, and per run: subject, session, task, run, EEG, BOLD and all
                         source files (from the root; size, SHA-256), stored file (size, SHA-256), volumes and onsets
                         of the pairs, repetition time, reference
  alignment_report.json  per run: marker, offset, drift, missing electrodes, rejected volumes; what was left out
  alignment_report.html  the same with pictures
  splits/default/        which pairs are for training, validation, test; processors fitted to the training part:
                         see schemes.py
  processors/            only where a published pipeline's were used: they serve every scheme
  sub-001_task-rest.safetensors
                         spectra, volumes and the run's statistics; see stored_run.py
```
Equal inputs give equal files. While it is built, finished runs lie in the hidden folder `.pairs.partial`, each with a
JSON that holds the key of its inputs and settings: a killed builder's successor continues there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from safetensors.numpy import save_file
from tqdm.auto import tqdm

from .. import __version__
from ..errors import EEG2fMRIError, FileError, RecordingError
from ..files import publish_file, resumable_folder, sha256
from ..processing.eeg import EEGProcessor
from ..processing.grids import same_axes
from ..processing.reference import check_overlap, other_axes, same_affine
from ..processing.volume import VolumeProcessor
from ..recordings.layouts import RunFiles, RunProblem
from ..recordings.repetition_time import agree
from .alignment import AlignedRun, Timing, align_run
from .checks import RunReport, report_run
from .index import FORMAT_VERSION, INDEX_NAME, pairs_of, read_index, write_json
from .provenance import describe_sources, run_key
from .report import write_report
from .schemes import DEFAULT_SCHEME, PROCESSORS_FOLDER, SPLITS_FOLDER, read_scheme, write_scheme
from .splits import Subjects, check_apart, whole_runs
from .stored_run import open_run, run_arrays

SplitOfSubjects = Subjects | Callable[[list[str]], Subjects]


def build_pairs(
    runs: Sequence[RunFiles],
    output: str | os.PathLike,
    *,
    eeg_processor: EEGProcessor,
    volume_processor: VolumeProcessor,
    split: SplitOfSubjects,
    keep_statistics: bool = False,
    timing: Timing | None = None,
    source: Mapping[str, Any] | None = None,
    problems: Sequence[RunProblem] = (),
    skip_invalid: bool = False,
    num_jobs: int = 1,
) -> Path:
    """Align, process and store every run once, then make the scheme `default` from what was stored.

    One process at a time builds: others wait, and use its result if it is what they would have built. A killed or
    interrupted build is continued by the next one; after an error nothing is left.

    Args:
        runs: the runs of `recordings.layouts`.
        output: a folder that does not exist yet; it appears whole or not at all.
        eeg_processor, volume_processor: how to process; statistics that they may have are not used, unless
        keep_statistics: the processors are a published pipeline's, and stay as they are: its mean and scale of the
            EEG, its template, and, in MNI space, its grid, which all runs are resampled to.
        split: subjects of `"train"`, `"validation"` and `"test"`, or what makes them of the usable runs' subjects.
        timing: how volumes are found in the EEG; by the scanner's markers by default.
        source: for the index; JSON values. Paths are written from its `"root"`.
        problems: what the search for runs found; it is part of the report.
        skip_invalid: leave unusable runs out and name them in the report, instead of refusing all.
        num_jobs: processes; under `joblib.parallel_config` whatever its backend offers, such as a Dask cluster.

    Raises:
        RecordingError: that names all runs which can't be used.
        FileError: when the output is already there or can't be written.
        InputError: when the subjects can't be split.
    """
    output, source = Path(output), dict(source or {})
    timing = Timing() if timing is None else timing
    # Where there are unusable runs, or none at all, they are all named together, at the end.
    if runs and not any(problem.kind == "invalid" for problem in problems):
        _subjects(split, [run.subject for run in runs])  # what can't be split is refused before hours of work
    settings = {
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "source": source,
        "timing": asdict(timing),
        "eeg_processor": _configuration(eeg_processor),
        "volume_processor": _configuration(volume_processor),
    }
    if keep_statistics:
        processors = eeg_processor, volume_processor
        settings["statistics"] = [processor.checksum() for processor in processors]
    else:
        processors = (
            EEGProcessor.from_config(eeg_processor.config),
            VolumeProcessor.from_config(volume_processor.config),
        )
    with resumable_folder(output) as folder:
        if folder is None:
            return _built_by_another(output, settings, split)
        parallel = Parallel(n_jobs=num_jobs, return_as="generator")
        results = parallel(delayed(_finished_run)(run, folder, *processors, timing, settings) for run in runs)
        finished, invalid = _sorted_out(tqdm(results, total=len(runs), desc="Pairs", unit="run"), runs)
        invalid += _misplaced(folder, [run["entry"] for run in finished.values()], volume_processor.config.space)
        for problem in invalid:
            finished.pop(problem.run, None)
        problems = [*problems, *invalid]
        if keep_statistics:
            problems += _other_repetition_times(finished, volume_processor)
        _refuse_invalid(problems, len(finished), skip_invalid)
        entries = [run["entry"] for run in finished.values()]
        index = {**settings, "runs": entries}
        subjects = _subjects(split, [entry["subject"] for entry in entries])
        _remove_all_but(folder, {entry["file"] for entry in entries})
        if keep_statistics:
            eeg_processor.save_pretrained(folder / PROCESSORS_FOLDER / "eeg_processor")
            volume_processor.save_pretrained(folder / PROCESSORS_FOLDER / "volume_processor")
        description = {"kind": "subjects", "options": {}}
        stretches = whole_runs(subjects, pairs_of(entries))
        write_scheme(folder / SPLITS_FOLDER / DEFAULT_SCHEME, folder, index, stretches, description)
        write_report(folder, [RunReport(**run["report"]) for run in finished.values()], problems)
        write_json(folder / INDEX_NAME, index)
    return output


def _finished_run(
    run: RunFiles,
    folder: Path,
    eeg_processor: EEGProcessor,
    volume_processor: VolumeProcessor,
    timing: Timing,
    settings: dict[str, Any],
) -> dict[str, Any] | EEG2fMRIError:
    """The run's entry in the index and its report, or why it can't be used: one bad run must not hide the next."""
    try:
        key = run_key(run, settings)
        finished = _stored_before(folder, run.name, key)
        if finished is not None:
            return finished
        aligned = align_run(run, eeg_processor, timing)
        if "statistics" not in settings:
            _check_repetition_time(aligned, volume_processor)
        report = report_run(run, aligned, eeg_processor)
        arrays, reference = run_arrays(aligned, eeg_processor, volume_processor)
        described = describe_sources(run, _root(settings["source"]))
    except EEG2fMRIError as error:
        return error
    with publish_file(folder / f"{run.name}.safetensors") as path:
        save_file(arrays, path)
        stored = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
    entry = {
        **described,
        **stored,
        "repetition_time": aligned.repetition_time,
        "reference": {"low": reference.low, "high": reference.high, "affine": reference.affine.tolist()},
        "num_pairs": len(aligned.volumes),
        "volumes": aligned.volumes.tolist(),
        "onsets": np.round(aligned.onsets, 6).tolist(),
    }
    finished = {"key": key, "entry": entry, "report": report.to_dict()}
    with publish_file(folder / f"{run.name}.json") as path:
        write_json(path, finished)
    return finished


def _check_repetition_time(aligned: AlignedRun, volume_processor: VolumeProcessor) -> None:
    """A recipe's repetition time is what the trained pipeline takes for its own."""
    stated = volume_processor.config.repetition_time
    if not agree(aligned.repetition_time, stated, aligned.bold.num_volumes):
        raise RecordingError(
            aligned.bold.source,
            found=f"a repetition time of {aligned.repetition_time:g} s",
            expected=f"{stated:g} s, as the recipe's volume_processor says",
            remedy="Correct the recipe's repetition_time, or the image's, or prepare such runs by themselves.",
        )


def _other_repetition_times(finished: Mapping[str, Any], volume_processor: VolumeProcessor) -> list[RunProblem]:
    """Remarks on runs whose repetition time is not the published pipeline's, which stays as it is."""
    own = volume_processor.config.repetition_time
    return [
        RunProblem(
            name,
            f"a repetition time of {run['entry']['repetition_time']:g} s where the pipeline's is {own:g} s; that one "
            "stays its default, so generate with onsets= or repetition_time= for such data",
            "remark",
        )
        for name, run in finished.items()
        if not agree(run["entry"]["repetition_time"], own, run["report"]["num_volumes"])
    ]


def _stored_before(folder: Path, name: str, key: str) -> dict[str, Any] | None:
    """What a builder that was killed has finished of the same inputs and settings."""
    try:
        finished = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        unchanged = (
            finished["key"] == key and sha256(folder / finished["entry"]["file"]) == finished["entry"]["sha256"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return finished if unchanged else None


def _misplaced(folder: Path, entries: Sequence[dict[str, Any]], space: str) -> list[RunProblem]:
    """Runs that are not as most others: in MNI space on another grid or with the brain elsewhere, else turned."""
    references = [open_run(folder, entry).reference for entry in entries]
    if not references:
        return []
    same = same_affine if space == "mni" else same_axes
    common = max(references, key=lambda own: sum(same(own.affine, other.affine) for other in references))
    template = replace(common, mask=np.mean([own.mask for own in references], axis=0) > 0.5)
    problems = []
    for own in references:
        try:
            if not same_axes(own.affine, common.affine):
                raise other_axes(own, common)
            if space == "mni" and not same_affine(own.affine, common.affine):
                raise RecordingError(
                    own.source,
                    found=f"the affine {own.affine.round(3).tolist()}",
                    expected=f"that of {common.source}, {common.affine.round(3).tolist()}",
                    remedy="Resample all runs to one grid, or use space='native'.",
                )
            if space == "mni":
                check_overlap(own.mean, template, own.source)
        except RecordingError as error:
            problems.append(RunProblem(own.source, str(error), "invalid"))
    return problems


def _sorted_out(results: Iterable, runs: Sequence[RunFiles]) -> tuple[dict[str, Any], list[RunProblem]]:
    """What came out well, by the run's name, and the errors."""
    named = [(run.name, result) for run, result in zip(runs, results, strict=True)]
    invalid = [RunProblem(name, str(error), "invalid") for name, error in named if isinstance(error, EEG2fMRIError)]
    return {name: result for name, result in named if not isinstance(result, EEG2fMRIError)}, invalid


def _refuse_invalid(problems: Sequence[RunProblem], num_usable: int, skip_invalid: bool) -> None:
    """Name all runs that can't be used in one error, unless they may be skipped and some are left."""
    kinds = ("invalid",) if num_usable else ("invalid", "incomplete")
    listed = [problem for problem in problems if problem.kind in kinds]
    if num_usable and (skip_invalid or not listed):
        return
    raise RecordingError(
        "runs",
        found=f"{len(listed)} that can't be used beside {num_usable} that can",
        expected="usable runs",
        remedy=("Mend them, or leave them out (skip_invalid):" if num_usable else "Mend them:")
        + "".join(f"\n  {problem.run}: {problem.reason}" for problem in listed),
    )


def _subjects(split: SplitOfSubjects, names: list[str]) -> Subjects:
    subjects = split(names) if callable(split) else split
    check_apart(subjects)
    return subjects


def _configuration(processor: EEGProcessor | VolumeProcessor) -> dict[str, Any]:
    """As JSON values, without what diffusers adds for itself."""
    plain = {name: value for name, value in processor.config.items() if not name.startswith("_")}
    return json.loads(json.dumps(plain))


def _root(source: Mapping[str, Any]) -> Path:
    root = Path(source.get("root", "."))
    return root.parent if root.is_file() else root


def _remove_all_but(folder: Path, kept: set[str]) -> None:
    for item in folder.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        elif item.name not in kept:
            item.unlink()


def _built_by_another(output: Path, settings: dict[str, Any], split: SplitOfSubjects) -> Path:
    """The dataset that another process has finished meanwhile, if it is what this one would have built."""
    index = read_index(output)
    runs = pairs_of(index["runs"])
    same = all(index.get(name) == value for name, value in settings.items())
    if same and read_scheme(output, DEFAULT_SCHEME)[1] == whole_runs(
        _subjects(split, [r.subject for r in runs]), runs
    ):
        return output
    raise FileError(
        output,
        found="another dataset, which was finished while this process waited",
        expected="one of the same source, processors, timing and split",
        remedy="Choose another output.",
    )
