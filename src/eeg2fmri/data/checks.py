"""What a person should know about how a run was aligned."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..processing.eeg import EEGProcessor
from ..recordings.layouts import RunFiles
from ..recordings.scanner_artifacts import gradient_warning
from .alignment import AlignedRun


@dataclass(frozen=True)
class RunReport:
    """What the alignment report says about one run.

    Args:
        name (`str`): the run.
        subject (`str`): its subject.
        eeg (`str`): name of the EEG file.
        bold (`str`): name of the BOLD file.
        duration (`float`): seconds of EEG.
        repetition_time (`float`): seconds.
        marker (`str` or `None`): the volume marker.
        reason (`str`): why this marker, or where the onsets come from.
        offset (`float`): seconds from the first EEG sample to the first stored volume.
        spacing (`float`): mean seconds between volumes.
        drift (`float`): seconds that the last volume departs from a whole number of repetition times.
        lead_in (`int`): markers before the first stored volume.
        filled (`list[int]`): volumes whose marker was dropped and filled.
        missing_electrodes (`list[str]`): made from the others.
        num_volumes (`int`): stored volumes.
        num_pairs (`int`): volumes that have a whole EEG window.
        rejected_volumes (`list[int]`): the others.
        onsets (`list[float | None]`): of every stored volume, seconds; `None` without a marker.
        warnings (`list[str]`): what a person should look at.
        artifacts (`dict` or `None`): what was removed from raw in-scanner EEG, the fields of [`ArtifactCorrection`].
    """

    name: str
    subject: str
    eeg: str
    bold: str
    duration: float
    repetition_time: float
    marker: str | None
    reason: str
    offset: float
    spacing: float
    drift: float
    lead_in: int
    filled: list[int]
    missing_electrodes: list[str]
    num_volumes: int
    num_pairs: int
    rejected_volumes: list[int]
    onsets: list[float | None]
    warnings: list[str]
    artifacts: dict | None = None

    def to_dict(self) -> dict:
        """As plain JSON values."""
        return asdict(self)


def report_run(run: RunFiles, aligned: AlignedRun, eeg_processor: EEGProcessor) -> RunReport:
    """What a person should know about an aligned run."""
    alignment, num_volumes = aligned.alignment, aligned.bold.num_volumes
    present = set(aligned.recording.electrodes)
    if aligned.artifacts is not None:
        remarks = list(aligned.artifacts.warnings)
    else:
        warning = gradient_warning(aligned.recording, alignment.onsets)
        remarks = [warning] if warning else []
    return RunReport(
        name=run.name,
        subject=run.subject,
        eeg=run.eeg.name,
        bold=run.bold.name,
        duration=aligned.recording.duration,
        repetition_time=aligned.repetition_time,
        marker=alignment.marker,
        reason=alignment.reason,
        offset=alignment.offset,
        spacing=alignment.spacing,
        drift=alignment.drift,
        lead_in=alignment.lead_in,
        filled=list(alignment.filled),
        missing_electrodes=[name for name in eeg_processor.config.electrodes if name not in present],
        num_volumes=num_volumes,
        num_pairs=len(aligned.volumes),
        rejected_volumes=np.setdiff1d(np.arange(num_volumes), aligned.volumes).tolist(),
        onsets=[round(onset, 6) if np.isfinite(onset) else None for onset in alignment.onsets.tolist()],
        artifacts=None if aligned.artifacts is None else asdict(aligned.artifacts),
        warnings=[*alignment.warnings, *remarks],
    )
