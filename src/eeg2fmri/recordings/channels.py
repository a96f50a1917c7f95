"""Electrodes by name: from the names in files to the 10-05 system's, and a missing electrode from the others."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import warnings
from collections.abc import Iterator, Sequence

import mne
import numpy as np

from ..errors import RecordingError

logger = logging.getLogger(__name__)

RENAMED = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
PREFIX = re.compile(r"^EEG[\s:_-]*(?=\w)", re.IGNORECASE)
# A common reference may follow the name; "Fp1-F7" is a bipolar derivation and no electrode.
# MNE numbers repeated names ("Cz-0", "Cz-1"): without the number they show as the duplicates that they are.
SUFFIX = re.compile(r"[\s_-]+(REF|LE|RE|AVG|AVE|AR|CAR|A1|A2|A1A2|M1|M2|M1M2|\d+)$", re.IGNORECASE)
NOT_EEG = re.compile(
    r"ECG|EKG|EOG|EMG|STATUS|TRIG|STIM|STI\b|PHOTIC|RESP|PULSE|PLETH|GSR|EDA|TEMP|SPO2|ACC|ANNOT|EVENT|AUX|MISC|MARK",
    re.IGNORECASE,
)
ECG = re.compile(r"ECG|EKG", re.IGNORECASE)
# Least-squares sphere through all the montage's electrodes in MNE's head coordinates, in metres. Fixed, so that an
# interpolated electrode does not move when another one is missing too.
HEAD_CENTRE = (0.0, 0.0146, 0.0408)


def canonical_name(name: str) -> str | None:
    """The electrode's name in the 10-05 system: `"Fc5."` -> `"FC5"`, `"EEG Fp1-REF"` -> `"Fp1"`, `"T3"` -> `"T7"`.

    Returns:
        `str` or `None`: `None` for a channel that is no electrode of that system (ECG, EOG, triggers, `"EXG5"`).
    """
    text = PREFIX.sub("", str(name).strip().replace(".", ""))
    for candidate in (text, SUFFIX.sub("", text)):
        electrode = _names_of_lower_case().get(candidate.strip().lower())
        if electrode is not None:
            return RENAMED.get(electrode, electrode)
    return None


def pick_electrodes(names: Sequence[str], source: str) -> dict[str, int]:
    """Which channels of a recording are electrodes.

    Args:
        names (`Sequence[str]`): the channels' names as the recording has them.
        source (`str`): the recording, for messages.

    Returns:
        `dict[str, int]`: canonical name to channel index, in the recording's order.

    Raises:
        RecordingError: when two channels are the same electrode, or fewer than two are electrodes.
    """
    electrodes: dict[str, int] = {}
    for index, name in enumerate(names):
        electrode = canonical_name(name)
        if electrode is None:
            if NOT_EEG.search(str(name)):
                logger.debug("%s: channel %r is no EEG and left out", source, name)
            else:
                logger.info("%s: channel %r has no name of the 10-05 system and is left out", source, name)
        elif electrode in electrodes:
            raise RecordingError(
                source,
                found=f"electrode {electrode} twice: channels {electrodes[electrode] + 1} "
                f"({names[electrodes[electrode]]!r}) and {index + 1} ({name!r})",
                expected="each electrode once",
                remedy="Remove or rename one of the two channels.",
            )
        else:
            electrodes[electrode] = index
    if len(electrodes) < 2:
        shown = ", ".join(map(str, names[:12])) + (", ..." if len(names) > 12 else "")
        raise RecordingError(
            source,
            found=f"{len(electrodes)} known electrodes among {len(names)} channels ({shown})",
            expected="at least two EEG channels with names of the 10-10 or 10-05 system, such as Fp1, Cz, PO8",
            remedy="Rename the channels after the cap's montage.",
        )
    return electrodes


def ecg_channel(names: Sequence[str]) -> int | None:
    """Index of the first channel that is named as an electrocardiogram, or `None`."""
    return next((index for index, name in enumerate(names) if ECG.search(str(name))), None)


@functools.lru_cache(maxsize=32)
def interpolation_weights(sources: tuple[str, ...], missing: tuple[str, ...]) -> np.ndarray:
    """Weights that make missing electrodes from the others, by spherical splines (Perrin et al. 1989; MNE).

    Args:
        sources (`tuple[str, ...]`): canonical names of the electrodes at hand.
        missing (`tuple[str, ...]`): canonical names of those to make.

    Returns:
        `np.ndarray` of shape `[missing, source]`: dimensionless; `weights @ signals` are the missing signals.
    """
    # Interpolation is linear: what it makes of the identity matrix are its weights.
    identity = np.vstack([np.eye(len(sources)), np.zeros((len(missing), len(sources)))])
    with quiet_mne("interpolation"):
        raw = mne.io.RawArray(identity, mne.create_info([*sources, *missing], 1.0, "eeg"))
        raw.set_montage(_montage(), on_missing="raise")
        raw.info["bads"] = list(missing)
        raw.interpolate_bads(method="spline", origin=HEAD_CENTRE)
        return raw.get_data()[len(sources) :]


@contextlib.contextmanager
def quiet_mne(subject: str) -> Iterator[None]:
    """Let MNE print nothing, and turn every warning inside into a log line about `subject`."""
    with warnings.catch_warnings(record=True) as caught, mne.utils.use_log_level("WARNING"):
        warnings.simplefilter("always")
        # MNE writes its log, and some warnings a second time, to the standard output.
        mne.utils.logger.addFilter(_refuse)
        try:
            yield
        finally:
            mne.utils.logger.removeFilter(_refuse)
            for message in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
                logger.warning("%s: %s", subject, message)


def _refuse(record: logging.LogRecord) -> bool:
    return False


@functools.cache
def _montage() -> mne.channels.DigMontage:
    # MNE 1.13 renamed standard_1005 and warns about the old name.
    names = mne.channels.get_builtin_montages()
    return mne.channels.make_standard_montage("colin27_1005" if "colin27_1005" in names else "standard_1005")


@functools.cache
def _names_of_lower_case() -> dict[str, str]:
    return {name.lower(): name for name in _montage().ch_names}
