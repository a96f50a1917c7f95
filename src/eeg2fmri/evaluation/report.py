"""The report: one HTML file with the verdict on top, that needs no other file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..metrics.image import minmax
from .collect import RunResult
from .figures import (
    axial_slices,
    calibration,
    correlation_slices,
    embedded,
    image_score_boxes,
    network_courses,
    null_histograms,
)
from .rows import MODEL, ORACLE, RIDGE, TRAINING_MEAN
from .runs import DatasetRun
from .tables import TITLES, cell, other_cells, subjects_of

STYLE = """body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}
.verdict{border-left:.5em solid #b33;padding:.2em 1em;background:#f6f6f6}.verdict.yes{border-color:#393}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:12px}td,th{padding:.25em .6em;text-align:right;
border-bottom:1px solid #ddd;white-space:nowrap}td:first-child,th:first-child{text-align:left;position:sticky;left:0;
background:#fff}img{max-width:100%}"""


def write_report(
    report: dict, results: Mapping[str, Sequence[RunResult]], runs: Sequence[DatasetRun], path: Path
) -> None:
    """Write the report.

    Args:
        report (`dict`): of [`evaluation.protocol.evaluate`].
        results: for each row's name, what was kept of every run.
        runs: the test runs, in the same order.
        path: the HTML file.
    """
    rows = report["rows"]
    shown = {rows[name]["title"]: results[name][0] for name in (MODEL, RIDGE, ORACLE) if name in results}
    run, judged = runs[0], report["verdict"]["row"] or TRAINING_MEAN
    measured = run.volumes()[[len(run.onsets) // 2]]
    parts = [
        _verdict(report),
        _table(report),
        _against(report["against"]),
        _figure(
            "Image scores of every volume (SSIM, RMSE)",
            image_score_boxes(results, {name: row["title"] for name, row in rows.items()}),
        ),
        _figure(
            f"Axial slices of {run.name}, values from 0 to 1, those below 0.35 left out",
            axial_slices(run, minmax(measured)[0], results[judged][0].volume),
        ),
    ]
    if shown:
        courses = network_courses(run, {title: result.series for title, result in shown.items()})
        maps = correlation_slices(run, {title: result.voxel_r for title, result in shown.items()})
        parts += [_figure("Time courses", courses), _figure("Correlation over time, by voxel", maps)]
    if any(rows[name]["null"] is not None for name in (MODEL, RIDGE) if name in rows):
        parts.append(_figure("r against its null of shifts in time", null_histograms(rows)))
    if MODEL in results and len(results[MODEL][0].sample_series) > 1:
        parts.append(_figure("Calibration of the samples", calibration(results[MODEL], runs)))
    title = html.escape(f"Evaluation of {report['model']['name']}")
    path.write_text(
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>\n'
        f"<h1>{title}</h1>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _verdict(report: dict) -> str:
    verdict = report["verdict"]
    sentences = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in verdict["sentences"])
    kind = "verdict yes" if verdict["eeg_information"] else "verdict"
    dataset, settings = report["dataset"], report["settings"]
    origin = "simulated" if dataset["simulated"] else "measured"
    facts = (
        f"{subjects_of(dataset)} ({origin} data, {dataset['space']} space, images: {dataset['image_normalisation']}); "
        f"protocol {settings['protocol']}, {settings['samples']} samples, {settings.get('sampler')}, "
        f"{settings['steps']} steps, seed {settings['seed']}. r: mean over {dataset['scored_regions']}s; by voxel: "
        f"{dataset['scored_voxels']}. "
        "Intervals: 95 %, bootstrap over subjects."
    )
    return (
        f'<div class="{kind}"><h2>{html.escape(verdict["headline"])}</h2><ul>{sentences}</ul></div>'
        f"<p>{html.escape(facts)}</p>"
    )


def _table(report: dict) -> str:
    rows = list(report["rows"].values())
    head = ["row", "sees", *TITLES.values(), *other_cells(rows[0])]
    body = [
        [row["title"], row["sees"], *(cell(row["scores"][score]) for score in TITLES), *other_cells(row).values()]
        for row in rows
    ]
    lines = ["<tr>" + "".join(f"<th>{html.escape(text)}</th>" for text in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in line) + "</tr>" for line in body]
    missing = "".join(
        f"<li>{html.escape(name)}: {html.escape(reason)}</li>" for name, reason in report["not_available"].items()
    )
    return f'<div class="wide"><table>{"".join(lines)}</table></div>' + (
        f"<p>Rows that this dataset can't have:</p><ul>{missing}</ul>" if missing else ""
    )


def _against(comparison: dict | None) -> str:
    if comparison is None:
        return ""
    lines = "".join(
        f"<tr><td>{html.escape(TITLES[score])}</td><td>{html.escape(cell(own))}</td></tr>"
        for score, own in comparison["scores"].items()
    )
    return f"<h2>{html.escape('Minus ' + comparison['model'])}</h2><table>{lines}</table>"


def _figure(title: str, figure: Figure) -> str:
    return f'<h2>{html.escape(title)}</h2><img alt="{html.escape(title)}" src="{embedded(figure)}">'
