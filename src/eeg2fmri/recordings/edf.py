"""EDF and BDF: check that header and length agree, since MNE goes on with a cut file and only warns."""

from __future__ import annotations

import math
import re
from pathlib import Path

from ..errors import FileError

AGAIN = "Download or export the file again."
BYTES_PER_SAMPLE = {".edf": 2, ".bdf": 3}
FIXED_BYTES = 256  # of the file, and of each signal
MAX_SIGNALS = 4096
ANNOTATIONS = ("EDF ANNOTATIONS", "BDF ANNOTATIONS")
RECORD_START = re.compile(rb"\+(\d+(?:\.\d+)?)\x14\x14")
TIME_TOLERANCE = 1e-3  # s, over the whole recording: starts are written as decimals


def check_edf(path: Path) -> None:
    """Check an EDF or BDF header (Kemp et al. 1992; Kemp and Olivan 2003) against the file's length.

    Raises:
        FileError: when the header is damaged, the file is longer or shorter than it says, the recording has gaps, or
            the records of an EDF+ file did not start when their duration says: a wrong sampling rate.
    """
    with open(path, "rb") as file:
        fixed = file.read(FIXED_BYTES)
        num_signals = _integer(path, "number of signals", fixed[252:256], 1, MAX_SIGNALS)
        signals = file.read(num_signals * FIXED_BYTES)
    reserved = fixed[192:236].decode("latin-1").strip()
    if reserved[:5].upper() in ("EDF+D", "BDF+D"):
        remedy = "Export it as a continuous recording."
        raise _damaged(path, f"a recording with gaps ({reserved})", "one continuous recording", remedy)
    header_bytes = _integer(path, "header length", fixed[184:192], 1, 10**8)
    num_records = _integer(path, "number of data records", fixed[236:244], 1, 10**8)
    # Samples per record stand after label, transducer, unit, four limits and filter: 16 + 80 + 8 * 5 + 80 bytes each.
    counts = signals[216 * num_signals : 224 * num_signals]
    fields = [counts[8 * index : 8 * index + 8] for index in range(num_signals)]
    samples = [_integer(path, f"samples per record of signal {n}", field, 1, 10**8) for n, field in enumerate(fields)]
    expected_header = FIXED_BYTES * (num_signals + 1)
    expected = header_bytes + num_records * sum(samples) * BYTES_PER_SAMPLE[path.suffix.lower()]
    found = path.stat().st_size
    if header_bytes != expected_header or found != expected:
        raise _damaged(
            path,
            f"{found} bytes, {header_bytes} of them header",
            f"{expected} bytes for {num_records} records of {num_signals} signals, {expected_header} of them header",
            f"The file is cut or padded. {AGAIN}",
        )
    duration = _duration(path, fixed[244:252])
    labels = [signals[16 * n : 16 * n + 16].decode("latin-1").strip(" \0").upper() for n in range(num_signals)]
    annotations = [n for n, label in enumerate(labels) if label in ANNOTATIONS]
    if annotations and reserved[:5].upper() in ("EDF+C", "BDF+C"):
        width = BYTES_PER_SAMPLE[path.suffix.lower()]
        begin, length = width * sum(samples[: annotations[0]]), width * samples[annotations[0]]
        starts = _record_starts(path, header_bytes + begin, width * sum(samples), length, num_records)
        _check_times(path, starts, duration)


def _record_starts(path: Path, begin: int, step: int, length: int, count: int) -> list[float]:
    """When each record began, in seconds, as the first annotation in every record of an EDF+ file tells."""
    starts = []
    with open(path, "rb") as file:
        for record in range(count):
            file.seek(begin + record * step)
            match = RECORD_START.match(file.read(min(length, 64)))
            if match is None:
                raise _damaged(path, f"no time in record {record}", "a start for each record", AGAIN)
            starts.append(float(match[1]))
    return starts


def _check_times(path: Path, starts: list[float], duration: float) -> None:
    """Compare the records' starts with their duration, which the sampling rate follows from."""
    for record, start in enumerate(starts):
        if abs(start - starts[0] - record * duration) > TIME_TOLERANCE:
            found = f"record {record} at {start:g} s, with records of {duration:g} s from {starts[0]:g} s on"
            expected = f"{starts[0] + record * duration:g} s"
            raise _damaged(path, found, expected, f"The sampling rate is wrong, or records are missing. {AGAIN}")


def _duration(path: Path, field: bytes) -> float:
    text = field.decode("latin-1").strip(" \0")
    try:
        duration = float(text)
    except ValueError:
        duration = math.nan
    if not (math.isfinite(duration) and duration > 0):
        raise _damaged(path, f"records of {text!r} s", "a positive number of seconds", AGAIN)
    return duration


def _integer(path: Path, name: str, field: bytes, low: int, high: int) -> int:
    text = field.decode("latin-1").strip(" \0")
    if text.isascii() and text.isdigit() and low <= int(text) <= high:
        return int(text)
    found = f"{name} {text!r}"
    raise _damaged(path, found, f"a whole number from {low} to {high}", AGAIN)


def _damaged(path: Path, found: str, expected: str, remedy: str) -> FileError:
    return FileError(path, found=found, expected=expected, remedy=remedy)
