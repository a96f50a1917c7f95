"""BrainVision recordings (`.vhdr`, `.eeg` or `.dat`, `.vmrk`), read strictly.

MNE accepts without a word a cut data file, half a marker line and a data file outside the recording's folder, and
takes memory for as many channels as the header claims. Here everything is checked against everything first.
"""

from __future__ import annotations

import configparser
import dataclasses
import logging
import math
import os
import re
from pathlib import Path

import numpy as np

from ..errors import FileError
from .channels import canonical_name
from .pointers import check_file

logger = logging.getLogger(__name__)

MAX_TEXT_BYTES = 16 * 1024**2
FIRST_LINE = re.compile(r"^Brain ?Vision.*(Header|Marker) File", re.IGNORECASE)
# A last line without resolution or unit, for which the format has defaults, and without an end.
CUT_CHANNEL = re.compile(r"\nCh\d+=(?:[^,\n]*(?:,[^,\n]*){0,2}|[^\n]*,)\Z", re.IGNORECASE)
SAMPLE_TYPES = {"INT_16": "i2", "INT_32": "i4", "IEEE_FLOAT_32": "f4"}
ORIENTATIONS = ("MULTIPLEXED", "VECTORIZED")
VOLTS = {"V": 1.0, "mV": 1e-3, "µV": 1e-6, "nV": 1e-9, "": 1e-6}  # the format's default is µV


@dataclasses.dataclass(frozen=True)
class BrainVisionHeader:
    """What the header says, after it was checked against the data file's size.

    Args:
        path (`Path`): the `.vhdr` file.
        data_path (`Path`): the data file, in the same folder.
        marker_path (`Path` or `None`): the marker file, in the same folder.
        names (`tuple[str, ...]`): the channels' names.
        scales (`tuple[float, ...]`): volts per stored unit; NaN for a channel that doesn't measure a voltage.
        sampling_rate (`float`): Hz.
        num_points (`int`): samples per channel.
        sample_type (`np.dtype`): of one stored sample.
        orientation (`str`): `"MULTIPLEXED"` or `"VECTORIZED"`.
    """

    path: Path
    data_path: Path
    marker_path: Path | None
    names: tuple[str, ...]
    scales: tuple[float, ...]
    sampling_rate: float
    num_points: int
    sample_type: np.dtype
    orientation: str


def read_header(path: str | os.PathLike) -> BrainVisionHeader:
    """Read and check a `.vhdr` header.

    Raises:
        FileError: when header, data file or marker file is missing, a pointer, damaged, or they contradict each other.
    """
    path = check_file(path)
    sections = _sections(path)
    common = _continuous(path, sections.get("common infos", {}))
    data_format = common.get("dataformat", "BINARY").upper()
    if data_format != "BINARY":
        remedy = "Export the recording as binary, or open it with MNE and pass the Raw object."
        raise _damaged(path, f"DataFormat={data_format}", "DataFormat=BINARY", remedy)
    if common.get("datatype", "TIMEDOMAIN").upper() != "TIMEDOMAIN":
        raise _damaged(path, f"DataType={common['datatype']}", "DataType=TIMEDOMAIN", "Export the signals themselves.")
    stored = sections.get("binary infos", {})
    sample_type = SAMPLE_TYPES[_choice(path, "BinaryFormat", stored, tuple(SAMPLE_TYPES))]
    big_endian = stored.get("usebigendianorder", "NO").upper() == "YES"
    names, scales = _channels(path, common, sections.get("channel infos", {}))
    data_path = _companion(path, "DataFile", common, (".eeg", ".dat"))
    assert data_path is not None  # only a marker file may be absent
    header = BrainVisionHeader(
        path=path,
        data_path=data_path,
        marker_path=_companion(path, "MarkerFile", common, (".vmrk",)),
        names=names,
        scales=scales,
        sampling_rate=1e6 / _number(path, "SamplingInterval", common),
        num_points=0,
        sample_type=np.dtype((">" if big_endian else "<") + sample_type),
        orientation=_choice(path, "DataOrientation", common, ORIENTATIONS),
    )
    return _with_num_points(header, common)


def read_signals(header: BrainVisionHeader, channels: list[int]) -> np.ndarray:
    """The named channels' signals, `[channel, time]` float64 in volts."""
    try:
        # Mapped, so that a few channels of a long recording take the memory of a few channels.
        samples: np.ndarray = np.memmap(header.data_path, dtype=header.sample_type, mode="r")
        if header.orientation == "MULTIPLEXED":
            samples = samples.reshape(header.num_points, len(header.names)).T
        else:
            samples = samples.reshape(len(header.names), header.num_points)
        signals = samples[channels].astype(np.float64, order="C")
    except (OSError, MemoryError, ValueError) as error:
        remedy = "Check the disk and the free memory."
        raise _damaged(header.data_path, f"that it can't be read ({error})", "readable samples", remedy) from error
    signals *= np.asarray(header.scales)[channels, None]
    return signals


def read_markers(header: BrainVisionHeader) -> list[tuple[float, str]]:
    """All markers as (seconds from the first sample, `"Type/Description"`), in time order.

    Raises:
        FileError: when a marker line is cut or damaged, a number is repeated or left out, or a position lies outside
            the data.
    """
    if header.marker_path is None:
        return []
    return _markers(header.marker_path, header.sampling_rate, header.num_points)


def read_markers_alone(path: str | os.PathLike) -> list[tuple[float, str]]:
    """The markers of a `.vhdr` recording whose signals need not be there, as of [`read_markers`].

    That no marker lies behind the end of the signals isn't checked then.

    Raises:
        FileError: when header or marker file is missing, a pointer or damaged.
    """
    path, marker_path = check_file(path), marker_file(path)
    if marker_path is None:
        return []
    common = _continuous(path, _sections(path).get("common infos", {}))
    return _markers(marker_path, 1e6 / _number(path, "SamplingInterval", common), None)


def marker_file(path: str | os.PathLike) -> Path | None:
    """The marker file of a `.vhdr` header, whose signals need not be there; None where it has none.

    Raises:
        FileError: when either is missing, a pointer or damaged.
    """
    path = check_file(path)
    return _companion(path, "MarkerFile", _sections(path).get("common infos", {}), (".vmrk",))


def _markers(path: Path, sampling_rate: float, num_points: int | None) -> list[tuple[float, str]]:
    markers = []
    lines = _sections(path).get("marker infos")
    if lines is None:
        raise _damaged(path, "no [Marker Infos]", "a complete marker file", "Download or export it again.")
    for count, (key, value) in enumerate(lines.items(), start=1):
        fields = value.split(",")
        if key != f"mk{count}" or len(fields) < 5 or not all(_is_integer(field) for field in fields[2:5]):
            raise _damaged(
                path,
                f"the line {key.capitalize()}={value!r} as marker number {count}",
                f"Mk{count}=type,description,position,size,channel",
                "Download or export it again.",
            )
        position = int(fields[2])
        if position < 1 or (num_points is not None and position > num_points):
            raise _damaged(
                path,
                f"marker {count} at data point {position}",
                f"a position within the {num_points} points of the data file"
                if num_points
                else "a position from 1 on",
                "The data file is cut, or the files belong to different recordings: download them again.",
            )
        kind, description = (field.replace(r"\1", ",") for field in fields[:2])
        markers.append(((position - 1) / sampling_rate, f"{kind}/{description}"))
    return sorted(markers, key=lambda marker: marker[0])


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """The sections of a header or marker file, with names in lower case, without the free text after [Comment]."""
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise _damaged(path, f"{path.stat().st_size} bytes", "a short text file", "Check that it is the header.")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    first_line, _, rest = text.partition("\n")
    if not FIRST_LINE.match(first_line) or "\0" in text:
        expected = "a BrainVision text file (Brain Vision Data Exchange ... File, Version 1.0 or 2.0)"
        raise _damaged(path, f"a file that starts with {first_line[:60]!r}", expected, "Download or export it again.")
    if CUT_CHANNEL.search(text):
        found = f"a last line without an end, {text.splitlines()[-1]!r}"
        raise _damaged(path, found, "a complete channel line", "Download or export the header again.")
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=(";",), empty_lines_in_values=False)
    try:
        parser.read_string(rest.split("[Comment]")[0])
    except configparser.Error as error:
        found = " ".join(str(error).split())
        raise _damaged(path, found, "sections of key=value lines", "Download or export it again.") from error
    return {section.lower(): dict(parser[section]) for section in parser.sections()}


def _continuous(path: Path, common: dict[str, str]) -> dict[str, str]:
    """The header's common infos; cut into segments, samples no longer follow each other in time."""
    segmentation = common.get("segmentationtype", "NOTSEGMENTED").strip()
    if segmentation.upper() != "NOTSEGMENTED":
        remedy = "Export the whole recording, without segmentation."
        raise _damaged(path, f"SegmentationType={segmentation}", "SegmentationType=NOTSEGMENTED", remedy)
    return common


def _channels(path: Path, common: dict, lines: dict) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Name and volts per stored unit of every channel; each channel that the header counts must be described."""
    num_channels = _number(path, "NumberOfChannels", common)
    if not num_channels.is_integer() or set(lines) != {f"ch{n}" for n in range(1, len(lines) + 1)}:
        raise _damaged(path, "channels that are not numbered from 1", "Ch1, Ch2, ...", "Export the header again.")
    if num_channels != len(lines):
        found = f"NumberOfChannels={num_channels:.0f} and {len(lines)} channel descriptions"
        raise _damaged(path, found, "one description for each channel", "Download or export the header again.")
    names, scales = [], []
    for number in range(1, len(lines) + 1):
        name, _, resolution, unit = (*lines[f"ch{number}"].split(","), "", "", "")[:4]
        names.append(name.replace(r"\1", ","))
        scales.append(_volts(path, names[-1], resolution.strip() or "1", unit))
    return tuple(names), tuple(scales)


def _volts(path: Path, name: str, resolution: str, unit: str) -> float:
    # Micro comes as two Unicode characters, as "u", and as UTF-8 that was taken for Latin-1 and encoded again.
    unit = unit.strip().replace("Â", "").replace("μ", "µ").replace("uV", "µV")
    try:
        factor = float(resolution)
    except ValueError:
        factor = math.nan
    if unit in VOLTS and math.isfinite(factor) and factor > 0:
        return factor * VOLTS[unit]
    if canonical_name(name) is None:
        logger.info("%s: channel %r with the unit %r measures no voltage and is left out", path, name, unit)
        return math.nan
    found = f"resolution {resolution!r} and unit {unit!r} of electrode {name}"
    raise _damaged(path, found, "a positive number and V, mV, µV or nV", "Correct the header's channel line.")


def _companion(header: Path, key: str, common: dict, suffixes: tuple[str, ...]) -> Path | None:
    """The file that the header names, which must lie in the header's own folder, or its namesake there."""
    name = common.get(key.lower(), "").strip().replace("$b", header.stem)
    if re.search(r"[/\\:\0]", name) or name in (".", ".."):
        remedy = f"Move the file beside the header and write its bare name into {key}."
        raise _damaged(header, f"{key}={name}", "a file name without a folder", remedy)
    if name and os.path.lexists(header.parent / name):
        return check_file(header.parent / name)
    for suffix in suffixes:
        namesake = header.with_suffix(suffix)
        if os.path.lexists(namesake):
            logger.warning("%s: %s=%s is not there; %s is used", header, key, name, namesake.name)
            return check_file(namesake)
    if key == "MarkerFile" and not name:
        logger.warning("%s: names no marker file, and none lies beside it: the recording has no markers", header)
        return None
    remedy = f"Put it back beside the header, or correct {key} in the header."
    raise _damaged(header, f"{key}={name}, which is not there", "the file beside the header", remedy)


def _with_num_points(header: BrainVisionHeader, common: dict) -> BrainVisionHeader:
    num_bytes = header.data_path.stat().st_size
    bytes_per_point = len(header.names) * header.sample_type.itemsize
    num_points, rest = divmod(num_bytes, bytes_per_point)
    expected = f"whole points of {len(header.names)} channels x {header.sample_type.itemsize} bytes"
    if "datapoints" in common:
        stated = _number(header.path, "DataPoints", common)
        expected = f"{stated:.0f} points of {bytes_per_point} bytes, as {header.path.name} says"
        rest = rest or stated != num_points
    if rest or num_points == 0:
        found = f"{num_bytes} bytes, which are {num_bytes / bytes_per_point:.2f} points"
        raise _damaged(header.data_path, found, expected, "The file is cut or padded: download or export it again.")
    return dataclasses.replace(header, num_points=num_points)


def _number(path: Path, key: str, values: dict) -> float:
    text = values.get(key.lower(), "nothing")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise _damaged(path, f"{key}={text}", "a positive number", "Download or export the header again.")
    return number


def _choice(path: Path, key: str, values: dict, choices: tuple[str, ...]) -> str:
    text = values.get(key.lower(), "nothing").strip().upper()
    if text not in choices:
        raise _damaged(path, f"{key}={text}", " or ".join(choices), "Export the recording again.")
    return text


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"\s*-?\d{1,15}\s*", text) is not None


def _damaged(path: Path, found: str, expected: str, remedy: str) -> FileError:
    return FileError(path, found=found, expected=expected, remedy=remedy)
