"""A process that ends at any file-system event of a save leaves whole checkpoints, and one to go on from."""

import itertools
import json
import os
import resource
import shutil
import signal

import pytest

import forked
import tiny
from eeg2fmri import EEG2fMRIPipeline
from eeg2fmri.files import publish_contents, remove_leftovers
from eeg2fmri.hub import save_for_hub
from eeg2fmri.training.checkpoint import list_checkpoints
from tiny_training import State, tree


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with the whole checkpoints 2 and 4, both of which load."""
    folder = tmp_path_factory.mktemp("whole")
    for step in (2, 4):
        path = State(step).save(folder)
        other = State(9)
        other.load(path)
        assert all(value.equal(other.tensors()[name]) for name, value in State(step).tensors().items())
    return folder


def nothing(whole, output):
    pass


def one_before(whole, output):
    shutil.copytree(whole / "checkpoint-2", output / "checkpoint-2")


def the_same_there(whole, output):
    one_before(whole, output)
    shutil.copytree(whole / "checkpoint-4", output / "checkpoint-4")


def a_damaged_one_there(whole, output):
    the_same_there(whole, output)
    (output / "checkpoint-4" / "unet" / "config.json").unlink()


def all_whole(whole, output):
    """The steps whose checkpoints are exactly what an undisturbed save writes."""
    paths = list_checkpoints(output)
    return [path.name for path in paths if tree(path) == tree(whole / path.name)]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(nothing, marks=pytest.mark.slow),
        one_before,
        the_same_there,
        pytest.param(a_damaged_one_there, marks=pytest.mark.slow),
    ],
)
def test_every_event_of_a_save_with_limit_one(before, whole, tmp_path):
    state, output = State(4), tmp_path / "run"
    for number in itertools.count():
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        before(whole, output)
        damaged = set(os.listdir(output)) - set(all_whole(whole, output))

        def save(number=number):
            forked.at_event(number, lambda: os._exit(forked.ENDED))
            state.save(output, limit=1)

        code = forked.run(save)
        found = all_whole(whole, output)
        visible = {path.name for path in list_checkpoints(output)}
        assert visible - set(found) <= damaged, f"half a checkpoint after event {number}"
        assert found or before is nothing, f"nothing to go on from after event {number}"
        remove_leftovers(output, "checkpoint-*")
        assert set(os.listdir(output)) == visible, f"not cleaned up after event {number}"
        if code == 0:
            break
        assert code == forked.ENDED
    assert visible == {"checkpoint-4"} == set(found)
    assert number > 20
    print(f"{before.__name__}: {number} events")


def test_an_end_within_a_file_and_the_next_save(whole, tmp_path):
    largest = max(len(content) for content in tree(whole / "checkpoint-4").values())
    one_before(whole, tmp_path)
    for size in (0, 100, 1000, 20_000, 100_000, largest - 1):

        def save(size=size):
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            State(4).save(tmp_path, limit=1)

        assert forked.run(save) == -signal.SIGXFSZ
        assert all_whole(whole, tmp_path) == ["checkpoint-2"]
        assert len(os.listdir(tmp_path)) == 2, "the leftover of this save only"
    State(4).save(tmp_path, limit=1)
    assert os.listdir(tmp_path) == all_whole(whole, tmp_path) == ["checkpoint-4"]


def test_what_a_living_process_writes_is_not_cleaned_away(whole, tmp_path):
    ready, go = os.pipe(), os.pipe()

    def save():
        def pause():
            os.write(ready[1], b"x")
            os.read(go[0], 1)

        forked.at_event(60, pause)
        State(4).save(tmp_path)

    process = forked.start(save)
    os.close(ready[1])
    assert os.read(ready[0], 1) == b"x"
    remove_leftovers(tmp_path, "*")
    os.write(go[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert all_whole(whole, tmp_path) == ["checkpoint-4"]


@pytest.mark.slow
def test_every_event_of_the_final_publication(tmp_path):
    """The folder holds the old pipeline, the new one, or none that loads; the same command then completes it."""

    def publish(content):
        pipe.register_to_config(seed=content)
        with publish_contents(tmp_path / "run", last="model_index.json") as folder:
            save_for_hub(pipe, folder)

    pipe = tiny.pipeline()
    trees = {}
    for content in ("new", "old"):
        publish(content)
        trees[content] = tree(tmp_path / "run")
        EEG2fMRIPipeline.from_pretrained(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "kept")
    for number in itertools.count():
        shutil.rmtree(tmp_path / "run")
        shutil.copytree(tmp_path / "kept", tmp_path / "run")

        def child(number=number):
            forked.at_event(number, lambda: os._exit(forked.ENDED))
            publish("new")

        code = forked.run(child)
        found = {name: text for name, text in tree(tmp_path / "run").items() if not name.startswith(".")}
        assert "model_index.json" not in found or found in trees.values(), f"a mixture after event {number}"
        remove_leftovers(tmp_path / "run", "*")
        assert not [name for name in os.listdir(tmp_path / "run") if name.startswith(".")]
        assert sorted(os.listdir(tmp_path)) == ["kept", "run"]
        if code == 0:
            break
        assert code == forked.ENDED
    assert found == trees["new"]
    assert json.loads(found["model_index.json"])["_class_name"] == "EEG2fMRIPipeline"
    print(f"publication: {number} events")
