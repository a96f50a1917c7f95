"""Row 6: checkpoints that are cut, flipped, swapped or edited: a typed error that names the file, or what was saved.

Half of the mutations hit a trainer's checkpoint, half a published pipeline.
"""

import inspect
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from eeg2fmri import EEG2fMRIPipeline
from eeg2fmri.errors import EEG2fMRIError
from faults.damage import damaged
from tiny_training import State, tree

NUM_MUTATIONS = 250
KINDS = ("flip", "flip", "cut", "pad", "remove", "swap", "edit", "edit")
VALUES = (None, True, -1, 0, 3, 4.5, 1e30, "", "x", [], {}, [1, "a"], float("nan"))


def paths_into(content: object, prefix: tuple = ()) -> list[tuple]:
    """Where the entries of a JSON document are, as sequences of keys."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path for key, value in items for path in ((*prefix, key), *paths_into(value, (*prefix, key)))]


def edited(content: bytes, chance: random.Random) -> bytes:
    """A JSON document with one entry changed, removed or added."""
    document = json.loads(content)
    *parents, last = chance.choice(paths_into(document))
    place = document
    for key in parents:
        place = place[key]
    action = chance.choice(("change", "change", "remove", "add"))
    if action == "change":
        place[last] = chance.choice(VALUES)
    elif action == "remove":
        del place[last]
    elif isinstance(place, dict):
        place["added"] = chance.choice(VALUES)
    else:
        place.append(chance.choice(VALUES))
    return json.dumps(document, indent=1).encode()


def mutate(whole: dict[str, bytes], other: dict[str, bytes], number: int) -> tuple[str, str, dict[str, bytes]]:
    """Damage one file of a folder; `other` is a folder of the same layout to swap files with."""
    chance = random.Random(number)
    kind = KINDS[number % len(KINDS)]
    name = chance.choice([name for name in sorted(whole) if kind != "edit" or name.endswith(".json")])
    files = dict(whole)
    if kind == "remove":
        del files[name]
    elif kind == "swap":
        same_suffix = [path for path in sorted(whole) if Path(path).suffix == Path(name).suffix]
        files[name] = chance.choice([other[name], whole[chance.choice(same_suffix)]])
    elif kind == "edit":
        files[name] = edited(whole[name], chance)
    else:
        files[name] = damaged(whole[name], kind, np.random.default_rng(number))
    return kind, name, files


def write(folder: Path, files: dict[str, bytes]) -> None:
    """New files, since the old ones may be mapped into memory."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def load_mutations(folder: Path, whole: dict, other: dict, load: Callable[[Path], dict], numbers) -> list[str]:
    """Load every mutation; returns the kinds of those that were refused."""
    write(folder, whole)
    expected = load(folder)
    refused = []
    for number in numbers:
        kind, name, files = mutate(whole, other, number)
        write(folder, files)
        try:
            found, message = load(folder), None
        except EEG2fMRIError as error:
            found, message = expected, str(error)
            refused.append(kind)
        named = message is None or Path(name).name in message or folder.name in message
        assert named, (number, kind, name, message)
        differing = [fact for fact in expected.keys() | found.keys() if not same(expected, found, fact)]
        assert not differing, (number, kind, name, differing)
    return refused


def same(expected: dict, found: dict, fact: str) -> bool:
    if fact not in expected or fact not in found:
        return False
    one, two = expected[fact], found[fact]
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two and type(one) is type(two)


@pytest.fixture(scope="module")
def state():
    return State(9)


def test_checkpoints_of_a_training_run(state, tmp_path):
    whole = tree(State(4).save(tmp_path / "whole"))
    other = tree(State(6).save(tmp_path / "other"))

    def resume(folder: Path) -> dict:
        state.load(folder)
        return {**state.tensors(), "step": state.step}

    folder = tmp_path / "run" / "checkpoint-4"
    refused = load_mutations(folder, whole, other, resume, range(NUM_MUTATIONS))
    assert len(refused) > 0.9 * NUM_MUTATIONS


def test_published_pipelines(tmp_path):
    tiny.pipeline(with_prior=True).save_pretrained(tmp_path / "whole")
    # Of other sizes: a whole component of the same configuration is no damage, diffusers' users exchange these.
    tiny.pipeline(block_out_channels=(8, 24)).save_pretrained(tmp_path / "other")
    whole, other = tree(tmp_path / "whole"), tree(tmp_path / "other")
    refused = load_mutations(
        tmp_path / "published-pipeline", whole, {**whole, **other}, facts_of_pipeline, range(NUM_MUTATIONS)
    )
    assert len(refused) > 0.8 * NUM_MUTATIONS


def facts_of_pipeline(folder: Path) -> dict:
    """All that was learned or set, but the scheduler's settings: diffusers' users may change these in their file."""
    pipe = EEG2fMRIPipeline.from_pretrained(folder)
    facts: dict = {}
    for name in ("eeg_encoder", "unet", "prior"):
        network = getattr(pipe, name)
        assert not any(parameter.is_meta for parameter in network.parameters())
        facts |= {f"{name}.{key}": tensor for key, tensor in network.state_dict().items()}
        facts[f"{name}.config"] = public(network)
    for name in ("eeg_processor", "volume_processor"):
        processor = getattr(pipe, name)
        facts |= {f"{name}.{array}": torch.from_numpy(getattr(processor, array)) for array in processor.array_names}
        facts[f"{name}.config"] = public(processor)
    return facts


def public(component) -> str:
    """Its settings; what it has no use for is ignored by diffusers, with a warning."""
    names = inspect.signature(type(component)).parameters
    return json.dumps({name: component.config[name] for name in names})
