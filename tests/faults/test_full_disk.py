"""A full disk is a typed error that names the file; what was there before stays as it was, and nothing is added."""

import errno
import itertools
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import forked
import tiny
import tiny_files
from eeg2fmri.errors import FileError
from eeg2fmri.files import publish_contents
from eeg2fmri.generation import generate_files
from eeg2fmri.hub import save_for_hub
from eeg2fmri.training.run_log import LogFile
from tiny_training import State, tree

ROOT = Path(__file__).resolve().parents[2]


def disk_full_at(number):
    """From now on, the disk is full at that event which needs room."""

    def fail():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    forked.at_event(number, fail, only_writing=True)


def largest_file(size):
    """From now on, no file grows beyond `size` bytes; Python ignores the signal, so that writing fails."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def refused(arrange, write):
    return forked.refused(arrange, write, FileError)


SIZES = (0, 300, 2000, 60_000, 200_000)


@pytest.mark.parametrize("size", SIZES)
def test_a_checkpoint_that_grows_too_large(size, tmp_path):
    State(2).save(tmp_path, limit=1)
    before = tree(tmp_path)
    message = refused(lambda: largest_file(size), lambda: State(4).save(tmp_path, limit=1))
    assert f"{tmp_path}/checkpoint-4" in message
    assert "can't be written" in message
    assert tree(tmp_path) == before
    assert os.listdir(tmp_path) == ["checkpoint-2"]


def test_a_disk_that_fills_at_any_event_of_a_save(tmp_path):
    state, num_refused = State(4), 0
    State(2).save(tmp_path)
    before = tree(tmp_path)
    for number in itertools.count():
        message = refused(lambda number=number: disk_full_at(number), lambda: state.save(tmp_path))
        if message is None:
            break
        num_refused += 1
        assert str(tmp_path) in message
        assert tree(tmp_path) == before
        assert os.listdir(tmp_path) == ["checkpoint-2"]
    assert num_refused > 10
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-2", "checkpoint-4"]


@pytest.mark.slow
def test_a_disk_that_fills_at_any_event_of_the_final_publication(tmp_path):
    def publish(seed):
        pipe.register_to_config(seed=seed)
        with publish_contents(tmp_path / "run", last="model_index.json") as folder:
            save_for_hub(pipe, folder)

    pipe = tiny.pipeline()
    publish(1)
    before = tree(tmp_path)
    for number in itertools.count():
        message = refused(lambda number=number: disk_full_at(number), lambda: publish(2))
        if message is None:
            break
        assert f"{tmp_path}/run" in message
        assert tree(tmp_path) == before
        assert os.listdir(tmp_path) == ["run"]
    assert number > 30


def test_the_log(tmp_path):
    log = LogFile(tmp_path / "log.jsonl")
    log.append({"step": 1})
    message = refused(lambda: largest_file(20), lambda: [log.append({"step": step}) for step in (2, 3)])
    assert f"{tmp_path}/log.jsonl" in message


def command_with_a_full_disk(size, *arguments):
    """What the command line says; in a process of its own, since libraries with threads do not survive a fork."""
    result = subprocess.run(
        [sys.executable, "-m", "eeg2fmri.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: largest_file(size),
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": tempfile.gettempdir()},
    )
    assert result.returncode == forked.REFUSED, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 2000, 100_000])
def test_prepare(size, simulated, tmp_path):
    recipe = ROOT / "scripts" / "recipes" / "sim-small.yaml"
    message = command_with_a_full_disk(size, "prepare", simulated, "--output", tmp_path / "pairs", "--recipe", recipe)
    assert f"error: {tmp_path}/pairs" in message
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 300, 2000])
def test_generate(size, tmp_path):
    tiny.pipeline().save_pretrained(tmp_path / "model")
    recording = tiny_files.write_eeg(tmp_path / "sub-01_eeg.vhdr", seconds=30.0)
    generate_files(recording, tmp_path / "out", model=str(tmp_path / "model"), num_inference_steps=1, seed=1)
    before = tree(tmp_path)
    options = ("--output", tmp_path / "out", "--model", tmp_path / "model", "--steps", 1, "--seed", 2)
    message = command_with_a_full_disk(size, "generate", recording, *options)
    assert f"error: {tmp_path}/out" in message
    assert tree(tmp_path) == before
