"""The recipes of published datasets, for `prepare` without a recipe of one's own."""

from __future__ import annotations

from typing import Any

from ..errors import InputError

_LOG_POWER = {"mode": "log_power", "normalization": "training", "baseline": "recording"}
_CHANGE = {"mode": "change", "sample_size": [32, 64, 64], "grid_shape": [64, 64, 30]}
_PAPER = {"mode": "minmax_volume", "sample_size": [32, 64, 64], "grid_shape": [64, 64, 30]}

# By layout and preset. `calhas` is the paper's reading of the data (shapes of 64 x 134 x 10 for NODDI; XP-2 has no
# 134 frequencies at 200 Hz).
RECIPES: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("noddi", "aligned"): {
        "eeg_processor": {
            **_LOG_POWER,
            **{"sampling_rate": 250.0, "num_frequencies": 50, "bins_per_frequency": 2},
            **{"num_windows": 10, "window_start": -21.6},
        },
        "volume_processor": {**_CHANGE, "repetition_time": 2.16},
    },
    ("noddi", "calhas"): {
        "eeg_processor": {"mode": "magnitude", "sampling_rate": 250.0, "num_frequencies": 134, "window_start": -21.6},
        "volume_processor": {**_PAPER, "repetition_time": 2.16},
    },
    ("xp2", "aligned"): {
        "eeg_processor": {
            **_LOG_POWER,
            **{"sampling_rate": 200.0, "num_frequencies": 40, "num_windows": 20, "window_start": -20.0},
        },
        "volume_processor": {**_CHANGE, "repetition_time": 1.0, "resample": "dct"},
    },
    ("xp2", "calhas"): {
        "eeg_processor": {"mode": "magnitude", "sampling_rate": 200.0, "num_frequencies": 100, "window_start": -10.0},
        "volume_processor": {**_PAPER, "repetition_time": 1.0, "resample": "dct"},
    },
}


def default_recipe(layout: str, preset: str) -> dict[str, dict[str, Any]]:
    """The settings of both processors for a published dataset.

    Raises:
        InputError: for a layout that is no dataset of its own.
    """
    if (layout, preset) not in RECIPES:
        raise InputError(
            "recipe",
            found=f"none, for the layout {layout!r}",
            expected="a YAML file with the sections eeg_processor and volume_processor",
            remedy="Write one (docs/datasets/your-own.md shows how) and give it with --recipe.",
        )
    return RECIPES[layout, preset]
