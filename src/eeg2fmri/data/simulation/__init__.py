"""Simulated simultaneous EEG-fMRI with known coupling, written in the files that real recordings come in."""

from .dataset import simulate_dataset
from .export import export_run
from .layouts import subject_label
from .levels import LEVELS, Level
from .networks import BAND_NAMES, BANDS, DARK_NETWORK, NETWORK_NAMES, NETWORKS, Network
from .presets import PRESETS, Preset
from .run import SimulatedRun, simulate_run
from .scanner_artifacts import with_scanner_artifacts
from .task import Blocks
from .write import write_run

__all__ = [
    "BANDS",
    "BAND_NAMES",
    "DARK_NETWORK",
    "LEVELS",
    "NETWORKS",
    "NETWORK_NAMES",
    "PRESETS",
    "Blocks",
    "Level",
    "Network",
    "Preset",
    "SimulatedRun",
    "export_run",
    "simulate_dataset",
    "simulate_run",
    "subject_label",
    "with_scanner_artifacts",
    "write_run",
]
