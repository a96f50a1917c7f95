"""Recipes: one JSON file with the settings of a pipeline's components, shared by `prepare` and training."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .errors import FileError, InputError

SECTIONS = ("eeg_processor", "volume_processor", "eeg_encoder", "unet", "scheduler")


def read_recipe(path: str | os.PathLike) -> dict[str, dict]:
    """Read a recipe: a JSON file with a section of keyword arguments per component, each optional.

    Raises:
        FileError: when there is no such file or it is no JSON object.
        InputError: for a section that is not known.
    """
    try:
        recipe = dict(json.loads(Path(path).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise FileError(
            path,
            found=f"no readable recipe ({error})",
            expected=f"a JSON file with sections among {', '.join(SECTIONS)}",
            remedy="Start from one in scripts/recipes.",
        ) from error
    unknown = sorted(set(recipe) - set(SECTIONS))
    if unknown:
        raise InputError(
            path, found=f"sections {unknown}", expected=f"among {', '.join(SECTIONS)}", remedy="Remove them."
        )
    return {name: recipe.get(name, {}) for name in SECTIONS}
