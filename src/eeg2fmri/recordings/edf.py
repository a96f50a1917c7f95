"""EDF and BDF: check that header and length agree, since MNE goes on with a cut file and only warns."""

from __future__ import annotations

from pathlib import Path

from ..errors import FileError

BYTES_PER_SAMPLE = {".edf": 2, ".bdf": 3}
FIXED_BYTES = 256  # of the file, and of each signal
MAX_SIGNALS = 4096


def check_edf(path: Path) -> None:
    """Check an EDF or BDF header (Kemp et al. 1992; Kemp and Olivan 2003) against the file's length.

    Raises:
        FileError: when the header is damaged, the file is longer or shorter than it says, or the recording has gaps.
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
            "The file is cut or padded: download or export it again.",
        )


def _integer(path: Path, name: str, field: bytes, low: int, high: int) -> int:
    text = field.decode("latin-1").strip(" \0")
    if text.isascii() and text.isdigit() and low <= int(text) <= high:
        return int(text)
    found = f"{name} {text!r}"
    raise _damaged(path, found, f"a whole number from {low} to {high}", "Download or export the file again.")


def _damaged(path: Path, found: str, expected: str, remedy: str) -> FileError:
    return FileError(path, found=found, expected=expected, remedy=remedy)
