"""The table as CSV, as Markdown for cards, and as cells for the report."""

from __future__ import annotations

import csv
from pathlib import Path

TITLES = {
    "r": "r",
    "r_net_of_global": "r net of global",
    "r_task_removed": "r, task removed",
    "r_other_subject": "r, other subjects' BOLD",
    "r_parcel": "r by parcel",
    "r_voxel": "r by voxel",
    "r_dark": "r, dark region",
    "r2": "R2",
    "identification": "identification 1 of 20",
    "connectivity_agreement": "connectivity agreement",
    "spectrum_agreement": "spectrum agreement",
    "ssim_3d": "SSIM 3-D",
    "ssim_3d_beyond_training_mean": "beyond training mean",
    "ssim_2d": "SSIM 2-D",
    "ssim_2d_beyond_training_mean": "beyond training mean",
    "ssim_3d_brain": "SSIM 3-D, brain",
    "ssim_3d_brain_beyond_training_mean": "beyond training mean",
    "ssim_2d_brain": "SSIM 2-D, brain",
    "ssim_2d_brain_beyond_training_mean": "beyond training mean",
    "psnr": "PSNR (dB)",
    "psnr_beyond_training_mean": "beyond training mean",
    "psnr_brain": "PSNR (dB), brain",
    "psnr_brain_beyond_training_mean": "beyond training mean",
    "rmse": "RMSE",
    "rmse_beyond_training_mean": "beyond training mean",
    "rmse_brain": "RMSE, brain",
    "rmse_brain_beyond_training_mean": "beyond training mean",
    "variance_ratio": "variance ratio",
    "crps": "CRPS (%)",
    "coverage_90": "coverage of 90 %",
}
NONE = "-"
CARD_COLUMNS = ("r", "r_net_of_global", "r_other_subject", "ssim_3d", "psnr", "rmse")


def write_csv(report: dict, path: Path) -> None:
    """One line for each row and score."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "sees", "samples", "score", "mean", "low", "high", "p"))
        for name, row in report["rows"].items():
            for score, values in row["scores"].items():
                if values is not None:
                    numbers = (f"{values[end]:.6g}" for end in ("mean", "low", "high", "p") if end in values)
                    writer.writerow((name, row["sees"], row["samples"], score, *numbers))


def cell(values: dict | None) -> str:
    """A mean with its interval, and the p of a difference."""
    if values is None:
        return NONE
    ending = f", p = {values['p']:.3f}" if "p" in values else ""
    return f"{values['mean']:.3f} [{values['low']:.3f}, {values['high']:.3f}]{ending}"


def other_cells(row: dict) -> dict[str, str]:
    """The columns that are no mean over subjects."""
    null, share, ridge = row["null"], row["share_of_oracle"], row["beyond_ridge"]
    return {
        "p, shifted in time": NONE if null is None else f"{null['p']:.3f}",
        "95 % of shifts": NONE if null is None else f"{null['percentile_95']:.3f}",
        "r beyond ridge": cell(ridge),
        "net r beyond ridge": cell(row["net_beyond_ridge"]),
        "share of oracle": NONE if share is None else f"{share:.0%}",
        "network calls": str(row["network_calls_per_volume"]),
        "s / volume": f"{row['seconds_per_volume']:.3f}",
    }


def markdown(report: dict) -> str:
    """The verdict and a short table, for a model card."""
    titles = ["row", *(TITLES[score] for score in CARD_COLUMNS), "p, shifted in time"]
    lines = [f"**{report['verdict']['headline']}**", "", line(titles), line(["---"] * len(titles))]
    for row in report["rows"].values():
        cells = [cell(row["scores"][score]) for score in CARD_COLUMNS]
        lines.append(line([row["title"], *cells, other_cells(row)["p, shifted in time"]]))
    return "\n".join([*lines, "", f"{subjects_of(report['dataset'])}."])


def subjects_of(dataset: dict) -> str:
    """How many subjects were tested, and on how many the rows were fitted."""
    tested, trained, folds = len(dataset["test_subjects"]), dataset["num_training_subjects"], len(dataset["folds"])
    in_folds = f" in {folds} folds, each with at least" if folds > 1 else ","
    return f"{tested} test subjects{in_folds} {trained} training subjects"


def line(cells: list[str]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"
