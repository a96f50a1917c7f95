"""A training run that is killed again and again ends with the bits of an undisturbed one."""

import os
import random
import signal
import time

import pytest

import forked
from eeg2fmri.recipes import read_recipe
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.trainer import Trainer
from tiny_training import tree

NUM_KILLS, NUM_STEPS = 20, 100
MAX_STEPS_A_LIFE = 4  # so that a fast machine does not finish before the last kill


def train(data, output, before=lambda: None) -> None:
    config = TrainingConfig(
        train_data_dir=str(data / "pairs"),
        output_dir=str(output),
        train_batch_size=1,
        gradient_accumulation_steps=2,
        max_train_steps=NUM_STEPS,
        lr_scheduler="cosine",
        lr_warmup_steps=10,
        conditioning_dropout_prob=0.1,
        checkpointing_steps=2,
        checkpoints_total_limit=1,
        validation_steps=7,
        num_validation_pairs=2,
        num_validation_samples=0,
        early_stopping_patience=0,
        report_to="none",
        resume_from_checkpoint="latest",
    )
    trainer = Trainer(config, read_recipe(data / "recipe.yaml"))
    before()
    assert trainer.train().exit_code == 0


def num_lines(output) -> int:
    log = output / "log.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


def kill_within_a_save(number: int) -> None:
    """Arrange that this process kills itself at an event after the first one that concerns a checkpoint's staging."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    forked.at_event(number, die, after=".checkpoint-")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_change_nothing(data, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    started = time.monotonic()
    assert forked.run(lambda: train(data, whole)) == 0
    step_seconds = (time.monotonic() - started) / NUM_STEPS
    moments, num_kills, num_in_save = random.Random(0), 0, 0
    for kill in range(NUM_KILLS):
        number = moments.randrange(190) if kill % 2 else None
        ready = os.pipe()

        def before(number=number, ready=ready):
            if number is not None:
                kill_within_a_save(number)
            os.write(ready[1], b"x")

        process = forked.start(lambda before=before: train(data, killed, before))
        os.close(ready[1])
        assert os.read(ready[0], 1) == b"x", "it could not go on"
        os.close(ready[0])
        if number is None:
            end, last = time.monotonic() + moments.uniform(0, 6 * step_seconds), num_lines(killed) + MAX_STEPS_A_LIFE
            while time.monotonic() < end and num_lines(killed) < last:
                time.sleep(0.001)
            os.kill(process, signal.SIGKILL)
        num_kills += os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
        num_in_save += any(name.endswith(".staging") for name in os.listdir(killed))
    assert num_kills == NUM_KILLS
    assert num_in_save >= 5
    assert forked.run(lambda: train(data, killed)) == 0
    first, second = tree(whole), tree(killed)
    second["recipe.yaml"] = second["recipe.yaml"].replace(str(killed).encode(), str(whole).encode())
    assert first == second, "weights, averages, moments, log, published model, or what else lies there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]
    print(f"{num_kills} kills, {num_in_save} within a save")
