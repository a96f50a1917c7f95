"""Whole recordings in every format that is read, a few kilobytes each, written without the readers' libraries."""

from pathlib import Path

import mne
import numpy as np
from scipy.io import savemat

from eeg2fmri.recordings.bold import bold_image, write_bold
from eeg2fmri.recordings.channels import quiet_mne

NAMES = ("Fp1", "Cz", "Pz", "O2")
RATE = 100.0
STEP = 1e-7  # volts a stored unit
REPETITION_TIME = 0.5
VOLUME_ONSETS = (0.5, 1.0, 1.5, 2.0, 2.5)
MARKER = "Response/R128"
MARKER_LINES = [
    "Mk1=New Segment,,1,1,0,20200101120000000000",
    *(f"Mk{n}=Response,R128,{round(onset * RATE) + 1},1,0" for n, onset in enumerate(VOLUME_ONSETS, start=2)),
]


def make_signals(num_electrodes: int = len(NAMES), num_points: int = 300, seed: int = 0) -> np.ndarray:
    """Noise `[electrode, time]` in volts, in whole steps."""
    return np.random.default_rng(seed).integers(-300, 300, (num_electrodes, num_points)) * STEP


def write_brainvision(
    folder,
    signals,
    *,
    names=NAMES,
    unit="µV",
    vectorized=False,
    lines=(),
    replace=(),
    markers=MARKER_LINES,
    data="eeg",
):
    """Three files named run.*, INT_16; `replace` changes the header's text."""
    channels = [f"Ch{n}={name},,0.1,{unit}" for n, (name, _) in enumerate(zip(names, signals, strict=False), start=1)]
    header = "\n".join(
        ["Brain Vision Data Exchange Header File Version 1.0", "[Common Infos]", "Codepage=UTF-8",
         f"DataFile=run.{data}", "MarkerFile=run.vmrk", "DataFormat=BINARY",
         f"DataOrientation={'VECTORIZED' if vectorized else 'MULTIPLEXED'}",
         f"NumberOfChannels={len(signals)}", f"SamplingInterval={1e6 / RATE:g}", *lines, "[Binary Infos]",
         "BinaryFormat=INT_16", "[Channel Infos]", *channels, "[Comment]", "free = text", "[free"]
    )  # fmt: skip
    for old, new in replace:
        assert old in header
        header = header.replace(old, new)
    stored = np.round(signals / STEP).astype("<i2")
    (folder / f"run.{data}").write_bytes((stored if vectorized else stored.T).tobytes())
    (folder / "run.vhdr").write_text(header + "\n", encoding="utf-8")
    text = [
        "Brain Vision Data Exchange Marker File, Version 1.0",
        "[Common Infos]",
        f"DataFile=run.{data}",
        "[Marker Infos]",
    ]
    (folder / "run.vmrk").write_text("\n".join([*text, *markers]) + "\n")
    return folder / "run.vhdr"


def write_edf(
    path, signals, *, names=NAMES, num_records=None, samples=None, reserved="", onsets=(), record_duration=1, unit="uV"
):
    """EDF or BDF (by suffix) with one-second records; with `onsets` (s) an annotation channel, as EDF+ has it."""
    wide = path.suffix == ".bdf"
    width = 3 if wide else 2
    num_seconds = signals.shape[1] // int(RATE)
    labels, counts = list(names[: len(signals)]), [samples or int(RATE)] * len(signals)
    if onsets:
        labels, counts = [*labels, "BDF Annotations" if wide else "EDF Annotations"], [*counts, 60]
        reserved = reserved or ("BDF+C" if wide else "EDF+C")
    num_labels = len(labels)

    def fields(size, values):
        return "".join(str(value).ljust(size) for value in values)

    header = " " * 160 + fields(8, ["01.01.20", "12.00.00", 256 * (num_labels + 1)])
    header += fields(44, [reserved]) + fields(8, [num_records or num_seconds, record_duration])
    header += fields(4, [num_labels]) + fields(16, labels) + fields(80, [""] * num_labels)
    header += fields(8, [unit] * num_labels)
    for value in ("-3276.8", "3276.7", -32768, 32767):
        header += fields(8, [value] * num_labels)
    header += fields(80, [""] * num_labels) + fields(8, counts) + " " * 32 * num_labels
    stored = np.round(signals / STEP).astype("<i4").reshape(len(signals), num_seconds, -1)
    records = []
    for second in range(num_seconds):
        record = stored[:, second].reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
        if onsets:
            inside = "".join(f"+{onset:g}\x14R128\x14\0" for onset in onsets if second <= onset < second + 1)
            record += f"+{second}\x14\x14\0{inside}".encode().ljust(60 * width, b"\0")
        records.append(record)
    version = b"\xffBIOSEMI" if wide else b"0       "
    path.write_bytes(version + header.encode() + b"".join(records))
    return path


def write_eeglab(path, signals, *, data_file=None, names=NAMES, changes=None):
    """A `.set` with its data inside, or in `data_file` (`.fdt`) beside it; `changes` are other fields."""
    microvolts = (signals * 1e6).astype("<f4")
    if data_file is not None:
        (path.parent / Path(data_file).name).write_bytes(microvolts.T.tobytes())
    locations = np.array([(name,) for name in names], dtype=[("labels", object)])
    events = np.array(
        [("R128", onset * RATE + 1, 0) for onset in VOLUME_ONSETS],
        dtype=[("type", object), ("latency", object), ("duration", object)],
    )
    content = {
        "nbchan": len(signals), "trials": 1, "srate": RATE, "pnts": signals.shape[1], "xmin": 0, "event": events,
        "data": microvolts if data_file is None else data_file, "chanlocs": locations, "icawinv": [],
        "icaweights": [],
    }  # fmt: skip
    savemat(path, {"EEG": content | (changes or {})})
    return path


def write_fif(path, signals):
    """FIF through MNE, single precision, in buffers of a second."""
    raw = mne.io.RawArray(signals, mne.create_info(list(NAMES), RATE, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations(VOLUME_ONSETS, 0, "R128"))
    with quiet_mne(str(path)):
        raw.save(path, buffer_size_sec=1.0, verbose="error")
    return path


def write_nifti(path, num_volumes: int = 5):
    """5 x 4 x 3 voxels of noise; an int16 image, as scanners' converters write it."""
    volumes = np.random.default_rng(0).normal(1000, 50, (5, 4, 3, num_volumes)).round().astype(np.float32)
    image = bold_image(volumes, np.diag([3.0, 3.0, 4.0, 1.0]), REPETITION_TIME)
    image.set_data_dtype(np.int16)
    write_bold(image, path)
    return path


# Every kind of file that is read: how to write it into a folder (what is opened is returned), and its files that can
# be damaged.
EEG_FORMATS = {
    "brainvision": (lambda folder: write_brainvision(folder, make_signals(), lines=["DataPoints=300"]),
                    ("run.vhdr", "run.vmrk", "run.eeg")),
    "brainvision-dat": (lambda folder: write_brainvision(folder, make_signals(), lines=["DataPoints=300"],
                                                         vectorized=True, data="dat"), ("run.dat",)),
    "edf": (lambda folder: write_edf(folder / "run.edf", make_signals(), onsets=VOLUME_ONSETS), ("run.edf",)),
    "bdf": (lambda folder: write_edf(folder / "run.bdf", make_signals(), onsets=VOLUME_ONSETS), ("run.bdf",)),
    "eeglab": (lambda folder: write_eeglab(folder / "run.set", make_signals()), ("run.set",)),
    "eeglab-fdt": (lambda folder: write_eeglab(folder / "run.set", make_signals(), data_file="run.fdt"),
                   ("run.set", "run.fdt")),
    "fif": (lambda folder: write_fif(folder / "run_raw.fif", make_signals()), ("run_raw.fif",)),
}  # fmt: skip
BOLD_FORMATS = {
    "nifti": (lambda folder: write_nifti(folder / "run.nii"), ("run.nii",)),
    "nifti-gz": (lambda folder: write_nifti(folder / "run.nii.gz"), ("run.nii.gz",)),
}


def write_format(folder: Path, kind: str) -> Path:
    return {**EEG_FORMATS, **BOLD_FORMATS}[kind][0](folder)
