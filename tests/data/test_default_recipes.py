"""Recipes of published datasets: valid, those of the documentation, and asked for where there is none."""

import json
import re
from pathlib import Path

import pytest

from eeg2fmri import EEGProcessor, VolumeProcessor
from eeg2fmri.data.default_recipes import RECIPES, default_recipe
from eeg2fmri.errors import InputError

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs" / "datasets"


@pytest.mark.parametrize(("layout", "preset"), RECIPES)
def test_they_make_processors_whose_frequencies_exist(layout, preset):
    recipe = default_recipe(layout, preset)
    VolumeProcessor(**recipe["volume_processor"])
    assert EEGProcessor(**recipe["eeg_processor"]).frequencies.max() <= recipe["eeg_processor"]["sampling_rate"] / 2


@pytest.mark.parametrize("layout", ["noddi", "xp2"])
def test_they_are_the_documented_ones(layout):
    (documented,) = re.findall(r"```json\n(.*?)```", (DOCUMENTS / f"{layout}.md").read_text(), flags=re.DOTALL)
    assert json.loads(documented) == default_recipe(layout, "aligned")


def test_a_dataset_of_ones_own_needs_a_recipe():
    with pytest.raises(InputError, match="recipe: found none, for the layout 'bids'"):
        default_recipe("bids", "aligned")
