"""Checkpoints of a training run: whole or absent, safetensors and JSON only.

```
checkpoint-500/
  eeg_encoder/  unet/           the network's children (here EF-Diffusion's) as `save_pretrained` leaves them, or, of
                                one with an adapter, the adapter alone, as `save_lora_adapter` leaves it
  eeg_encoder_ema/  unet_ema/   their moving averages
  optimizer.safetensors         Adam's moments, one tensor per parameter and moment
  state.json                    step, the settings that a resumed run must share, and a checksum of every other file
```
No random state is stored: everything random follows from seed and step. Nothing depends on the number of devices:
sharded parameters (FSDP2) are gathered when saved and shared out again when loaded.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn

from ..errors import CheckpointError, InputError
from ..files import publish_folder, remove_folder, remove_leftovers, sha256
from .weights import averaged_weights, like, load_weights, models_with, read_weights, save_model, whole, whole_weights

_NAME = re.compile(r"checkpoint-(\d+)")
_STATE = "state.json"


def save_checkpoint(
    output_dir: Path,
    step: int,
    network: nn.Module,
    ema: EMAModel,
    optimizer: torch.optim.Optimizer,
    identity: dict,
    limit: int,
    is_main_process: bool = True,
) -> Path:
    """Save `checkpoint-{step}`, and only when it is durable remove the oldest beyond `limit`.

    A whole checkpoint of the same step and settings is kept: it is the same. Every process of a run calls this, since
    each may hold a part of the weights; the main one writes.

    Raises:
        FileError: when it can't be written; the earlier checkpoints are untouched then.
    """
    path = output_dir / f"checkpoint-{step}"
    weights, averaged = whole_weights(network), averaged_weights(network, ema)
    moments = _moments(network, optimizer)
    if not is_main_process:
        return path
    remove_leftovers(output_dir, "checkpoint-*")
    if path.exists() and not _holds(path, step, identity):
        remove_folder(path)
    if not path.exists():
        with publish_folder(path) as folder:
            for suffix, tensors in (("", weights), ("_ema", averaged)):
                for name, model in models_with(network, tensors).items():
                    save_model(model, folder / f"{name}{suffix}")
            save_file(moments, folder / "optimizer.safetensors")
            state = {"step": step, "settings": identity, "files": _checksums(folder)}
            (folder / _STATE).write_text(json.dumps(state, indent=1) + "\n")
    earlier = [old for old in list_checkpoints(output_dir) if _step(old) <= step]
    for old in earlier[:-limit]:
        remove_folder(old)
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
    state = _read_state(path)
    _check_settings(path, state["settings"], identity)
    _check_files(path, state["files"])
    load_weights(network, _read_models(path, network, "_ema"))
    ema.shadow_params = [parameter.detach().clone() for parameter in network.parameters()]
    ema.optimization_step = state["step"]
    load_weights(network, _read_models(path, network, ""))
    _load_moments(path, network, optimizer)
    return state["step"]


def list_checkpoints(output_dir: Path) -> list[Path]:
    """All checkpoints, oldest first."""
    return sorted((path for path in output_dir.glob("checkpoint-*") if _NAME.fullmatch(path.name)), key=_step)


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


def _step(path: Path) -> int:
    return int(path.name.removeprefix("checkpoint-"))


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _STATE)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def _holds(path: Path, step: int, identity: dict) -> bool:
    """Whether a checkpoint is whole and has this step and these settings."""
    try:
        state = _read_state(path)
        _check_settings(path, state["settings"], identity)
        _check_files(path, state["files"])
    except (CheckpointError, InputError):
        return False
    return state["step"] == step


def _read_state(path: Path) -> dict:
    try:
        state = json.loads((path / _STATE).read_text())
        step, files, settings = state["step"], state["files"], state["settings"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"an unreadable {_STATE} ({type(error).__name__}: {error})") from error
    if type(step) is not int or step != _step(path) or not isinstance(files, dict) or not isinstance(settings, dict):
        raise _damaged(path, f"a {_STATE} of step {step!r} or without files and settings")
    return state


def _check_files(path: Path, expected: dict[str, str]) -> None:
    try:
        found = _checksums(path)
    except OSError as error:
        raise _damaged(path, f"files that can't be read ({error})") from error
    differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if differing:
        raise _damaged(path, f"missing, unknown or changed files ({', '.join(differing)})")


def _check_settings(path: Path, saved: dict, identity: dict) -> None:
    # Compare as JSON would give them back.
    own, other = _flat(json.loads(json.dumps(identity))), _flat(saved)
    for name in [*own, *(name for name in other if name not in own)]:
        if own.get(name) != other.get(name):
            raise InputError(
                name if "." in name else f"--{name}",
                found=repr(own.get(name)),
                expected=f"{other.get(name)!r}, as in {path.name}",
                remedy="Resume under the same settings, or start anew in another output folder.",
            )


def _flat(settings: dict, prefix: str = "") -> dict:
    """Nested settings by their path, such as `recipe.unet.block_out_channels`."""
    flat: dict = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _damaged(path: Path, found: str) -> CheckpointError:
    return CheckpointError(path, found=found, expected="a whole checkpoint", remedy="Resume from another one.")


def _read_models(path: Path, network: nn.Module, suffix: str) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {}
    for component, model in network.named_children():
        loaded = read_weights(model, path / f"{component}{suffix}")
        weights |= {f"{component}.{name}": tensor for name, tensor in loaded.items()}
    return weights


def _optimized_names(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of the optimizer's parameters, in its own order."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def _moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    names = _optimized_names(network, optimizer)
    state = optimizer.state_dict()["state"]
    return {
        f"{names[index]}.{moment}": whole(value) for index in state for moment, value in state[index].items()
    }  # fmt: skip


def _load_moments(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    names, parameters = _optimized_names(network, optimizer), dict(network.named_parameters())
    restored: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(path / "optimizer.safetensors").items():
        name, moment = key.rsplit(".", 1)
        # Steps are counted by a number, not by something that could be shared out.
        value = like(value, parameters[name]) if value.ndim else value
        restored.setdefault(names.index(name), {})[moment] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": restored})
