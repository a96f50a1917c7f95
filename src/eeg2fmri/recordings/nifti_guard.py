"""NIfTI-1 files read whole and checked: sizes before anything is allocated, gzip checksum and length at the end."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np

from ..errors import FileError, RecordingError
from .pointers import check_file

MAX_BYTES = 8 * 2**30
# Real volumes compress by 2 to 50; deflate's limit is 1032. Beyond the ratio a large file holds nothing but a trap.
MAX_COMPRESSION, SMALL_BYTES = 200, 16 * 2**20
HEADER_BYTES, FIRST_VOXEL = 348, 352
CHUNK_BYTES = 2**20
GZIP_MAGIC = b"\x1f\x8b"

DATA_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
AGAIN = "Copy, download or convert the file again."


@dataclass(frozen=True)
class _Layout:
    """Where the voxels lie in the uncompressed file, and how they are stored."""

    shape: tuple[int, ...]
    data_type: np.dtype
    offset: int

    @property
    def num_bytes(self) -> int:
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.data_type.itemsize


def read_nifti(path: str | os.PathLike) -> tuple[nibabel.Nifti1Header, np.ndarray]:
    """Read a single-file NIfTI-1 image (`.nii` or `.nii.gz`, told apart by content), which must be whole.

    Args:
        path (`str` or `os.PathLike`): the file.

    Returns:
        `tuple`: the header, as stored, and the voxels `[x, y, z, time]` as stored (no scaling applied); a single
        volume has one time point.

    Raises:
        FileError: missing, a pointer, truncated, too long, a wrong checksum, or a header that contradicts itself.
        RecordingError: complex or colour voxels, fewer than 3 or more than 4 axes, more than 8 GiB.
    """
    path = check_file(path)
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            if not compressed:
                return _read(path, file, compressed)
            with gzip.GzipFile(fileobj=file) as stream:
                return _read(path, stream, compressed)
    except FileError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"damaged or unreadable content ({error})", "a whole NIfTI file") from error


def _read(path: Path, stream: BinaryIO | gzip.GzipFile, compressed: bool) -> tuple[nibabel.Nifti1Header, np.ndarray]:
    header = _header(path, _read_up_to(stream, HEADER_BYTES))
    layout = _layout(path, header)
    _check_file_size(path, layout, compressed)
    content = _read_up_to(stream, layout.num_bytes - HEADER_BYTES)
    # The read beyond the end is also what makes gzip compare checksum and length.
    surplus = stream.read(1)
    if surplus or len(content) != layout.num_bytes - HEADER_BYTES:
        found = "more content" if surplus else f"{len(content) + HEADER_BYTES} bytes"
        raise _damaged(path, found, f"{layout.num_bytes} bytes, as the header's sizes say")
    voxels = np.frombuffer(content, layout.data_type, offset=layout.offset - HEADER_BYTES)
    return header, voxels.reshape(layout.shape, order="F")


def _read_up_to(stream: BinaryIO | gzip.GzipFile, num_bytes: int) -> bytearray:
    """Read in pieces, so that memory follows what the file really holds, not what its header claims."""
    content = bytearray()
    while len(content) < num_bytes and (piece := stream.read(min(CHUNK_BYTES, num_bytes - len(content)))):
        content += piece
    return content


def _header(path: Path, block: bytearray) -> nibabel.Nifti1Header:
    sizes = {int.from_bytes(block[:4], "little"): "<", int.from_bytes(block[:4], "big"): ">"}
    if len(block) < HEADER_BYTES or HEADER_BYTES not in sizes or block[344:348] != b"n+1\0":
        raise _damaged(
            path, "no header of a single-file NIfTI-1 image", "a .nii or .nii.gz file (not NIfTI-2, not .hdr)"
        )
    return nibabel.Nifti1Header(bytes(block), endianness=sizes[HEADER_BYTES], check=False)


def _layout(path: Path, header: nibabel.Nifti1Header) -> _Layout:
    num_axes, *sizes = (int(size) for size in header["dim"])
    sizes = sizes[: max(num_axes, 0)]
    if not 1 <= num_axes <= 7 or min(sizes) < 1:
        raise _damaged(path, f"{num_axes} axes of sizes {sizes}", "1 to 7 axes of positive sizes")
    if num_axes < 3 or any(size > 1 for size in sizes[4:]):
        raise RecordingError(
            path,
            found=f"axes of sizes {sizes}",
            expected="x, y, z and time",
            remedy="Give one BOLD series in one file.",
        )
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code not in DATA_TYPES:
        raise RecordingError(
            path,
            found=f"voxels of NIfTI data type {code}",
            expected="real integers or floats of at most 64 bits",
            remedy="Convert the image (complex and colour images hold no BOLD signal).",
        )
    data_type = np.dtype(header.endianness + DATA_TYPES[code])
    offset = float(header["vox_offset"])
    if bits != 8 * data_type.itemsize or not (FIRST_VOXEL <= offset < MAX_BYTES and offset == int(offset)):
        raise _damaged(
            path,
            f"{bits} bits per voxel of type {data_type.name}, first voxel at byte {offset:g}",
            f"{8 * data_type.itemsize} bits, a whole byte number from {FIRST_VOXEL} on",
        )
    return _Layout((*sizes, 1)[:4], data_type, int(offset))


def _check_file_size(path: Path, layout: _Layout, compressed: bool) -> None:
    """Compare what the header claims with the bound and with the size on disk, before any voxel is read."""
    claimed, on_disk = layout.num_bytes, path.stat().st_size
    if claimed > MAX_BYTES:
        raise RecordingError(
            path,
            found=f"{claimed} bytes of voxels {layout.shape}",
            expected=f"at most {MAX_BYTES} bytes",
            remedy="Split the run, or see whether the header is damaged.",
        )
    if not compressed and on_disk != claimed:
        raise _damaged(path, f"{on_disk} bytes", f"{claimed} bytes, as the header's sizes say")
    if compressed and claimed > max(SMALL_BYTES, MAX_COMPRESSION * on_disk):
        raise _damaged(path, f"{on_disk} compressed bytes for {claimed}", f"compression by {MAX_COMPRESSION} at most")


def _damaged(path: Path, found: str, expected: str) -> FileError:
    return FileError(path, found=found, expected=expected, remedy=AGAIN)
