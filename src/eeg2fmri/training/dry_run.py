"""A rehearsal: step, save, validation and publication in a temporary folder, and what a whole run would take."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ..errors import FileError
from .checkpoint import find_checkpoint, load_checkpoint
from .checks import existing_parent
from .config import TrainingConfig
from .run_log import memory_gigabytes
from .trainer import Trainer


def dry_run(config: TrainingConfig, recipe: dict[str, dict]) -> str:
    """Rehearse a run with everything that it needs, and leave nothing behind.

    Two optimizer steps, of which the second is timed; one checkpoint, loaded again; one validation with its
    picture; the model published.

    Returns:
        `str`: parameters, memory, seconds a step, the time of the whole run.

    Raises:
        EEG2fMRIError: whatever would stop the run: data, recipe, settings, disk.
    """
    parent = existing_parent(Path(config.output_dir))
    try:
        folder = tempfile.TemporaryDirectory(prefix=".dry-run-", dir=parent)
    except OSError as error:
        raise FileError(
            parent,
            found=f"that it can't be written ({error.strerror})",
            expected="a writable place for --output_dir",
            remedy="Choose another folder.",
        ) from error
    with folder as path:
        trainer = Trainer(replace(config, output_dir=f"{path}/run", resume_from_checkpoint=""), recipe)
        state = trainer.state
        state.optimizer_step()
        step, _ = _timed(state.optimizer_step)
        save, _ = _timed(state.save)
        trainer.accelerator.wait_for_everyone()
        # Sharded weights are loaded by all processes together, but only one of them has this temporary folder.
        if trainer.accelerator.is_main_process and not trainer.accelerator.is_fsdp2:
            checkpoint = find_checkpoint(trainer.output_dir, "latest")
            assert checkpoint is not None  # it was saved above
            load_checkpoint(checkpoint, state.bare_network, state.ema, state.optimizer.optimizer, trainer.identity)
        validation, scores = _timed(trainer.validate)
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in state.bare_network.parameters()]
        trainer.publish()
        memory = memory_gigabytes(trainer.accelerator.device)
        trainer.accelerator.wait_for_everyone()
    number, trained = sum(size for size, _ in sizes), sum(size for size, is_trained in sizes if is_trained)
    projected = config.max_train_steps * (
        step + validation / config.validation_steps + save / config.checkpointing_steps
    )
    measured = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
    return "\n".join(
        [
            f"Dry run of {config.model} on {trainer.accelerator.num_processes} x {trainer.accelerator.device.type}:",
            f"  {len(trainer.dataset)} training pairs, {len(trainer.validator.dataset)} validation pairs",
            f"  {number:,} parameters, of which {trained:,} are trained",
            f"  {memory:.2f} GB of memory at most",
            f"  {step:.3g} s a step, {save:.3g} s a checkpoint, {validation:.3g} s a validation",
            f"  {projected / 3600:.3g} h for {config.max_train_steps} steps",
            f"  validation before training: {measured}",
            "Nothing was kept.",
        ]
    )


def _timed(function):
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result
