"""Write EEG as BrainVision: header, samples, markers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError

RESOLUTION = 0.1  # microvolts per count
_LIMIT = 32767


@dataclass(frozen=True)
class BrainVisionMarker:
    """A marker: its kind (`"Response"`), its description (`"R128"`) and where it sits, in samples from 0."""

    kind: str
    description: str
    sample: int


def write_brainvision(
    path: Path,
    signals: np.ndarray,
    names: tuple[str, ...],
    sampling_rate: float,
    markers: list[BrainVisionMarker],
    reference: str,
    *,
    single_precision: bool = False,
) -> tuple[Path, Path, Path]:
    """Write the three files of one recording.

    Args:
        path (`Path`): of the header, ending in `.vhdr`.
        signals (`np.ndarray` of shape `(num_channels, num_samples)`): volts.
        names: of the channels.
        sampling_rate (`float`): Hz.
        markers: in any order.
        reference (`str`): written for every channel.
        single_precision (`bool`): samples as Analyzer exports them, 32-bit floats of microvolts in a `.dat` file;
            otherwise as recorded, 16-bit steps of 0.1 microvolts in an `.eeg` file.

    Returns:
        `tuple`: the header, the samples and the markers (`.vmrk`).

    Raises:
        InputError: when a value is not finite or does not fit 16 bits at 0.1 microvolts.
    """
    resolution = 1.0 if single_precision else RESOLUTION
    counts = signals * (1e6 / resolution)
    if not np.abs(counts).max() <= _LIMIT * RESOLUTION / resolution:
        raise InputError(
            "signals",
            found=f"{np.abs(signals).max() * 1e3:.1f} mV",
            expected=f"at most {_LIMIT * RESOLUTION / 1e3:.1f} mV",
            remedy="Scale the signals down; volts are expected.",
        )
    stored = counts.T.astype("<f4") if single_precision else np.rint(counts).T.astype("<i2")
    samples, marks = path.with_suffix(".dat" if single_precision else ".eeg"), path.with_suffix(".vmrk")
    sample_type = "IEEE_FLOAT_32" if single_precision else "INT_16"
    channels = [f"Ch{index}={name},{reference},{resolution:g},µV" for index, name in enumerate(names, start=1)]
    path.write_text(_header(samples, marks, channels, sampling_rate, sample_type), encoding="utf-8")
    samples.write_bytes(stored.tobytes())
    marks.write_text(_markers(samples, markers), encoding="utf-8")
    return path, samples, marks


def _header(samples: Path, marks: Path, channels: list[str], sampling_rate: float, sample_type: str) -> str:
    return "\n".join(
        [
            "Brain Vision Data Exchange Header File Version 1.0",
            "",
            "[Common Infos]",
            "Codepage=UTF-8",
            f"DataFile={samples.name}",
            f"MarkerFile={marks.name}",
            "DataFormat=BINARY",
            "DataOrientation=MULTIPLEXED",
            f"NumberOfChannels={len(channels)}",
            f"SamplingInterval={1e6 / sampling_rate:.12g}",
            "",
            "[Binary Infos]",
            f"BinaryFormat={sample_type}",
            "",
            "[Channel Infos]",
            *channels,
            "",
        ]
    )


def _markers(samples: Path, markers: list[BrainVisionMarker]) -> str:
    lines = ["Mk1=New Segment,,1,1,0"]
    for index, marker in enumerate(sorted(markers, key=lambda marker: marker.sample), start=2):
        lines.append(f"Mk{index}={marker.kind},{marker.description},{marker.sample + 1},1,0")
    return "\n".join(
        [
            "Brain Vision Data Exchange Marker File, Version 1.0",
            "",
            "[Common Infos]",
            "Codepage=UTF-8",
            f"DataFile={samples.name}",
            "",
            "[Marker Infos]",
            *lines,
            "",
        ]
    )
