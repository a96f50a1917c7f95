"""The command line of `scripts/train.py`: defaults, then a recipe's section `training`, then the flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import yaml

from ..errors import InputError
from ..files import publish_file
from ..recipes import SECTIONS, read_recipe
from .config import TrainingConfig


def make_parser(description: str | None = None) -> argparse.ArgumentParser:
    """A flag for every setting of [`TrainingConfig`], in its groups; flags that are not given leave no trace."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    groups = {"data": parser.add_argument_group("data")}
    groups["data"].add_argument(
        "--config", metavar="FILE.yaml", help="Recipe: networks, noise schedule and settings; flags win over it."
    )
    for setting in fields(TrainingConfig):
        name = setting.metadata["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        text = setting.metadata["help"] + (f" Default: {setting.default!r}." if setting.default != "" else "")
        if isinstance(setting.default, bool):
            groups[name].add_argument(f"--{setting.name}", action=argparse.BooleanOptionalAction, help=text)
            continue
        choices = setting.metadata.get("choices")
        kind = type(setting.default)
        options = {"choices": tuple(choices)} if choices else {"metavar": kind.__name__.upper()}
        groups[name].add_argument(f"--{setting.name}", type=kind, help=text, **options)
    return parser


def read_settings(
    arguments: Sequence[str] | None = None, description: str | None = None
) -> tuple[TrainingConfig, dict[str, dict]]:
    """Read the command line.

    Args:
        arguments: by default those of this process.
        description: what `--help` says first.

    Returns:
        `tuple`: the settings, and the recipe that they come with (empty sections without `--config`: the paper's).

    Raises:
        FileError, InputError: for an unreadable recipe, an unknown setting in it, or a value that can't be.
    """
    given = vars(make_parser(description).parse_args(arguments))
    path = given.pop("config", None)
    recipe: dict[str, dict] = {name: {} for name in SECTIONS} if path is None else read_recipe(path)
    known = [setting.name for setting in fields(TrainingConfig)]
    unknown = sorted(set(recipe["training"]) - set(known))
    if unknown:
        raise InputError(
            f"{path}: training",
            found=f"settings {unknown}",
            expected=f"among {', '.join(known)}",
            remedy="Remove them.",
        )
    return TrainingConfig(**{**recipe["training"], **given}), recipe


def save_settings(path: Path, config: TrainingConfig, recipe: dict[str, dict]) -> None:
    """Write a recipe that repeats this run: `--config` reads it."""
    settings = {name: value for name, value in config.to_dict().items() if name != "resume_from_checkpoint"}
    with publish_file(path) as staged:
        staged.write_text(yaml.safe_dump({**recipe, "training": settings}, sort_keys=False), encoding="utf-8")
