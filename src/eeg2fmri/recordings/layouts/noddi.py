"""The NODDI EEG-fMRI dataset as it is stored on OSF (94c5t)."""

from __future__ import annotations

import os
from pathlib import Path

from .runs import RunFiles, RunProblem, RunSearch, nothing_of_layout

EEG_FOLDERS = ("EEG1", "EEG2", "EEG")
MARKER = "Scanner/Scan Start"


def search_noddi(root: str | os.PathLike) -> RunSearch:
    """The resting runs of the NODDI dataset, one a subject.

    ```
    root/
      EEG1|EEG2|EEG/<id>/export/*.vhdr          Analyzer export, 250 Hz
      fMRI/<id>/*rest_with_cross.nii.gz         the number in front differs between subjects
    ```

    Args:
        root: the folder that holds `fMRI` and the EEG folders.

    Raises:
        FileError: when there is neither.
    """
    root = Path(root)
    eeg = _by_subject(root, [f"{folder}/*/export/*.vhdr" for folder in EEG_FOLDERS], 1)
    bold = _by_subject(root, ["fMRI/*/*rest_with_cross.nii.gz"], 0)
    subjects = {path.name for folder in ("fMRI", *EEG_FOLDERS) for path in root.glob(f"{folder}/*") if path.is_dir()}
    if not subjects:
        raise nothing_of_layout(root, "the folders fMRI/<id> and EEG1|EEG2|EEG/<id>/export of the NODDI dataset")
    runs, problems = [], []
    for subject in sorted(subjects):
        files = {
            "EEG header (export/*.vhdr)": eeg.get(subject, []),
            "BOLD run (*rest_with_cross.nii.gz)": bold.get(subject, []),
        }
        reasons = [_reason(kind, paths) for kind, paths in files.items() if len(paths) != 1]
        name = f"sub-{subject}_task-rest"
        if reasons:
            missing = any(not paths for paths in files.values())
            problems.append(RunProblem(name, "; ".join(reasons), "incomplete" if missing else "invalid"))
        else:
            runs.append(RunFiles(subject, name, eeg[subject][0], bold[subject][0], marker=MARKER))
    return RunSearch(tuple(runs), tuple(problems))


def _by_subject(root: Path, patterns: list[str], levels: int) -> dict[str, list[Path]]:
    """Files by the folder that names their subject, `levels` above the one that holds them."""
    found: dict[str, list[Path]] = {}
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        found.setdefault(path.parents[levels].name, []).append(path)
    return found


def _reason(kind: str, paths: list[Path]) -> str:
    return (
        f"{len(paths)} files where one {kind} was expected: {', '.join(p.name for p in paths)}"
        if paths
        else f"no {kind}"
    )
