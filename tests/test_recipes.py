import json

import pytest

from eeg2fmri.errors import FileError, InputError
from eeg2fmri.recipes import SECTIONS, read_recipe


def test_json_and_yaml_say_the_same(tmp_path):
    sections = {"unet": {"block_out_channels": [8, 16], "rate": 1e-05, "flag": True, "name": "no", "count": 3}}
    (tmp_path / "a.json").write_text(json.dumps(sections))
    (tmp_path / "b.yaml").write_text(
        "unet:\n  block_out_channels: [8, 16]\n  rate: 1e-5\n  flag: true\n  name: no\n  count: 3\n"
    )
    first, second = read_recipe(tmp_path / "a.json"), read_recipe(tmp_path / "b.yaml")
    assert first == second == {**{name: {} for name in SECTIONS}, **sections}


@pytest.mark.parametrize(
    ("text", "number"), [("1e-4", 1e-4), ("-2.5E3", -2500.0), (".5", 0.5), ("3.", 3.0), ("12", 12), ("'1e-4'", "1e-4")]
)
def test_numbers_are_numbers(tmp_path, text, number):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"unet: {{x: {text}}}")
    value = read_recipe(path)["unet"]["x"]
    assert (value, type(value)) == (number, type(number))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("unet: {a: 1, a: 2}", FileError, r"\['a'\] given twice"),
        ("unet: [", FileError, "no readable recipe"),
        ("- unet", FileError, "no readable recipe"),
        ("unet: !!python/object/apply:os.system [id]", FileError, "no readable recipe"),
        ("network: {}", InputError, r"sections \['network'\]"),
        ("unet: 3", InputError, "unet: found a int"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path, text, error, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_recipe(path)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(FileError, match=r"nowhere\.yaml"):
        read_recipe(tmp_path / "nowhere.yaml")
