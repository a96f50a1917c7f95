"""XP-2, OpenNeuro ds002338: motor imagery and neurofeedback with simultaneous EEG and BOLD."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from pathlib import Path

from ...errors import EEG2fMRIError, InputError
from ..brainvision import read_markers_alone
from .runs import RunFiles, RunProblem, RunSearch, nothing_of_layout

EEG_KINDS = ("preprocessed", "raw")
TASKS = ("all", "MIpost")
VOLUME_MARKER, REST_MARKER, TASK_MARKER = "Response/R128", "Stimulus/S 99", "Stimulus/S  2"
REST_DURATION = 20.0  # s, from a rest to its task, by the dataset's README
_RUN = re.compile(r"(?:d_)?(sub-[A-Za-z0-9]+_task-[A-Za-z0-9]+(?:_run-[0-9]+)?)_(?:eeg_pp|eeg|bold|headmotion)\..+")


def search_xp2(root: str | os.PathLike, eeg: str = "preprocessed", tasks: str = "all") -> RunSearch:
    """The runs of XP-2 whose EEG and BOLD are both there.

    A run counts as expected when any file is named after it: an image, its sidecar, raw or preprocessed EEG. What has
    no EEG or no image is a problem of its own. Remarks name tables that are not separated by tabs (they are not
    used: the channels' names are those of the EEG header) and head-motion files that are not named after their run.

    The preprocessed EEG starts at the first `Stimulus/S 99`, some seconds after the first volume, and its marker file
    may hold no volume markers. Where the raw recording's header and markers are there, the volumes are found by them
    and placed in the preprocessed EEG by the first rest of both. A few raw recordings lack that first `S 99` (says
    the README): it is then 20 s before the first `Stimulus/S  2`.

    Args:
        root: the dataset's folder.
        eeg (`str`): `"preprocessed"` (derivatives, 200 Hz) or `"raw"` (5 kHz, with the scanner's artefacts).
        tasks (`str`): `"all"`, or `"MIpost"` as in the paper.

    Raises:
        InputError: unknown `eeg` or `tasks`.
        FileError: when there are no files of the dataset.
    """
    for argument, value, choices in (("eeg", eeg, EEG_KINDS), ("tasks", tasks, TASKS)):
        if value not in choices:
            raise InputError(argument, found=repr(value), expected=" or ".join(choices), remedy="Choose one of them.")
    root = Path(root)
    raw = _by_run(root.glob("sub-*/eeg/*_eeg.vhdr"))
    preprocessed = _by_run(root.glob("derivatives/sub-*/eeg_pp/*_eeg_pp.vhdr"))
    images = _by_run(root.glob("sub-*/func/*_bold.nii.gz"))
    sidecars = _by_run(root.glob("sub-*/func/*_bold.json"))
    names = sorted(raw.keys() | preprocessed.keys() | images.keys() | sidecars.keys())
    if not names:
        raise nothing_of_layout(root, "sub-xp2NN/func/*_bold.nii.gz and *_eeg.vhdr of ds002338")
    recordings = raw if eeg == "raw" else preprocessed
    runs, problems = [], _remarks(root)
    for name in (name for name in names if tasks == "all" or f"_task-{tasks}" in name):
        missing = [kind for kind, files in ((f"{eeg} EEG", recordings), ("BOLD image", images)) if name not in files]
        if missing:
            problems.append(RunProblem(name, f"no {' and no '.join(missing)}", "incomplete"))
            continue
        subject = name.split("_")[0].removeprefix("sub-")
        shift = _shift_from_raw(raw[name], recordings[name]) if eeg == "preprocessed" and name in raw else None
        run = RunFiles(subject, name, recordings[name], images[name], raw_eeg=eeg == "raw")
        runs.append(run if shift is None else replace(run, markers_from=raw[name], markers_shift=shift))
    return RunSearch(tuple(runs), tuple(problems))


def _by_run(paths) -> dict[str, Path]:
    matches = ((_RUN.fullmatch(path.name), path) for path in paths)
    return {match[1]: path for match, path in matches if match}


def _shift_from_raw(raw: Path, preprocessed: Path) -> float | None:
    """Seconds from the raw recording's first sample to the preprocessed one's, negative; None if it can't be known."""
    try:
        in_raw = _first_onsets(raw)
    except EEG2fMRIError:  # an unfetched raw recording is no fault of the preprocessed one
        return None
    try:
        in_preprocessed = _first_onsets(preprocessed)
    except EEG2fMRIError:  # its own fault, which reading it will name
        return None
    rest, task = in_raw.get(REST_MARKER, math.inf), in_raw.get(TASK_MARKER, math.inf)
    if VOLUME_MARKER not in in_raw or not math.isfinite(min(rest, task)):
        return None
    if REST_DURATION <= task < rest:
        return in_preprocessed.get(TASK_MARKER, REST_DURATION) - task
    return in_preprocessed.get(REST_MARKER, 0.0) - rest


def _first_onsets(header: Path) -> dict[str, float]:
    firsts: dict[str, float] = {}
    for onset, description in read_markers_alone(header):
        firsts.setdefault(description, onset)
    return firsts


def _remarks(root: Path) -> list[RunProblem]:
    remarks = []
    for path in sorted(root.glob("task-*_channels.tsv")):
        header = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        if "\t" not in header:
            reason = "not separated by tabs; the channels' names are taken from the EEG header instead"
            remarks.append(RunProblem(path.name, reason, "remark"))
    for path in sorted(root.glob("derivatives/sub-*/head_motion/*.tsv")):
        if not _RUN.fullmatch(path.name):
            name = str(path.relative_to(root))
            remarks.append(RunProblem(name, "not named after its run, so it belongs to none; not used", "remark"))
    return remarks
