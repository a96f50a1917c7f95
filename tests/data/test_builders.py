"""RELIABILITY row 19: eight processes build the same dataset, one of them is killed; twenty rounds."""

import os
import random
import shutil
import signal
import time
import traceback

import pytest

from eeg2fmri.data.pairs import build_pairs
from tiny_pairs import contents, tiny_processors, tiny_study, train_on

NUM_ROUNDS, NUM_PROCESSES = 20, 8


def build(runs, output):
    eeg, volume = tiny_processors()
    return build_pairs(runs, output, eeg_processor=eeg, volume_processor=volume, split=train_on("A", "B", "C"))


def builder(runs, output) -> int:
    """A process that builds, and ends with 0 when the dataset is there."""
    child = os.fork()
    if child == 0:
        try:
            build(runs, output)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            # Who comes when all is done finds something already there: that is right, too.
            os._exit(0 if (output / "index.json").is_file() else 1)
    return child


@pytest.mark.slow
def test_one_builds_and_the_others_wait_even_when_one_is_killed(tmp_path):
    runs = tiny_study(tmp_path / "study")
    started = time.perf_counter()
    expected = contents(build(runs, tmp_path / "alone"))
    duration = time.perf_counter() - started
    generator = random.Random(0)
    for number in range(NUM_ROUNDS):
        output = tmp_path / f"round-{number}" / "pairs"
        children = [builder(runs, output) for _ in range(NUM_PROCESSES)]
        time.sleep(generator.uniform(0, 2 * duration))
        victim = generator.choice(children)
        os.kill(victim, signal.SIGKILL)
        codes = {child: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
        assert all(code == 0 for child, code in codes.items() if child != victim)
        assert contents(output) == expected
        assert [path.name for path in output.parent.iterdir()] == ["pairs"]
        shutil.rmtree(output.parent)
