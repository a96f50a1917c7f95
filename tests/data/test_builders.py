"""RELIABILITY row 19: eight processes build the same dataset, one of them is killed; twenty rounds."""

import os
import random
import shutil
import signal

import pytest

import forked
from eeg2fmri.data.pairs import build_pairs
from eeg2fmri.errors import FileError
from tiny_pairs import contents, tiny_processors, tiny_study, train_on

NUM_ROUNDS, NUM_PROCESSES = 20, 8
BUILDING = ".pairs.partial"


def build(runs, output):
    eeg, volume = tiny_processors()
    return build_pairs(runs, output, eeg_processor=eeg, volume_processor=volume, split=train_on("A", "B", "C"))


def num_events(runs, output) -> int:
    """How many file-system events a build has from the first one that concerns its hidden folder on."""
    counted, count = os.pipe()

    def counting():
        forked.at_each_event(lambda number: os.write(count, b"x"), after=BUILDING)
        build(runs, output)

    assert forked.run(counting) == 0
    os.close(count)
    with os.fdopen(counted, "rb") as pipe:
        return len(pipe.read())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_builds_and_the_others_wait_even_when_one_is_killed(tmp_path):
    """Whichever process builds kills itself at a random event of the build; the next one goes on."""
    runs = tiny_study(tmp_path / "study")
    expected = contents(build(runs, tmp_path / "alone"))
    total = num_events(runs, tmp_path / "counted" / "pairs")
    generator = random.Random(0)
    for number in range(NUM_ROUNDS):
        output = tmp_path / f"round-{number}" / "pairs"
        event = generator.randrange(total)
        start, go = os.pipe()
        once, token = os.pipe()
        os.write(token, b"x")
        os.set_blocking(once, False)

        def builder(output=output, event=event, start=start, go=go, once=once):
            def die():
                try:
                    os.read(once, 1)
                except BlockingIOError:
                    return  # another one has died
                os.kill(os.getpid(), signal.SIGKILL)

            forked.at_event(event, die, after=BUILDING)
            os.close(go)
            os.read(start, 1)  # all begin when the test lets go
            try:
                build(runs, output)
            except FileError:
                assert (output / "index.json").is_file()  # who comes when all is done finds it there: right, too

        children = [forked.start(builder) for _ in range(NUM_PROCESSES)]
        os.close(go)
        codes = sorted(forked.wait(child) for child in children)
        for descriptor in (start, once, token):
            os.close(descriptor)
        assert codes == [-signal.SIGKILL, *[0] * (NUM_PROCESSES - 1)]
        assert contents(output) == expected
        assert {path.name for path in output.parent.iterdir()} <= {"pairs", ".pairs.lock"}
        shutil.rmtree(output.parent)
