"""The folders that a simulated data set is written in: those that real recordings come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ...errors import InputError
from .checks import find
from .presets import Preset
from .run import SimulatedRun
from .streams import check_number
from .write import write_run
from .write_exports import write_noddi_run, write_xp2_run

XP2_SUBJECTS = tuple(f"xp{number}" for number in (*range(201, 208), 210, 211, 213, *range(216, 223)))
XP2_TWO_DIMENSIONAL = frozenset(f"xp{number}" for number in (204, 205, 207, 210, 213, 216, 217, 221))
NODDI_SUBJECTS = tuple(str(number) for number in (32, *range(35, 41), *range(42, 51)))


@dataclass(frozen=True)
class Layout:
    """How a data set is laid out.

    Args:
        name (`str`): as `eeg2fmri prepare --layout` has it.
        subject_label: from a subject, counted from 0, to the label.
        run_labels: from a preset and a subject's label to the task and the run label of every run, the first one that
            of data sets with a single run; None where any number of runs can be written.
        write_run: as [`write_run`].
        is_bids (`bool`): whether the files are a BIDS tree.
    """

    name: str
    subject_label: Callable[[int], str]
    run_labels: Callable[[Preset, str], list[tuple[str, str | None]]] | None
    write_run: Callable[[SimulatedRun, Path, str, str | None], list[Path]] = write_run
    is_bids: bool = True

    def runs(self, preset: Preset, subject_label: str, num_runs: int | None) -> list[tuple[str, str | None]]:
        """Task and run label of a subject's runs: `num_runs` of them, or as many as the data set has.

        Raises:
            InputError: when the data set has fewer runs, or the preset does not fit.
        """
        if num_runs is not None:
            check_number("num_runs", num_runs, 1)
        if self.run_labels is None:
            several = num_runs is not None and num_runs > 1
            return [(preset.task, f"{run:02d}" if several else None) for run in range(1, (num_runs or 1) + 1)]
        labels = self.run_labels(preset, subject_label)
        if num_runs is not None and num_runs > len(labels):
            raise InputError(
                "num_runs",
                found=str(num_runs),
                expected=f"at most {len(labels)}, as the layout {self.name!r} has",
                remedy="Ask for fewer runs, or use the layout 'bids'.",
            )
        return labels[:num_runs]


def subject_label(subject: int) -> str:
    """The BIDS label of a subject that is counted from 0."""
    return f"{subject + 1:03d}"


def find_layout(layout: str) -> Layout:
    """The layout of this name. Raises `InputError` for an unknown one."""
    return find("layout", layout, LAYOUTS)


def _noddi_label(subject: int) -> str:
    return NODDI_SUBJECTS[subject] if subject < len(NODDI_SUBJECTS) else str(51 + subject - len(NODDI_SUBJECTS))


def _noddi_runs(preset: Preset, subject_label: str) -> list[tuple[str, str | None]]:
    return [("rest", None)]


def _xp2_label(subject: int) -> str:
    return XP2_SUBJECTS[subject] if subject < len(XP2_SUBJECTS) else f"xp{223 + subject - len(XP2_SUBJECTS)}"


def _xp2_runs(preset: Preset, subject_label: str) -> list[tuple[str, str | None]]:
    if preset.blocks is None:
        raise InputError(
            "layout",
            found=f"'xp2' for the preset {preset.name!r}, which has no blocks of rest and task",
            expected="a preset with blocks: the preprocessed EEG starts with the first rest",
            remedy="Use the preset 'xp2', or another layout.",
        )
    feedback = "2dNF" if subject_label in XP2_TWO_DIMENSIONAL else "1dNF"
    return [("MIpost", None), ("MIpre", None), *((feedback, f"{run:02d}") for run in (1, 2, 3))]


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            Layout("bids", subject_label, None),
            Layout("noddi", _noddi_label, _noddi_runs, write_noddi_run, is_bids=False),
            Layout("xp2", _xp2_label, _xp2_runs, write_xp2_run),
        )
    }
)
