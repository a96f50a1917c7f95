"""The datasets' pages: their recipes make processors, their commands are ones that there are."""

import json
import re
from pathlib import Path

import pytest
import typer

from eeg2fmri import EEGProcessor, VolumeProcessor
from eeg2fmri.cli import app
from eeg2fmri.recordings.layouts import LAYOUTS
from eeg2fmri.recordings.layouts.table import OPTIONAL, REQUIRED

PAGES = sorted((Path(__file__).resolve().parents[1] / "docs" / "datasets").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_recipes_make_processors_that_reach_back_far_enough(page):
    recipes = [json.loads(block) for block in blocks(page, "json")]
    assert recipes
    for recipe in recipes:
        EEGProcessor(**recipe["eeg_processor"])
        VolumeProcessor(**recipe["volume_processor"])
        assert recipe["eeg_processor"]["window_start"] <= -16


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_have_these_options(page):
    known = {
        option for parameter in typer.main.get_command(app).commands["prepare"].params for option in parameter.opts
    }
    commands = [block for block in blocks(page, "bash") if "eeg2fmri prepare" in block]
    assert commands
    for command in commands:
        assert set(re.findall(r"(?<!\w)--[a-z-]+", command)) <= known
        assert set(re.findall(r"--layout (\S+)", command)) <= set(LAYOUTS)


def test_the_table_s_columns_are_all_described():
    text = next(page for page in PAGES if page.stem == "your-own").read_text()
    assert all(f"`{column}`" in text for column in (*REQUIRED, *OPTIONAL))
