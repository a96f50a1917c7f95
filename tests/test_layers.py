"""Imports point downwards only, and what must stay light does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "eeg2fmri"
# The room of a module is the first part of its name. Within a level, only what is listed may be imported.
LEVELS = {
    0: ("errors", "shapes", "files", "randomness", "recipes", "registration"),
    1: ("recordings", "processing", "models", "metrics"),
    2: (
        "pipeline",
        "regression_pipeline",
        "pipeline_adapters",
        "pipeline_components",
        "pipeline_inputs",
        "pipeline_loading",
        "pipeline_outputs",
        "pipeline_timing",
        "data",
        "baselines",
    ),
    3: ("training", "evaluation", "hub", "cards", "generation", "cli"),
}
LEVEL = {room: level for level, rooms in LEVELS.items() for room in rooms}
FORBIDDEN = {
    "recordings": {"torch", "diffusers", "transformers", "accelerate"},
    "processing": {"torch", "transformers", "accelerate"},
    "models": {"mne", "nibabel", "nilearn"},
    "metrics": {"mne", "nibabel", "nilearn", "diffusers", "transformers", "accelerate"},
    "pipeline": {"mne", "nibabel", "nilearn", "accelerate"},
    "regression_pipeline": {"mne", "nibabel", "nilearn", "accelerate"},
}
SIDEWAYS = {
    ("processing", "recordings"),
    ("pipeline", "pipeline_components"),
    ("pipeline", "pipeline_inputs"),
    ("pipeline", "pipeline_loading"),
    ("regression_pipeline", "pipeline_loading"),
    ("pipeline", "pipeline_adapters"),
    ("pipeline", "pipeline_outputs"),
    ("regression_pipeline", "pipeline_components"),
    ("regression_pipeline", "pipeline_inputs"),
    ("pipeline_components", "pipeline_inputs"),
    ("regression_pipeline", "pipeline_outputs"),
    ("pipeline_inputs", "pipeline_timing"),
    ("pipeline_outputs", "pipeline_inputs"),
    ("training", "hub"),
    ("generation", "hub"),
    ("evaluation", "hub"),
    ("evaluation", "cards"),
    ("evaluation", "training"),
    ("generation", "evaluation"),
    ("cli", "generation"),
    ("cli", "evaluation"),
    ("cli", "cards"),
    ("cli", "hub"),
}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__init__.py" or path.parent != SOURCE)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full names of imported modules; ours start with `eeg2fmri.`."""
    package = ["eeg2fmri", *path.relative_to(SOURCE).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names.add(".".join([*base, *([node.module] if node.module else [])]))
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_downwards(path):
    room = room_of(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "eeg2fmri" and len(parts) > 1 and parts[1] not in (room, "errors"):
            assert LEVEL[parts[1]] < LEVEL[room] or (room, parts[1]) in SIDEWAYS, f"{path.name} imports {name}"
        assert parts[0] not in FORBIDDEN.get(room, set()), f"{path.name} imports {name}"


def test_inference_carries_no_dataset_code():
    for name in ("pipeline.py", "regression_pipeline.py", "pipeline_inputs.py", "pipeline_outputs.py"):
        assert not any(module.startswith("eeg2fmri.data") for module in imports(SOURCE / name))


def test_the_networks_of_the_baselines_are_torch_and_diffusers_alone():
    for path in (SOURCE / "baselines" / "networks").glob("*.py"):
        for name in imports(path):
            assert name.startswith(("eeg2fmri.models", "eeg2fmri.baselines.networks", "eeg2fmri.errors")) or (
                name.split(".")[0] not in {"eeg2fmri", *FORBIDDEN["models"]}
            ), f"{path.name} imports {name}"


def test_every_room_has_a_level():
    assert {room_of(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize("statement", ["import eeg2fmri", "import eeg2fmri.cli"])
def test_heavy_libraries_are_not_imported_before_they_are_used(statement):
    heavy = {"torch", "diffusers", "mne", "nilearn", "numpy"}
    code = f"{statement}; import sys; print(sorted({heavy} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"
