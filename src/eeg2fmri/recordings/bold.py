"""BOLD runs: NIfTI files to volumes, affine and repetition time with every check, and back."""

from __future__ import annotations

import gzip
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from ..errors import InputError, RecordingError
from ..files import publish_file
from ..shapes import BOLDVolumes
from .nifti_guard import read_nifti
from .repetition_time import PLAUSIBLE_TR, check_repetition_time, is_number, is_plausible, repetition_time_of

logger = logging.getLogger(__name__)

SMALLEST_VOXEL, LARGEST_VOXEL = 0.01, 100.0  # mm
FORM_CODES = {"native": 1, "mni": 4}  # NIfTI: scanner anatomical, MNI 152


@dataclass(frozen=True)
class BOLDRun:
    """One run of BOLD volumes, or a single volume.

    Args:
        volumes (`np.ndarray` of shape `[x, y, z, time]`): scanner units, kept as float32.
        affine (`np.ndarray` of shape `[4, 4]`): voxel indices to mm, kept as float64.
        repetition_time (`float`, *optional*): seconds between volumes; only a single volume may have none.
        source (`str`): the file, or `"array"`.

    Raises:
        RecordingError: wrong shape, NaN or Inf (their count and first index), an affine that can't be inverted or has
            voxels outside 0.01 to 100 mm, a repetition time outside 0.05 to 60 s.
    """

    volumes: BOLDVolumes
    affine: np.ndarray
    repetition_time: float | None
    source: str = "array"

    def __post_init__(self):
        volumes = _checked_volumes(self.volumes, self.source, RecordingError)
        affine = _checked_affine(self.affine, self.source, RecordingError)
        if not (self.repetition_time is None and volumes.shape[3] == 1) and not is_plausible(self.repetition_time):
            raise RecordingError(
                self.source,
                found=f"a repetition time of {self.repetition_time} s",
                expected=PLAUSIBLE_TR,
                remedy="State the time between two volumes in seconds.",
            )
        object.__setattr__(self, "volumes", volumes)
        object.__setattr__(self, "affine", affine)

    @property
    def num_volumes(self) -> int:
        return self.volumes.shape[3]


def read_bold(path: str | os.PathLike, *, repetition_time: float | None = None, allow_single: bool = False) -> BOLDRun:
    """Read a BOLD run from `.nii` or `.nii.gz`.

    Args:
        path (`str` or `os.PathLike`): the image.
        repetition_time (`float`, *optional*): in seconds, instead of what header and sidecar say. By default it is the
            header's; the `RepetitionTime` of its JSON sidecar (of the same name, or inherited in a BIDS tree) is used
            where the header's is missing or implausible, and must otherwise agree with it within 1 %, and within 0.1
            repetition times at the last volume.
        allow_single (`bool`): accept one volume (such as a mean volume); it has no repetition time unless stated.

    Returns:
        `BOLDRun`: volumes `[x, y, z, time]` in scanner units.

    Raises:
        FileError: the file is missing, a git-annex or git-lfs pointer, damaged, or no single-file NIfTI-1.
        RecordingError: its content can't be used; see also `BOLDRun`.
        InputError: `repetition_time` is implausible, or `path` isn't a path.
    """
    if repetition_time is not None:
        check_repetition_time(repetition_time)
    if not isinstance(path, (str, os.PathLike)):
        raise InputError("path", found=type(path).__name__, expected="the path of a file", remedy="Give a NIfTI file.")
    path = Path(path)
    header, stored = read_nifti(path)
    num_volumes = stored.shape[3]
    if num_volumes == 1 and not allow_single:
        raise RecordingError(
            path,
            found="a single volume",
            expected="a series of BOLD volumes",
            remedy="Give the 4-D image of the run, not its mean or a reference volume.",
        )
    if repetition_time is None and num_volumes > 1:
        repetition_time = repetition_time_of(path, header, num_volumes)
    return BOLDRun(_scaled(path, header, stored), _affine(path, header), repetition_time, str(path))


def bold_image(
    volumes: BOLDVolumes,
    affine: np.ndarray,
    repetition_time: float,
    first_volume_time: float = 0.0,
    *,
    space: str = "native",
) -> nibabel.Nifti1Image:
    """Make a NIfTI image of BOLD volumes, float32, in mm and seconds, with qform and sform.

    Args:
        volumes (`np.ndarray` of shape `[x, y, z, time]`): scanner units.
        affine (`np.ndarray` of shape `[4, 4]`): voxel indices to mm.
        repetition_time (`float`): seconds between volumes.
        first_volume_time (`float`): when the first volume begins, in seconds (the header's `toffset`).
        space (`str`): `"native"` (the scanner's) or `"mni"`.

    Raises:
        InputError: an argument of wrong shape, not finite or out of range.
    """
    if space not in FORM_CODES:
        raise InputError(
            "space", found=repr(space), expected=f"one of {list(FORM_CODES)}", remedy="Choose one of them."
        )
    check_repetition_time(repetition_time)
    if not is_number(first_volume_time) or abs(first_volume_time) > 1e7:
        raise InputError(
            "first_volume_time",
            found=repr(first_volume_time),
            expected="a finite number of seconds",
            remedy="Give the time of the first volume from the recording's start.",
        )
    volumes = _checked_volumes(volumes, "volumes", InputError)
    image = nibabel.Nifti1Image(volumes, _checked_affine(affine, "affine", InputError))
    image.set_sform(image.affine, FORM_CODES[space])
    image.set_qform(image.affine, FORM_CODES[space])
    if not np.allclose(image.get_qform(), image.affine, atol=1e-3):
        # A quaternion can't hold a shear: better no qform than one that contradicts the sform.
        image.set_qform(None)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = repetition_time
    image.header["toffset"] = first_volume_time
    image.header["descrip"] = b"eeg2fmri"
    return image


def write_bold(image: nibabel.Nifti1Image, path: str | os.PathLike) -> None:
    """Write an image all at once; the same image always gives the same bytes.

    Args:
        image (`nibabel.Nifti1Image`): as of `bold_image`.
        path (`str` or `os.PathLike`): ends in `.nii` or `.nii.gz`.

    Raises:
        InputError: another file type.
        FileError: it can't be written; nothing is left behind then.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(
            "path",
            found=path.name,
            expected="a name that ends in .nii or .nii.gz",
            remedy="Name the output as NIfTI; no other image format is written.",
        )
    with publish_file(path) as staged, open(staged, "wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as stream:
                image.to_stream(stream)
        else:
            image.to_stream(file)


def _affine(path: Path, header: nibabel.Nifti1Header) -> np.ndarray:
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        logger.warning("%s: the header has no orientation; x is taken as running from right to left.", path)
    try:
        with np.errstate(all="ignore"):
            return header.get_best_affine()
    except (ValueError, ArithmeticError, HeaderDataError) as error:
        raise RecordingError(
            path,
            found=f"an orientation that can't be read ({error})",
            expected="a valid qform or sform",
            remedy="Convert the image again from the scanner's files.",
        ) from error


def _scaled(path: Path, header: nibabel.Nifti1Header, stored: np.ndarray) -> np.ndarray:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0:  # NIfTI: the stored values are the values
        slope, intercept = 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise RecordingError(
            path,
            found=f"scaling by slope {slope} and intercept {intercept}",
            expected="finite numbers",
            remedy="Convert the image again; its header is damaged.",
        )
    volumes = np.empty(stored.shape, np.float32, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        for index in range(stored.shape[3]):
            volumes[..., index] = stored[..., index] * np.float64(slope) + intercept
    return volumes


def _checked_volumes(volumes: object, subject: str, error: type[InputError] | type[RecordingError]) -> np.ndarray:
    volumes = real_array(volumes)
    if volumes is None or volumes.ndim != 4 or 0 in volumes.shape:
        raise error(
            subject,
            found="no array of real numbers" if volumes is None else f"an array of shape {volumes.shape}",
            expected="[x, y, z, time]",
            remedy="Give one BOLD series with its axes in this order.",
        )
    with np.errstate(over="ignore"):
        volumes = volumes.astype(np.float32, copy=False)
    finite = np.isfinite(volumes)
    if not finite.all():
        first = tuple(int(index) for index in np.unravel_index(np.argmin(finite), volumes.shape))
        raise error(
            subject,
            found=f"{finite.size - np.count_nonzero(finite)} voxels that are NaN or Inf, the first at {first}",
            expected="finite values",
            remedy="Look for the cause; if they only mark the outside of the brain, replace them with 0.",
        )
    return volumes


def _checked_affine(affine: object, subject: str, error: type[InputError] | type[RecordingError]) -> np.ndarray:
    array = real_array(affine)
    if array is not None and array.shape == (4, 4) and np.isfinite(array).all():
        array = array.astype(np.float64)
        sizes = np.linalg.norm(array[:3, :3], axis=0)
        plausible = sizes.min() >= SMALLEST_VOXEL and sizes.max() <= LARGEST_VOXEL
        if plausible and np.allclose(array[3], [0, 0, 0, 1]) and abs(np.linalg.det(array[:3, :3] / sizes)) > 1e-3:
            return array
    raise error(
        subject,
        found=f"the affine {affine if array is None else array.tolist()}",
        expected=f"an invertible 4x4 matrix with voxels of {SMALLEST_VOXEL} to {LARGEST_VOXEL:g} mm",
        remedy="Convert the image again, or set its orientation.",
    )


def real_array(values: object) -> np.ndarray | None:
    """`values` as an array, or None where they aren't real numbers in a regular shape. CPU tensors are accepted."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # ragged lists; tensors on a device or with gradients
        return None
    return array if array.dtype.kind in "biuf" else None
