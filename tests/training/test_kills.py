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

NUM_KILLS, NUM_STEPS = 20, 60
MAX_STEPS_A_LIFE = 9


def train(data, output, before=lambda trainer: None) -> None:
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
    before(trainer)
    assert trainer.train().exit_code == 0


def staging(output) -> set[str]:
    """What a save that was not finished has left, by its names, which are never the same."""
    return {name for name in os.listdir(output) if name.endswith(".staging")}


def die_within_a_save(number: int) -> None:
    """Arrange that this process kills itself at an event after the first one that concerns a checkpoint's staging."""
    forked.at_event(number, lambda: os.kill(os.getpid(), signal.SIGKILL), after=".checkpoint-")


def kill_after(process: int, told: int, num_records: int, seconds: float) -> None:
    """Kill a process so many seconds after it has told of so many records: a moment that no slow machine moves."""
    for _ in range(num_records + 1):  # the first byte says that it is ready
        assert os.read(told, 1) == b"x", "it could not go on"
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_change_nothing(data, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    started = time.monotonic()
    assert forked.run(lambda: train(data, whole)) == 0
    step_seconds = (time.monotonic() - started) / NUM_STEPS
    killed.mkdir()
    moments, num_in_save = random.Random(0), 0
    for kill in range(NUM_KILLS):
        within_save, event = kill % 2 == 1, moments.randrange(190)
        told, tell = os.pipe()

        def before(trainer, within_save=within_save, event=event, tell=tell):
            def append(record, append=trainer.log_file.append):
                append(record)
                os.write(tell, b"x")

            if within_save:
                die_within_a_save(event)
            else:
                trainer.log_file.append = append
            os.write(tell, b"x")

        left_before = staging(killed)
        process = forked.start(lambda before=before: train(data, killed, before))
        os.close(tell)
        if not within_save:
            kill_after(process, told, moments.randint(0, MAX_STEPS_A_LIFE), moments.uniform(0, step_seconds))
        assert forked.wait(process) == -signal.SIGKILL, f"life {kill} was not ended by a kill"
        os.close(told)
        num_in_save += bool(staging(killed) - left_before)
    assert num_in_save >= 5
    last = max(int(path.name.split("-")[1]) for path in killed.glob("checkpoint-*"))
    assert NUM_STEPS / 2 < last < NUM_STEPS, "the kills are spread over the run"
    assert forked.run(lambda: train(data, killed)) == 0
    first, second = tree(whole), tree(killed)
    second["recipe.yaml"] = second["recipe.yaml"].replace(str(killed).encode(), str(whole).encode())
    assert first == second, "weights, averages, moments, log, published model, or what else lies there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]
    print(f"{NUM_KILLS} kills to step {last} of {NUM_STEPS}, {num_in_save} within a save")
