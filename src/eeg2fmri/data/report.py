"""The alignment report of a paired dataset: JSON for programs, one self-contained HTML page for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

from ..recordings.layouts import RunProblem
from .checks import RunReport
from .volume_markers import spans

JSON_NAME, HTML_NAME = "alignment_report.json", "alignment_report.html"
WIDTH, LEFT, RIGHT = 760, 90, 750  # of a picture; of its time axis
COLOURS = {"paired": "#1b7f4b", "rejected": "#c0392b", "filled": "#e08e0b"}
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .8em; text-align: left }
tr:nth-child(even) { background: #f4f4f4 } .warning { color: #a33 } svg { background: #fafafa; max-width: 100% }
"""


def write_report(folder: Path, reports: Sequence[RunReport], problems: Sequence[RunProblem]) -> None:
    """Write both forms of the report into a folder.

    Args:
        folder (`Path`): that of the paired dataset.
        reports: of the runs that are in the dataset.
        problems: runs that were left out, and remarks.
    """
    left_out = [problem for problem in problems if problem.kind != "remark"]
    remarks = [problem for problem in problems if problem.kind == "remark"]
    content = {
        "runs": [report.to_dict() for report in reports],
        "left_out": [asdict(problem) for problem in left_out],
        "remarks": [asdict(problem) for problem in remarks],
    }
    (folder / JSON_NAME).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (folder / HTML_NAME).write_text(_page(reports, left_out, remarks), encoding="utf-8")


def read_problems(folder: Path) -> list[RunProblem]:
    """What the report in a folder lists as left out, and its remarks."""
    content = json.loads((folder / JSON_NAME).read_text(encoding="utf-8"))
    return [RunProblem(**problem) for problem in (*content["left_out"], *content["remarks"])]


def _page(reports: Sequence[RunReport], left_out: Sequence[RunProblem], remarks: Sequence[RunProblem]) -> str:
    titles = ("Run", "Marker", "First volume (s)", "Spacing (s)", "Drift (ms)", "Pairs", "Rejected", "Warnings")
    rows = [_summary(report) for report in reports]
    num_pairs = sum(report.num_pairs for report in reports)
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Alignment report</title><style>{STYLE}</style>',
        f"<h1>Alignment report</h1><p>{num_pairs} pairs of {len(reports)} runs; {len(left_out)} left out.</p>",
        _table(titles, rows),
    ]
    for title, listed in (("Left out", left_out), ("Remarks", remarks)):
        if listed:
            rows = [(problem.run, problem.reason) for problem in listed]
            parts += [f"<h2>{title}</h2>", _table(("What", "Why"), rows)]
    parts += [_section(report) for report in reports]
    return "\n".join([*parts, "</html>\n"])


def _summary(report: RunReport) -> tuple[str, ...]:
    return (
        report.name,
        report.marker or "none (stated)",
        f"{report.offset:.3f}",
        f"{report.spacing:.4f}",
        f"{1000 * report.drift:.1f}",
        f"{report.num_pairs} of {report.num_volumes}",
        str(len(report.rejected_volumes)),
        str(len(report.warnings)),
    )


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _section(report: RunReport) -> str:
    facts = [
        ("Files", f"{report.eeg} ({report.duration:.3f} s), {report.bold}"),
        ("Marker", report.marker or "none"),
        ("Why", report.reason),
        ("Lead-in", f"{report.lead_in} markers before the first stored volume"),
        ("Missing electrodes", ", ".join(report.missing_electrodes) or "none"),
        ("Rejected volumes", spans(report.rejected_volumes) or "none"),
    ]
    if report.artifacts is not None:
        facts += _artifacts(report.artifacts)
    warnings = "".join(f'<p class="warning">{escape(warning)}</p>' for warning in report.warnings)
    return f"<h2>{escape(report.name)}</h2>{warnings}{_table(('', ''), facts)}{_timeline(report)}{_residuals(report)}"


def _artifacts(artifacts: dict) -> list[tuple[str, str]]:
    gradient = artifacts["gradient"]
    start, stop = gradient["scanned"]
    removed = (
        f"{gradient['num_volumes']} volumes from {start:.3f} to {stop:.3f} s ({gradient['num_unmarked']} without a "
        f"marker); {gradient['power_before']:.1f} dB at the volume rate's harmonics before, "
        f"{gradient['power_after']:.1f} dB after; {gradient['raw_rate']:g} Hz before, {gradient['rate']:g} Hz after"
    )
    beats = f"{artifacts['num_beats']} heart beats"
    if artifacts["num_beats"]:
        beats += f" from {artifacts['beats_from']}, {artifacts['heart_rate']:.0f} a minute"
    return [("Gradient artefact removed", removed), ("Pulse artefact removed", beats)]


def _timeline(report: RunReport) -> str:
    """Where EEG and volumes lie in the EEG's time; a volume without a marker is not drawn."""
    onsets = [(volume, onset) for volume, onset in enumerate(report.onsets) if onset is not None]
    start = min(0.0, onsets[0][1])
    stop = max(report.duration, onsets[-1][1] + report.repetition_time)
    scale = (RIGHT - LEFT) / (stop - start)
    rejected, filled = set(report.rejected_volumes), set(report.filled)
    marks = [
        _line(
            LEFT + scale * (onset - start),
            40,
            70,
            "filled" if v in filled else "rejected" if v in rejected else "paired",
        )
        for v, onset in onsets
    ]
    left, right = LEFT + scale * (0 - start), LEFT + scale * (report.duration - start)
    bar = f'<rect x="{left:.1f}" y="12" width="{right - left:.1f}" height="16" fill="#5b7fb5"/>'
    legend = f"green: paired, red: no whole EEG window, orange: marker filled; {start:.1f} to {stop:.1f} s"
    return _picture(90, [_text(4, 25, "EEG"), bar, _text(4, 60, "Volumes"), *marks, _text(LEFT, 86, legend)])


def _residuals(report: RunReport) -> str:
    """How far every onset lies from the first one plus a whole number of repetition times."""
    onsets = [(volume, onset) for volume, onset in enumerate(report.onsets) if onset is not None]
    residuals = [1000 * (onset - report.offset - volume * report.repetition_time) for volume, onset in onsets]
    limit = max(1.0, *(abs(residual) for residual in residuals))
    across = (RIGHT - LEFT) / max(1, report.num_volumes - 1)
    points = " ".join(
        f"{LEFT + across * volume:.1f},{50 - 40 * residual / limit:.1f}"
        for (volume, _), residual in zip(onsets, residuals, strict=True)
    )
    return _picture(
        120,
        [
            f'<line x1="{LEFT}" y1="50" x2="{RIGHT}" y2="50" stroke="#bbb"/>',
            f'<polyline points="{points}" fill="none" stroke="#333"/>',
            _text(4, 15, f"+{limit:.1f} ms"),
            _text(4, 94, f"-{limit:.1f} ms"),
            _text(LEFT, 114, "marker minus (first volume + volume x repetition time), over volumes"),
        ],
    )


def _picture(height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">{"".join(parts)}</svg>'


def _line(x: float, top: int, bottom: int, kind: str) -> str:
    return f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="{COLOURS[kind]}"/>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12">{escape(text)}</text>'
