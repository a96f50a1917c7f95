"""What an explanation's figures are made of: topographies through MNE, the brain through nilearn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mne
import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from nilearn import plotting

from ...data.simulation.head import MONTAGE
from ...pipeline import EEG2fMRIPipeline
from ...recordings.channels import quiet_mne
from ..runs import DatasetRun
from .axes import BAND_NAMES, band_shares
from .collect import RunFindings
from .ranks import CANDIDATE_NAMES, driver_of
from .summary import over_subjects

FEWEST_ELECTRODES = 4  # for a map of the scalp
COLUMNS = 4
MOST_REGIONS = 20  # in a figure: all networks, a fifth of the parcels


@dataclass(frozen=True)
class Findings:
    """What is drawn: the explanation, the runs' findings, the first run's brain, and the pipeline's grids."""

    explanation: dict
    runs: Sequence[RunFindings]
    first: DatasetRun
    pipe: EEG2fMRIPipeline

    def mean(self, name: str, key: str | int | None = None) -> np.ndarray:
        """Over subjects."""
        return over_subjects(self.runs, name, key).mean(axis=0)

    @property
    def regions(self) -> list[str]:
        """The regions that are drawn."""
        return list(self.explanation["regions"])[:MOST_REGIONS]


def fusion_frequencies(findings: Findings) -> Figure:
    """A curve for each head, a panel for each stage; heads of the first half run forward in time."""
    ranges = np.array(findings.explanation["axes"]["frequency_ranges"])
    num_stages = len(findings.runs[0].fusion)
    figure = Figure(figsize=(5 * num_stages, 3.2), layout="constrained")
    for stage, axis in enumerate(figure.subplots(1, num_stages, squeeze=False, sharey=True)[0]):
        for head, values in enumerate(findings.mean("fusion", stage)):
            axis.plot(ranges.mean(axis=1), values.mean(axis=-1), marker=".", label=f"head {head + 1}")
        axis.set(title=f"stage {stage + 1}", xlabel="Hz", ylabel="W (1: the past is kept)")
    axis.legend(fontsize=8)
    return figure


def fusion_scalps(findings: Findings) -> Figure:
    """Heads down, bands across."""
    shares = _shares(findings)
    values = np.einsum("hfe,bf->hbe", findings.mean("fusion", 0), shares)
    values -= values.mean(axis=(1, 2), keepdims=True)
    heads = [f"head {head + 1}" for head in range(len(values))]
    titles = [f"{head}\n{band}" for head in heads for band in BAND_NAMES]
    return _scalps(findings, values.reshape(len(titles), -1), titles, len(BAND_NAMES))


def region_scalps(findings: Findings, values: np.ndarray) -> Figure:
    """One scalp for each region; values `[region, electrode]`, the colours symmetric about 0."""
    count = len(findings.regions)
    return _scalps(findings, values[:count], [name.replace("_", " ") for name in findings.regions], COLUMNS)


def bands_and_lags(findings: Findings, values: np.ndarray) -> Figure:
    """One panel for each region; values `[region, band, window]`, the colours symmetric about 0."""
    lags = findings.explanation["axes"]["lags"]
    names = findings.regions
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 1.6 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True).ravel()
    limit = float(np.abs(values[: len(names)]).max()) or 1.0
    for axis, name, own in zip(axes, names, values, strict=False):
        picture = axis.imshow(own, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(name.replace("_", " "), fontsize=9)
        axis.set_yticks(range(len(BAND_NAMES)), BAND_NAMES, fontsize=7)
        ticks = np.arange(0, len(lags), max(1, len(lags) // 4))
        axis.set_xticks(ticks, [f"{lags[tick]:.0f}" for tick in ticks], fontsize=7)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    figure.colorbar(picture, ax=axes, shrink=0.6)
    figure.supxlabel("seconds before the volume", fontsize=9)
    return figure


def brain(findings: Findings) -> Figure:
    """Entropy and mean lag on the first run's mean volume; mean over subjects where all have one grid."""
    figure = Figure(figsize=(11, 4.5), facecolor="white")
    background = _image(findings, findings.first.mean)
    for panel, (name, colors, label) in enumerate(
        (("entropy", "viridis", "entropy"), ("lag", "plasma", "lag (s before the volume)"))
    ):
        values = _on_grid(findings, findings.mean(name))
        inside = values[findings.first.mask]
        low, high = float(inside.min()), float(inside.max())
        plotting.plot_img(
            _image(findings, np.where(findings.first.mask, values, 0)),
            bg_img=background,
            display_mode="z",
            cut_coords=6,
            figure=figure,
            axes=(0, 0.5 * (1 - panel), 1, 0.44),
            title=label,
            colorbar=True,
            cmap=colors,
            threshold=0.5 * low,
            vmin=low,
            vmax=max(high, 1.01 * low),  # a colour bar needs a range that its labels can tell apart
            cbar_tick_format="%.4g",
            black_bg=False,
            annotate=True,
        )
    return figure


def sources(findings: Findings, measure: str) -> Figure:
    """How strongly each region points to each network, in the region's own standard deviations; the truth framed."""
    names = findings.regions
    if measure == "attention":
        values = findings.mean("similarity")
    else:
        responses = findings.mean("source_response", measure.removeprefix("response_"))
        values = np.sqrt(np.square(relative(responses)).sum(axis=(1, 2)))
    values = values[: len(names)] - values[: len(names)].mean(axis=1, keepdims=True)
    values = values / np.maximum(values.std(axis=1, keepdims=True), np.finfo(float).tiny)
    figure = Figure(figsize=(8, 0.32 * len(names) + 2), layout="constrained")
    axis = figure.subplots()
    picture = axis.imshow(values, cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto")
    for row, name in enumerate(names):
        source = driver_of(name)
        if source is not None:
            axis.add_patch(Rectangle((source - 0.5, row - 0.5), 1, 1, fill=False, linewidth=2))
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xticks(range(len(CANDIDATE_NAMES)), CANDIDATE_NAMES, rotation=60, ha="right", fontsize=8)
    figure.colorbar(picture, ax=axis)
    return figure


def relative(values: np.ndarray) -> np.ndarray:
    """What regions, the first axis, have beyond their mean."""
    return values - values.mean(axis=0)


def _shares(findings: Findings) -> np.ndarray:
    """Weights of the encoder's frequencies in each band, which sum to 1 where the band is there at all."""
    shares = band_shares(np.array(findings.explanation["axes"]["frequency_ranges"]))
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def _scalps(findings: Findings, values: np.ndarray, titles: Sequence[str], num_columns: int) -> Figure:
    """Maps of the scalp with one scale of colours, symmetric about 0; those without a place are left out."""
    names = findings.explanation["axes"]["electrodes"]
    montage = mne.channels.make_standard_montage(MONTAGE)
    known = [index for index, name in enumerate(names) if name in montage.ch_names]
    rows = -(-len(titles) // num_columns)
    figure = Figure(figsize=(1.9 * num_columns, 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, num_columns, squeeze=False).ravel()
    for axis in axes[len(titles) :]:
        axis.set_axis_off()
    if len(known) < FEWEST_ELECTRODES:
        figure.text(0.5, 0.5, "too few electrodes with a known place", ha="center")
        return figure
    info = mne.create_info([names[index] for index in known], 1.0, "eeg", verbose="ERROR")
    info.set_montage(montage, verbose="ERROR")
    shown = values[:, known]
    limit = float(np.abs(shown).max()) or 1.0
    for axis, title, own in zip(axes, titles, shown, strict=False):
        with quiet_mne("topography"):
            picture, _ = mne.viz.plot_topomap(
                own, info, axes=axis, show=False, contours=0, cmap="RdBu_r", vlim=(-limit, limit)
            )
        axis.set_title(title, fontsize=8)
    figure.colorbar(picture, ax=axes, shrink=0.6)
    return figure


def _on_grid(findings: Findings, values: np.ndarray) -> np.ndarray:
    """Values of positions `[depth, height, width]` at the voxels of the run's grid, `[z, y, x]`."""
    processor = findings.pipe.volume_processor
    factors = [size // count for size, count in zip(processor.sample_size, values.shape, strict=True)]
    for axis, factor in enumerate(factors):
        values = np.repeat(values, factor, axis=axis)
    return processor.unpad(values)


def _image(findings: Findings, values: np.ndarray) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.asarray(values.T, np.float32), findings.first.affine)
