"""Which figures an explanation has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from .panels import (
    Findings,
    bands_and_lags,
    brain,
    fusion_frequencies,
    fusion_scalps,
    region_scalps,
    relative,
    sources,
)
from .summary import TITLES


def draw_figures(findings: Findings, folder: Path) -> dict[str, Path]:
    """Draw all that can be had, as PNG.

    Returns:
        `dict`: title to file.
    """
    paths = {}
    for title, name, figure in _figures(findings):
        paths[title] = folder / f"{name}.png"
        figure.savefig(paths[title], dpi=90, bbox_inches="tight")
    return paths


def _figures(findings: Findings) -> Iterator[tuple[str, str, Figure]]:
    """Title, name and figure, one at a time."""
    first = findings.runs[0]
    if first.fusion:
        fusion = "MHRSA's fusion weights W by head"
        yield f"{fusion} and frequency, averaged over electrodes", "fusion_frequencies", fusion_frequencies(findings)
        yield (
            f"{fusion} and band in the first stage, less the head's mean",
            "fusion_topographies",
            fusion_scalps(findings),
        )
    if first.attention is not None:
        title = "CIIM attention: what each region attends to more than the mean region"
        beyond = relative(findings.mean("attention"))
        yield f"{title}, by band and lag", "attention_bands_lags", bands_and_lags(findings, beyond.sum(axis=-1))
        yield f"{title}, at the electrodes", "attention_topographies", region_scalps(findings, beyond.sum(axis=(1, 2)))
        yield "CIIM attention: entropy (1: all tokens alike) and mean lag", "attention_brain", brain(findings)
    for target in first.electrode_response:
        title = f"Response of each region's expected signal ({target}) to activity of the cortex"
        own = findings.mean("electrode_response", target)
        yield f"{title}, by band and lag", f"response_{target}_bands_lags", bands_and_lags(findings, own.mean(axis=-1))
        yield (
            f"{title} below the electrodes",
            f"response_{target}_topographies",
            region_scalps(findings, own.sum(axis=(1, 2))),
        )
    for measure in findings.explanation["truth"]:
        title = f"{TITLES[measure]}: the network that each region points to (framed: the true one)"
        yield title, f"sources_{measure}", sources(findings, measure)
