"""Seeded damage to files, and what a reading of the damaged file differs in from the undamaged one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eeg2fmri.data.volume_markers import find_alignment
from eeg2fmri.recordings.bold import BOLDRun, read_bold
from eeg2fmri.recordings.eeg import EEGRecording, read_eeg
from tiny_formats import BOLD_FORMATS, EEG_FORMATS, REPETITION_TIME, VOLUME_ONSETS

KINDS = ("cut", "flip", "pad")
TARGETS = [(kind, name) for kind, (_, names) in {**EEG_FORMATS, **BOLD_FORMATS}.items() for name in names]
HEADER_BYTES = 2048  # half of the flips fall into them: all of a text file, most of a binary header
ALIGNMENT_TOLERANCE = 0.01  # s: 1 % of a repetition time or one sample, as find_alignment says


def damaged(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """The content cut somewhere, with one bit flipped, or with 1 to 600 bytes behind it."""
    if kind == "cut":
        return content[: rng.integers(len(content))]
    if kind == "pad":
        return content + bytes(rng.integers(0, 256, rng.integers(1, 600), np.uint8))
    end = len(content) if rng.random() < 0.5 else min(len(content), HEADER_BYTES)
    changed = bytearray(content)
    changed[rng.integers(end)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def read_aligned(path: Path) -> EEGRecording | BOLDRun:
    """Read as `prepare` does: an EEG recording's markers must fit the five volumes."""
    if path.name.endswith((".nii", ".nii.gz")):
        return read_bold(path)
    recording = read_eeg(path)
    onsets = find_alignment(recording, len(VOLUME_ONSETS), REPETITION_TIME).onsets
    assert np.abs(np.diff(onsets) - REPETITION_TIME).max() <= ALIGNMENT_TOLERANCE + 1e-9
    return recording


def differences(found: EEGRecording | BOLDRun, whole: EEGRecording | BOLDRun) -> list[str]:
    """The facts that differ: `"length"`, a sample, a channel, the rate, the onsets, the scaling, the geometry."""
    if isinstance(whole, BOLDRun):
        assert isinstance(found, BOLDRun)
        return _bold_differences(found, whole)
    assert isinstance(found, EEGRecording)
    facts = []
    if found.signals.shape[1] != whole.signals.shape[1]:
        return ["length"]
    facts += ["rate"] if found.sampling_rate != whole.sampling_rate else []
    # Markers are stored as seconds or as data points: these follow from the rate, and are no second fact.
    same = any(np.allclose(_volume_onsets(found, unit), _volume_onsets(whole, unit)) for unit in ("s", "points"))
    facts += [] if same else ["onsets"]
    rows = dict(zip(found.electrodes, found.signals, strict=True))
    for name, signal in zip(whole.electrodes, whole.signals, strict=True):
        if name not in rows:
            facts.append(f"channel {name}")
        elif num_different := np.count_nonzero(rows.pop(name) != signal):
            facts.append("sample" if num_different == 1 else f"channel {name}")
    # A renamed channel is one fact, not two.
    facts += ["channel"] * max(0, len(rows) - sum(fact.startswith("channel") for fact in facts))
    return facts


def _volume_onsets(recording: EEGRecording, unit: str) -> list[float]:
    scale = 1.0 if unit == "s" else recording.sampling_rate
    return [scale * marker.onset for marker in recording.markers if marker.description.endswith("R128")]


def _bold_differences(found: BOLDRun, whole: BOLDRun) -> list[str]:
    if found.volumes.shape != whole.volumes.shape:
        return ["length"]
    num_different = np.count_nonzero(found.volumes != whole.volumes)
    facts = ["sample"] if num_different == 1 else ["scaling"] if num_different else []
    facts += ["geometry"] if not np.array_equal(found.affine, whole.affine) else []
    return facts + (["repetition time"] if found.repetition_time != whole.repetition_time else [])
