"""Figures of the evaluation report."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .collect import IMAGE_SCORES, SIMILARITIES, RunResult
from .rows import MODEL, RIDGE
from .runs import DatasetRun
from .tables import TITLES

VALUE_MASK = 0.35  # of Figures 23 and 24
NUM_SLICES = 6
NUM_COURSES = 4


def embedded(figure: Figure) -> str:
    """A figure as a PNG in an HTML image source."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def image_score_boxes(results: Mapping[str, Sequence[RunResult]], titles: Mapping[str, str]) -> Figure:
    """SSIM, where it fits the grid, and RMSE over all scored volumes, for every row (paper, Figure 22)."""
    images = next(iter(results.values()))[0].image
    fitting = [score for score in SIMILARITIES if np.isfinite(images[IMAGE_SCORES.index(score)]).all()]
    scores = [*fitting[:1], "rmse"]
    figure = Figure(figsize=(11, 0.35 * len(results) + 1.2), layout="constrained")
    axes = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for axis, score in zip(axes, scores, strict=True):
        index = IMAGE_SCORES.index(score)
        values = [np.concatenate([result.image[index] for result in own]) for own in results.values()]
        axis.boxplot(values, orientation="horizontal", showfliers=False)
        axis.set_xlabel(TITLES[score])
    axes[0].set_yticks(range(1, len(results) + 1), [titles[name] for name in results])
    axes[0].invert_yaxis()
    return figure


def axial_slices(run: DatasetRun, measured: np.ndarray, generated: np.ndarray) -> Figure:
    """Measured and generated axial slices of one volume, values below 0.35 left out (paper, Figures 23 and 24)."""
    return _slices(
        run,
        {"measured": measured, "generated": generated},
        lambda values: np.where(values < VALUE_MASK, np.nan, values),
        "inferno",
        (VALUE_MASK, 1.0),
    )


def correlation_slices(run: DatasetRun, maps: Mapping[str, np.ndarray]) -> Figure:
    """Maps of the correlation over time, by voxel."""
    highest = max(0.1, *(float(np.nanpercentile(np.abs(values), 99)) for values in maps.values()))
    return _slices(run, maps, lambda values: values, "RdBu_r", (-highest, highest))


def network_courses(run: DatasetRun, own: Mapping[str, np.ndarray]) -> Figure:
    """Measured and predicted time courses of the first regions, each in its own standard deviations."""
    regions = np.flatnonzero(~run.regions.of("dark") & run.regions.present)[:NUM_COURSES]
    figure = Figure(figsize=(11, 1.6 * len(regions)), layout="constrained")
    axes = figure.subplots(len(regions), 1, sharex=True, squeeze=False)[:, 0]
    times = run.repetition_time * np.arange(len(run.series))
    for axis, region in zip(axes, regions, strict=True):
        for label, series in {"measured": run.series, **own}.items():
            values = series[:, region]
            color = {"color": "black"} if label == "measured" else {}
            axis.plot(times, values / (values.std() or 1), linewidth=1, label=label, **color)
        axis.set_ylabel(run.regions.names[region].replace("_", "\n"), fontsize=8)
    axes[0].legend(ncols=len(own) + 1, fontsize=8, loc="upper right")
    axes[-1].set_xlabel(f"seconds, {run.name}")
    return figure


def null_histograms(rows: Mapping[str, dict]) -> Figure:
    """r of the model and of the ridge within their nulls of time shifts."""
    shown = {name: rows[name] for name in (MODEL, RIDGE) if name in rows and rows[name]["null"] is not None}
    figure = Figure(figsize=(5.5 * len(shown), 3), layout="constrained")
    for axis, row in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.values(), strict=True):
        axis.hist(row["null"]["scores"], bins=20, color="0.7", label="time shifted by 40 s or more")
        axis.axvline(row["scores"]["r"]["mean"], color="crimson", label="as predicted")
        axis.set_title(f"{row['title']}: p = {row['null']['p']:.3f}", fontsize=10)
        axis.set_xlabel("r")
        axis.legend(fontsize=8)
    return figure


def calibration(results: Sequence[RunResult], runs: Sequence[DatasetRun]) -> Figure:
    """How often the measurement has each rank among the samples; flat where the samples spread as they should."""
    num_samples = len(results[0].sample_series)
    counts = np.zeros(num_samples + 1)
    for result, run in zip(results, runs, strict=True):
        regions = ~run.regions.of("dark") & run.regions.present
        ranks = (result.sample_series[:, :, regions] < run.series[:, regions]).sum(axis=0)
        counts += np.bincount(ranks.ravel(), minlength=num_samples + 1)
    figure = Figure(figsize=(5.5, 3), layout="constrained")
    axis = figure.subplots()
    axis.bar(range(num_samples + 1), counts / counts.mean(), color="0.6")
    axis.axhline(1, color="crimson", linewidth=1)
    axis.set_xlabel(f"rank of the measurement among {num_samples} samples")
    axis.set_ylabel("frequency (1: calibrated)")
    return figure


def _slices(run: DatasetRun, volumes: Mapping[str, np.ndarray], shown, colors: str, limits) -> Figure:
    inside = np.flatnonzero(run.mask.any(axis=(1, 2)))
    chosen = np.unique(np.linspace(inside[0], inside[-1], NUM_SLICES + 2).round().astype(int)[1:-1])
    width, height = np.linalg.norm(run.affine[:3, :2], axis=0)
    figure = Figure(figsize=(11, 1.9 * len(volumes)), layout="constrained")
    axes = figure.subplots(len(volumes), len(chosen), squeeze=False)
    for line, (label, volume) in zip(axes, volumes.items(), strict=True):
        for axis, index in zip(line, chosen, strict=True):
            # Left of the picture is left of the brain, whatever way the first axis runs.
            plane = shown(volume[index][:, :: -1 if run.affine[0, 0] < 0 else 1])
            picture = axis.imshow(
                plane, origin="lower", cmap=colors, vmin=limits[0], vmax=limits[1], aspect=height / width
            )
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(label, fontsize=9)
    figure.colorbar(picture, ax=axes, shrink=0.9)
    return figure
