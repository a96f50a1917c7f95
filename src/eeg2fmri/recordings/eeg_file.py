"""An EEG file that is open: its electrodes, rate and markers are known and checked, its signals still on disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mne
import numpy as np

from ..errors import FileError, InputError, RecordingError
from . import brainvision
from .channels import canonical_name, ecg_channel, pick_electrodes, quiet_mne
from .edf import check_edf
from .eeglab import check_eeglab
from .pointers import check_file
from .sidecars import read_eeg_sidecars

logger = logging.getLogger(__name__)

FORMATS = (".vhdr", ".edf", ".bdf", ".gdf", ".set", ".fif", ".fif.gz", ".cnt", ".cdt", ".lay", ".nxe", ".eeg", ".data")
# No format stores a sample in less than a bit or so: more samples than this come from a damaged header.
MAX_SAMPLES_PER_BYTE = 16
SAMPLING_TOLERANCE = 1e-3  # of the sampling rate, between file and sidecar
DURATION_TOLERANCE = 1.0  # s; sidecars often have whole seconds


@dataclass(frozen=True)
class Marker:
    """An event in the recording.

    Args:
        onset (`float`): seconds from the first sample.
        description (`str`): such as `"Response/R128"`.
    """

    onset: float
    description: str


@dataclass(frozen=True)
class EEGFile:
    """What a recording is made of, with a way to read single channels: raw EEG at 5 kHz need not be in memory whole.

    Args:
        source (`str`): path of the file, or what messages call it.
        electrodes (`dict[str, int]`): canonical name to channel, in the file's order.
        ecg (`int` or `None`): the first channel that is an electrocardiogram.
        sampling_rate (`float`): Hz.
        num_points (`int`): samples of each channel.
        markers (`tuple[Marker, ...]`): events in time order.
        read (`Callable`): channels to `[channel, time]` float64, volts; not checked.
    """

    source: str
    electrodes: dict[str, int]
    ecg: int | None
    sampling_rate: float
    num_points: int
    markers: tuple[Marker, ...]
    read: Callable[[Sequence[int]], np.ndarray]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_points / self.sampling_rate


def open_eeg(source: str | os.PathLike | mne.io.BaseRaw) -> EEGFile:
    """Open a recording and check everything but its samples.

    In a BIDS tree its sidecars count too, inherited ones included: sampling rate and duration are compared, channels
    with the status `bad` are left out, and events stand in for markers where the file has none.

    Args:
        source (`str`, `os.PathLike` or `mne.io.BaseRaw`): a file, or an object of MNE.

    Raises:
        FileError: when the file is missing, a pointer to its content, damaged, or in no known format.
        RecordingError: when fewer than two channels are electrodes, one is there twice, or a sidecar contradicts it.
        InputError: when `source` is of another type.
    """
    if isinstance(source, mne.io.BaseRaw):
        return _of_raw(source, _raw_name(source))
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            "eeg",
            found=type(source).__name__,
            expected="a path, an mne Raw object or an EEGRecording",
            remedy="Arrays go through eeg_from_array, with electrode names and sampling rate.",
        )
    path = check_file(source)
    suffix = _checked_suffix(path)
    if suffix == ".vhdr":
        return _as_described(_of_brainvision(path), path)
    if suffix in (".edf", ".bdf"):
        check_edf(path)
    if suffix == ".set":
        check_eeglab(path)
    return _as_described(_of_raw(_open_with_mne(path), str(path)), path)


def _as_described(file: EEGFile, path: Path) -> EEGFile:
    """The file as its BIDS sidecars have it: without bad channels, with their events where it has no markers."""
    said = read_eeg_sidecars(path)
    for name, found, stated, tolerance in (
        ("SamplingFrequency", file.sampling_rate, said.sampling_rate, SAMPLING_TOLERANCE * file.sampling_rate),
        ("RecordingDuration", file.duration, said.duration, DURATION_TOLERANCE),
    ):
        if stated is not None and abs(found - stated) > tolerance:
            unit = "Hz" if name == "SamplingFrequency" else "s"
            raise RecordingError(
                path,
                found=f"{found:g} {unit} in the file and {name} {stated:g} {unit} in its JSON sidecar",
                expected=f"values that agree within {tolerance:g} {unit}",
                remedy="Find out which one is right: repair the sidecar, or give the whole recording.",
            )
    bad = {canonical_name(name) for name in said.bad}
    kept = {name: channel for name, channel in file.electrodes.items() if name not in bad}
    left_out = ", ".join(name for name in file.electrodes if name in bad)
    if left_out:
        logger.warning("%s: electrodes that channels.tsv marks as bad are left out: %s", path, left_out)
    if len(kept) < 2:
        raise RecordingError(
            path,
            found=f"{len(kept)} electrodes beside those that channels.tsv marks as bad ({left_out})",
            expected="at least two",
            remedy="Correct the column status, or leave the run out.",
        )
    markers = file.markers or tuple(Marker(onset, description) for onset, description in said.events)
    return replace(file, electrodes=kept, markers=markers)


def _of_brainvision(path: Path) -> EEGFile:
    header = brainvision.read_header(path)
    measured = [index for index, scale in enumerate(header.scales) if np.isfinite(scale)]
    names = [header.names[index] for index in measured]
    electrodes = pick_electrodes(names, str(path))
    ecg = ecg_channel(names)
    return EEGFile(
        source=str(path),
        electrodes={name: measured[index] for name, index in electrodes.items()},
        ecg=None if ecg is None else measured[ecg],
        sampling_rate=header.sampling_rate,
        num_points=header.num_points,
        markers=tuple(Marker(onset, description) for onset, description in brainvision.read_markers(header)),
        read=lambda channels: brainvision.read_signals(header, list(channels)),
    )


def _of_raw(raw: mne.io.BaseRaw, source: str) -> EEGFile:
    bad = set(raw.info["bads"])
    if bad:
        logger.warning("%s: channels marked as bad are left out: %s", source, ", ".join(sorted(bad)))
    kinds = raw.get_channel_types()
    usable = [index for index, name in enumerate(raw.ch_names) if name not in bad]
    channels = [index for index in usable if kinds[index] == "eeg"]
    electrodes = pick_electrodes([raw.ch_names[index] for index in channels], source)
    for name, kind in zip(raw.ch_names, kinds, strict=True):
        if kind != "eeg":
            logger.debug("%s: channel %r of the type %s is no electrode", source, name, kind)
    ecgs = [index for index in usable if kinds[index] == "ecg" or ecg_channel([raw.ch_names[index]]) is not None]
    try:
        # Onsets count from the measurement's start, also where the first samples were cropped away.
        onsets = np.asarray(raw.annotations.onset, dtype=float) - raw.first_time
        descriptions = [str(description) for description in raw.annotations.description]
    except Exception as error:
        raise _unreadable(source, error) from error

    def read(channels: Sequence[int]) -> np.ndarray:
        try:
            with quiet_mne(source):
                return raw.get_data(picks=list(channels))
        except Exception as error:  # the readers of damaged files fail in every way there is
            raise _unreadable(source, error) from error

    return EEGFile(
        source=source,
        electrodes={name: channels[index] for name, index in electrodes.items()},
        ecg=ecgs[0] if ecgs else None,
        sampling_rate=raw.info["sfreq"],
        num_points=raw.n_times,
        markers=tuple(sorted(map(Marker, onsets.tolist(), descriptions), key=lambda marker: marker.onset)),
        read=read,
    )


def _checked_suffix(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".eeg", ".dat", ".vmrk")) and os.path.lexists(path.with_suffix(".vhdr")):
        found, remedy = "a part of a BrainVision recording", f"Give the header: {path.with_suffix('.vhdr').name}."
    elif name.endswith(FORMATS):
        return max((suffix for suffix in FORMATS if name.endswith(suffix)), key=len)
    else:
        found, remedy = f"the suffix {path.suffix!r}", "Convert the recording, or open it with MNE and pass the Raw."
    raise FileError(path, found=found, expected=f"one of {' '.join(FORMATS)}", remedy=remedy)


def _open_with_mne(path: Path) -> mne.io.BaseRaw:
    try:
        with quiet_mne(str(path)):
            raw = mne.io.read_raw(path, preload=False)
            files = [Path(name) for name in raw.filenames if name is not None]
            num_samples = len(raw.ch_names) * raw.n_times
    except Exception as error:  # the readers of damaged files fail in every way there is
        raise _unreadable(path, error) from error
    homes = {path.parent.resolve(), path.resolve().parent}
    strangers = [file for file in files if file.parent.resolve() not in homes]
    if strangers:
        raise FileError(
            path,
            found=f"data in another folder ({strangers[0]})",
            expected="all of the recording's files in one folder",
            remedy="Put the files side by side and correct the name inside the header.",
        )
    num_bytes = sum(file.stat().st_size for file in {path, *files} if file.exists())
    if num_samples > MAX_SAMPLES_PER_BYTE * num_bytes:
        raise FileError(
            path,
            found=f"a header that promises {num_samples} samples in {num_bytes} bytes",
            expected="a header that fits the file's size",
            remedy="The header is damaged: download or export the file again.",
        )
    return raw


def _raw_name(raw: mne.io.BaseRaw) -> str:
    names = [str(name) for name in raw.filenames if name is not None]
    return names[0] if names else "mne Raw"


def _unreadable(source: str | os.PathLike, error: Exception) -> FileError:
    return FileError(
        source,
        found=f"that it can't be read ({type(error).__name__}: {' '.join(str(error).split())[:200]})",
        expected="a complete recording in the format of its suffix",
        remedy="The file is damaged or mislabelled: download or export it again.",
    )
