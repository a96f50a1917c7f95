"""Checkpoints of a training run: whole or absent, safetensors and JSON only.

```
checkpoint-500/
  eeg_encoder/  unet/           the network's children (here EF-Diffusion's) as `save_pretrained` leaves them
  eeg_encoder_ema/  unet_ema/   their moving averages
  optimizer.safetensors         Adam's moments, one tensor per parameter and moment
  state.json                    step and the settings that a resumed run must share
```
No random state is stored: everything random follows from seed and step.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn

from ..errors import CheckpointError, InputError
from ..files import publish_folder

_NAME = re.compile(r"checkpoint-(\d+)")


def save_checkpoint(
    output_dir: Path,
    step: int,
    network: nn.Module,
    ema: EMAModel,
    optimizer: torch.optim.Optimizer,
    identity: dict,
    limit: int,
) -> Path:
    """Save `checkpoint-{step}`, and only when it is durable remove the oldest beyond `limit`."""
    path = output_dir / f"checkpoint-{step}"
    with publish_folder(path, overwrite=True) as folder:
        _save_networks(network, folder, "")
        ema.store(network.parameters())
        ema.copy_to(network.parameters())
        _save_networks(network, folder, "_ema")
        ema.restore(network.parameters())
        moments = {
            f"{index}.{name}": value.contiguous()
            for index, moment in optimizer.state_dict()["state"].items()
            for name, value in moment.items()
        }
        save_file(moments, folder / "optimizer.safetensors")
        (folder / "state.json").write_text(json.dumps({"step": step, "settings": identity}, indent=1) + "\n")
    for old in list_checkpoints(output_dir)[:-limit]:
        shutil.rmtree(old)
    return path


def load_checkpoint(
    path: Path, network: nn.Module, ema: EMAModel, optimizer: torch.optim.Optimizer, identity: dict
) -> int:
    """Load a checkpoint into the parts of a run.

    Returns:
        `int`: the number of optimizer steps done.

    Raises:
        InputError: when the run's settings differ from the checkpoint's, with both values.
        CheckpointError: when a file is missing or damaged.
    """
    try:
        state = json.loads((path / "state.json").read_text())
        moments = load_file(path / "optimizer.safetensors")
        step, settings = state["step"], state["settings"]
    except Exception as error:
        raise CheckpointError(
            path,
            found=f"an unreadable training state ({error})",
            expected="a whole checkpoint",
            remedy="Resume from another one.",
        ) from error
    # Compare as JSON would give them back.
    for name, value in json.loads(json.dumps(identity)).items():
        if settings.get(name) != value:
            raise InputError(
                name if "." in name else f"--{name}",
                found=repr(value),
                expected=f"{settings.get(name)!r}, as in {path.name}",
                remedy="Resume under the same settings, or start anew in another output folder.",
            )
    _load_networks(network, path, "_ema")
    ema.shadow_params = [parameter.detach().clone() for parameter in network.parameters()]
    ema.optimization_step = step
    _load_networks(network, path, "")
    restored: dict[int, dict] = {}
    for key, value in moments.items():
        index, name = key.split(".")
        restored.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": restored})
    return step


def list_checkpoints(output_dir: Path) -> list[Path]:
    """All checkpoints, oldest first."""
    matches = {path: _NAME.fullmatch(path.name) for path in output_dir.glob("checkpoint-*")}
    steps = {path: int(match[1]) for path, match in matches.items() if match}
    return sorted(steps, key=lambda path: steps[path])


def find_checkpoint(output_dir: Path, name: str) -> Path | None:
    """The checkpoint of that name, or the newest for `"latest"`; `None` when there is nothing to resume from.

    Raises:
        InputError: when the named checkpoint does not exist.
    """
    found = list_checkpoints(output_dir)
    if name == "latest":
        return found[-1] if found else None
    for path in found:
        if path.name == Path(name).name:
            return path
    raise InputError(
        "--resume_from_checkpoint",
        found=repr(name),
        expected=f"one of {[path.name for path in found]} in {output_dir}",
        remedy="Name one of these, or `latest`.",
    )


def _save_networks(network: nn.Module, folder: Path, suffix: str) -> None:
    for name, model in network.named_children():
        model.save_pretrained(folder / f"{name}{suffix}")


def _load_networks(network: nn.Module, folder: Path, suffix: str) -> None:
    for name, model in network.named_children():
        loaded = type(model).from_pretrained(folder / f"{name}{suffix}")
        model.load_state_dict(loaded.state_dict())
