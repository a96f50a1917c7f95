"""The page: one HTML file with the words on top, that needs no other file."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path

from ..report import STYLE
from .summary import TITLES


def write_page(explanation: dict, figures: Mapping[str, Path], path: Path) -> None:
    """Write the page.

    Args:
        explanation (`dict`): of [`explain`].
        figures: title to PNG.
        path: the HTML file.
    """
    title = html.escape(f"Explanation of {explanation['model']['name']}")
    parts = [_words(explanation), _table(explanation["truth"]), *(_figure(*figure) for figure in figures.items())]
    path.write_text(
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>\n'
        f"<h1>{title}</h1>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _words(explanation: dict) -> str:
    found, dataset, settings = explanation["found"], explanation["dataset"], explanation["settings"]
    sentences = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in found["sentences"])
    origin = "simulated" if dataset["simulated"] else "measured"
    facts = (
        f"{len(dataset['test_subjects'])} test subjects ({origin} data), {settings['windows_per_run']} windows a run, "
        f"{settings['sampler']}, {settings['steps']} steps, seed {settings['seed']}. The encoder reads the "
        f"{explanation['axes']['encoder_reads']}. Attention weights say where a network looks, not what changes its "
        "output; responses say the latter."
    )
    if not explanation["model"]["training_subjects_known"]:
        facts += " The model does not say which subjects it was trained on."
    return (
        f'<div class="verdict"><h2>{html.escape(found["headline"])}</h2><ul>{sentences}</ul></div>'
        f"<p>{html.escape(facts)}</p>"
    )


def _table(measures: Mapping[str, dict]) -> str:
    if not measures:
        return ""
    head = ["measure", "regions", "mean rank", "chance", "first", "chance", "p", "p over subjects"]
    lines = ["<tr>" + "".join(f"<th>{text}</th>" for text in head) + "</tr>"]
    for name, own in measures.items():
        for group in ("cortical", "deep"):
            if group in own:
                ranks = own[group]
                subjects = "" if ranks["p_subjects"] is None else f"{ranks['p_subjects']:.4f}"
                cells = [TITLES[name], group, f"{ranks['mean_rank']:.2f}", f"{ranks['chance_rank']:.1f}"]
                cells += [f"{ranks['top_1']:.0%}", f"{ranks['chance_top_1']:.0%}", f"{ranks['p']:.4f}", subjects]
                lines.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _figure(title: str, path: Path) -> str:
    source = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    return f'<h2>{html.escape(title)}</h2><img alt="{html.escape(title)}" src="{source}">'
