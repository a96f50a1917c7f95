"""EEGLAB's `.set` files are MATLAB files: check their structure, since damaged ones can crash SciPy's reader."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileError

HEADER_BYTES = 128
MAX_DEPTH = 30
# Signals compress by 2 to 10; deflate's limit is 1032. Beyond the ratio a large array is nothing but a trap.
MAX_COMPRESSION, SMALL_BYTES = 50, 16 * 1024**2
# Data types and array classes of the "MAT-File Format" document (MathWorks), level 5.
NUMBER_CODES = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
BYTES_PER_NUMBER = {number: struct.calcsize(code) for number, code in NUMBER_CODES.items()}
MATRIX, COMPRESSED = 14, 15
TEXT_TYPES = (16, 17, 18)
KNOWN_TYPES = {*BYTES_PER_NUMBER, MATRIX, COMPRESSED, *TEXT_TYPES}
CELL, STRUCT, OBJECT, CHAR = 1, 2, 3, 4
NUMERIC = range(6, 16)
UNCHECKED = (16, 17)  # function handles and objects of newer MATLAB versions, whose layout is not published
COMPLEX_FLAG = 0x0800


@dataclass(frozen=True)
class MatlabArray:
    """An array of a MAT-file.

    Args:
        dimensions (`tuple[int, ...]`): as MATLAB counts them, `[row, column, ...]`.
        value (`float`, `str` or `None`): of a single number or a text; `None` for anything else.
    """

    dimensions: tuple[int, ...]
    value: float | str | None


def check_matlab(path: Path) -> dict[str, MatlabArray]:
    """Check that all arrays of a level-5 MAT-file lie inside each other and hold as many values as they say.

    Files of version 7.3 are HDF5, which has checks of its own.

    Returns:
        `dict[str, MatlabArray]`: the variables, and the fields of those that are a single structure, by their names;
        empty for other versions.

    Raises:
        FileError: when the structure is damaged.
    """
    content = path.read_bytes()
    if not content.startswith(b"MATLAB 5.0") or len(content) <= HEADER_BYTES:
        return {}
    order = ">" if content[126:128] == b"MI" else "<"
    named: dict[str, MatlabArray] = {}
    try:
        for kind, data in _elements(memoryview(content)[HEADER_BYTES:], order, padded=False):
            if kind == COMPRESSED:
                for inner, inflated in _elements(_inflate(data), order):
                    _check_element(inner, inflated, order, 0)
                    _collect(inflated, order, named)
            else:
                _check_element(kind, data, order, 0)
                _collect(data, order, named)
    except (ValueError, struct.error, zlib.error) as error:
        raise FileError(
            path,
            found=f"a damaged MATLAB structure ({error})",
            expected="arrays that hold as many values as they say",
            remedy="Download the recording again, or save it again in EEGLAB.",
        ) from error
    return named


def _collect(data: memoryview, order: str, named: dict[str, MatlabArray]) -> None:
    """Add a checked variable, and its fields if it is a single structure."""
    if len(data) == 0:
        return
    parts = [part for _, part in _elements(data, order)]
    kind, shape = _kind_and_shape(parts, order)
    named[bytes(parts[2]).decode("latin-1")] = _array(data, order)
    if kind == STRUCT and math.prod(shape) == 1:
        width, names = struct.unpack(order + "i", parts[3])[0], bytes(parts[4]).decode("latin-1")
        for index, field in enumerate(parts[5:]):
            named[names[index * width : (index + 1) * width].split("\0")[0]] = _array(field, order)


def _array(data: memoryview, order: str) -> MatlabArray:
    if len(data) == 0:
        return MatlabArray((0, 0), None)
    elements = list(_elements(data, order))
    kind, shape = _kind_and_shape([part for _, part in elements], order)
    number, content = elements[3] if len(elements) > 3 else (0, memoryview(b""))
    if kind == CHAR:
        encoding = {4: "utf-16-be" if order == ">" else "utf-16-le"}.get(number, "latin-1")
        return MatlabArray(shape, bytes(content).decode(encoding, "replace"))
    if kind in NUMERIC and math.prod(shape) == 1:
        return MatlabArray(shape, float(struct.unpack(order + NUMBER_CODES[number], content)[0]))
    return MatlabArray(shape, None)


def _kind_and_shape(parts: list[memoryview], order: str) -> tuple[int, tuple[int, ...]]:
    flags = struct.unpack(order + "II", parts[0])[0]
    return flags & 0xFF, struct.unpack(f"{order}{len(parts[1]) // 4}i", parts[1])


def _elements(data: memoryview, order: str, *, padded: bool = True) -> Iterator[tuple[int, memoryview]]:
    """Type and content of the elements that follow each other in `data`."""
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from(order + "II", data, position)
        if kind >> 16:  # a small element: its length and up to four bytes share the tag
            kind, length, begin, end = kind & 0xFFFF, kind >> 16, position + 4, position + 8
            if length > 4:
                raise ValueError(f"a small element of {length} bytes")
        else:
            begin = position + 8
            end = begin + length
            if padded and kind != COMPRESSED:
                end += -length % 8
        if kind not in KNOWN_TYPES:
            raise ValueError(f"an element of type {kind}")
        if begin + length > len(data):
            raise ValueError(f"an element of {length} bytes where {len(data) - begin} are left")
        yield kind, data[begin : begin + length]
        position = end


def _inflate(data: memoryview) -> memoryview:
    inflater = zlib.decompressobj()
    content = inflater.decompress(data, max(SMALL_BYTES, MAX_COMPRESSION * len(data)))
    if not inflater.eof:  # the checksum stands at the end
        raise ValueError("a compressed array that is cut or too large")
    return memoryview(content)


def _check_element(kind: int, data: memoryview, order: str, depth: int) -> None:
    if kind != MATRIX:
        raise ValueError(f"an element of type {kind} in place of an array")
    if len(data) == 0:
        return
    if depth > MAX_DEPTH:
        raise ValueError("arrays nested too deeply")
    parts = list(_elements(data, order))
    if len(parts) < 3 or [parts[0][0], parts[1][0]] != [6, 5] or len(parts[0][1]) != 8 or len(parts[1][1]) < 8:
        raise ValueError("an array without flags, dimensions and name")
    flags = struct.unpack(order + "II", parts[0][1])[0]
    _, dimensions = _kind_and_shape([part for _, part in parts[:2]], order)
    if min(dimensions) < 0:
        raise ValueError(f"dimensions {dimensions}")
    _check_content(flags, math.prod(dimensions), parts[3:], order, depth)


def _check_content(flags: int, count: int, parts: list[tuple[int, memoryview]], order: str, depth: int) -> None:
    kind = flags & 0xFF
    if kind in NUMERIC:
        expected = 2 if flags & COMPLEX_FLAG else 1
        found = [len(data) / BYTES_PER_NUMBER.get(number, math.inf) for number, data in parts]
        if found != [count] * expected:
            raise ValueError(f"{found} numbers in place of {expected} times {count}")
    elif kind == CHAR:
        if len(parts) != 1 or parts[0][0] in (MATRIX, COMPRESSED) or count > max(64, len(parts[0][1])):
            raise ValueError(f"a text of {count} characters in {len(parts)} parts")
    elif kind in (CELL, STRUCT, OBJECT):
        if kind != CELL:
            parts = parts[1:] if kind == OBJECT else parts
            if len(parts) < 2 or len(parts[0][1]) != 4:
                raise ValueError("a structure without field names")
            width = struct.unpack(order + "i", parts[0][1])[0]
            if width <= 0 or len(parts[1][1]) % width:
                raise ValueError(f"field names of {width} characters in {len(parts[1][1])} bytes")
            count, parts = count * (len(parts[1][1]) // width), parts[2:]
        if len(parts) != count:
            raise ValueError(f"{len(parts)} arrays in place of {count}")
        for inner, data in parts:
            _check_element(inner, data, order, depth + 1)
    elif kind not in UNCHECKED:
        raise ValueError(f"an array of class {kind}")
