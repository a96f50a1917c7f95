"""Row 10, run as a program in a child process: read hostile files under a limit of memory, and tell how it went.

The limit is what the process holds after it has read one good file of every format, plus 300 MB.
"""

import gzip
import json
import resource
import sys
import time
from pathlib import Path

import nibabel
import numpy as np

from eeg2fmri.errors import EEG2fMRIError
from eeg2fmri.recordings.bold import read_bold
from eeg2fmri.recordings.eeg import read_eeg
from tiny_formats import EEG_FORMATS, make_signals, write_brainvision, write_eeglab, write_format, write_nifti

EXTRA_BYTES = 300 * 10**6


def brainvision(old: str, new: str):
    return lambda folder: write_brainvision(folder, make_signals(), replace=[(old, new)])


def patched(kind: str, position: int, content: bytes):
    """A file of a kind with other bytes at a position."""

    def write(folder: Path) -> Path:
        path = write_format(folder, kind)
        whole = bytearray(path.read_bytes())
        whole[position : position + len(content)] = content
        path.write_bytes(whole)
        return path

    return write


def nifti(**fields):
    """The same header in a `.nii` (of 952 bytes) with other fields."""

    def write(folder: Path) -> Path:
        path = write_nifti(folder / "run.nii")
        content = path.read_bytes()
        header = nibabel.Nifti1Header(content[:348], check=False)
        for name, value in fields.items():
            header[name] = value
        path.write_bytes(header.binaryblock + content[348:])
        return path

    return write


def gzip_bomb(sizes: tuple[int, ...]):
    """256 MiB of zeros in some 250 kB, behind a header of these sizes."""

    def write(folder: Path) -> Path:
        plain = nifti(dim=[4, *sizes, 1, 1, 1])(folder)
        path = folder / "run.nii.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(plain.read_bytes()[:352])
            for _ in range(256):
                file.write(bytes(2**20))
        return path

    return write


def eeglab(**changes):
    return lambda folder: write_eeglab(folder / "run.set", make_signals(), changes=changes)


def eeglab_bomb(folder: Path) -> Path:
    """A compressed MATLAB array of 512 MiB of zeros."""
    import struct
    import zlib

    compressor, pieces = zlib.compressobj(1), []
    for _ in range(512):
        pieces.append(compressor.compress(bytes(2**20)))  # noqa: PERF401
    data = b"".join(pieces) + compressor.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (folder / "run.set").write_bytes(header + struct.pack("<II", 15, len(data)) + data)
    return folder / "run.set"


def edf_field(position: int, text: str):
    return patched("edf", position, text.encode().ljust(8))


CASES = {
    "a billion channels": brainvision("NumberOfChannels=4", "NumberOfChannels=1000000000"),
    "1e300 channels": brainvision("NumberOfChannels=4", "NumberOfChannels=1e300"),
    "interval 0": brainvision("SamplingInterval=10000", "SamplingInterval=0"),
    "interval 1e-300": brainvision("SamplingInterval=10000", "SamplingInterval=1e-300"),
    "interval NaN": brainvision("SamplingInterval=10000", "SamplingInterval=nan"),
    "resolution NaN": brainvision("Cz,,0.1,", "Cz,,nan,"),
    "resolution Inf": brainvision("Cz,,0.1,", "Cz,,inf,"),
    "EDF: 9999 signals": patched("edf", 252, b"9999"),
    "EDF: 99999999 records": edf_field(236, "99999999"),
    "EDF: -1 records": edf_field(236, "-1"),
    "EDF: records of 0 s": edf_field(244, "0"),
    "EDF: records of NaN s": edf_field(244, "nan"),
    "EDF: records of 1e-300 s": edf_field(244, "1e-300"),
    "EDF: 99999999 samples a record": edf_field(256 + 216 * 5, "99999999"),
    "EDF: physical maximum NaN": edf_field(256 + 112 * 5, "nan"),
    "EEGLAB: a billion channels": eeglab(nbchan=10**9),
    "EEGLAB: a billion points": eeglab(pnts=10**9),
    "EEGLAB: a billion trials": eeglab(trials=10**9),
    "EEGLAB: rate 0": eeglab(srate=0.0),
    "EEGLAB: rate NaN": eeglab(srate=np.nan),
    "EEGLAB: bomb": eeglab_bomb,
    "NIfTI: huge sizes": nifti(dim=[4, 32767, 32767, 32767, 32767, 1, 1, 1]),
    "NIfTI: 8 GiB": nifti(dim=[4, 1024, 1024, 1024, 4, 1, 1, 1]),
    "NIfTI: negative sizes": nifti(dim=[4, -5, 4, 3, 5, 1, 1, 1]),
    "NIfTI: slope NaN": nifti(scl_slope=np.nan),
    "NIfTI: slope Inf": nifti(scl_slope=np.inf),
    "NIfTI: repetition time 0": nifti(pixdim=[1, 3, 3, 4, 0, 1, 1, 1]),
    "NIfTI: repetition time NaN": nifti(pixdim=[1, 3, 3, 4, np.nan, 1, 1, 1]),
    "NIfTI: first voxel at 1e30": nifti(vox_offset=1e30),
    "gzip bomb: true sizes": gzip_bomb((512, 512, 32, 16)),
    "gzip bomb: small sizes": gzip_bomb((5, 4, 3, 5)),
    "gzip bomb: huge sizes": gzip_bomb((512, 512, 512, 16)),
}


def read(path: Path) -> None:
    if path.name.endswith((".nii", ".nii.gz")):
        read_bold(path)
    else:
        read_eeg(path)


def main(folder: Path) -> None:
    for kind in (*EEG_FORMATS, "nifti-gz"):
        (folder / kind).mkdir()
        read(write_format(folder / kind, kind))
    paths = {}
    for number, (name, write) in enumerate(CASES.items()):
        (folder / str(number)).mkdir()
        paths[name] = write(folder / str(number))
    num_pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = num_pages * resource.getpagesize() + EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    outcomes = {}
    for name, path in paths.items():
        start = time.process_time()
        try:
            read(path)
        except EEG2fMRIError:
            outcome = "refused"
        except Exception as error:
            outcome = repr(error)[:200]
        else:
            outcome = "read"
        outcomes[name] = outcome, time.process_time() - start
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
