"""The picture of a validation: generated volumes beside the measured ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..files import publish_file

NUM_COLUMNS = 4


def draw_samples(generated: np.ndarray, measured: np.ndarray, path: Path, title: str) -> np.ndarray:
    """Draw the middle axial slice of a few volumes, and what differs from the series' mean.

    Args:
        generated, measured (`np.ndarray` of shape `[N, x, y, z]`): volumes of one run, BOLD units.
        path (`Path`): the PNG to write.
        title (`str`): the figure's heading.

    Returns:
        `np.ndarray` of shape `[height, width, 3]`: the same picture, 8 bits.
    """
    series = {"measured": measured, "generated": generated}
    shown = np.unique(np.linspace(0, len(measured) - 1, min(NUM_COLUMNS, len(measured))).round().astype(int))
    middle = measured.shape[3] // 2
    planes = {name: volumes[..., middle] for name, volumes in series.items()}
    changes = {f"{name}, change": values - values.mean(0) for name, values in planes.items()}
    limit = float(np.percentile(np.abs(changes["measured, change"]), 99.5)) or 1.0
    rows = {name: (values, "gray", float(planes["measured"].min()), float(planes["measured"].max()))
            for name, values in planes.items()}  # fmt: skip
    rows |= {name: (values, "RdBu_r", -limit, limit) for name, values in changes.items()}

    figure = Figure(figsize=(2.2 * len(shown), 9), layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = figure.subplots(len(rows), len(shown), squeeze=False)
    for row, (name, (values, colors, low, high)) in zip(axes, rows.items(), strict=True):
        for axis, index in zip(row, shown, strict=True):
            axis.imshow(values[index].T, origin="lower", cmap=colors, vmin=low, vmax=high, interpolation="nearest")
            axis.set_axis_off()
        row[0].set_title(name, fontsize=9, loc="left")
    with publish_file(path) as staged:
        figure.savefig(staged, dpi=80)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
