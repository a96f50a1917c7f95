"""What both processors share: a JSON configuration and named arrays, saved beside a model's weights."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
from diffusers.configuration_utils import ConfigMixin
from huggingface_hub import hf_hub_download

from ..errors import CheckpointError
from ..files import publish_file

# diffusers takes every component folder with a safetensors file for a model's and leaves its other files on the Hub:
# arrays are therefore kept as JSON, in base64.
ARRAYS_NAME = "arrays.json"
SEAL_NAME = "_config"  # the configuration once more, beside the arrays: what it was saved with
DTYPES = ("<f4", "<f8", "|b1")


class ProcessorMixin(ConfigMixin):
    """A processor that travels with a checkpoint, as `processor_config.json` and `arrays.json`.

    A subclass registers its configuration with `@register_to_config` and names in `array_names` the attributes that
    hold what was learned from training data (`None` until `fit`).
    """

    config_name = "processor_config.json"
    array_names: ClassVar[tuple[str, ...]] = ()

    def register_to_config(self, **kwargs) -> None:
        """Keep the configuration; NumPy's numbers become Python's, since JSON holds no others."""
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in kwargs.items()}
        super().register_to_config(**plain)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs) -> None:
        """Save the configuration and the arrays. Further arguments of diffusers' pipelines are for weights only."""
        self.save_config(save_directory)
        arrays = {name: getattr(self, name) for name in self.array_names if getattr(self, name) is not None}
        content = {name: _encode(array) for name, array in arrays.items()}
        content[SEAL_NAME] = self._settings()
        with publish_file(Path(save_directory) / ARRAYS_NAME) as path:
            path.write_text(json.dumps(content, indent=1) + "\n")

    def checksum(self) -> str:
        """SHA-256 of configuration and arrays: equal for processors that do the same."""
        settings = {name: value for name, value in self.config.items() if not name.startswith("_")}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name in self.array_names:
            array = getattr(self, name)
            digest.update(name.encode() if array is None else name.encode() + array.tobytes())
        return digest.hexdigest()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, *, subfolder: str | None = None, **kwargs
    ):
        """Load from a folder or from a Hub repository.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): a folder, or a repository id such as `user/model`.
            subfolder (`str`, *optional*): where in it the processor lies.
            kwargs: download options of the Hub (`cache_dir`, `revision`, `token`, `local_files_only`, ...).

        Raises:
            CheckpointError: when there is no such folder or repository, or when the configuration or the arrays are
                missing, damaged, impossible, or not those of this processor.
        """
        names = ("cache_dir", "force_download", "token", "local_files_only", "revision")
        download = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        name = os.fspath(pretrained_model_name_or_path)
        config_path, arrays_path = (
            _find_file(name, subfolder, file, download) for file in (cls.config_name, ARRAYS_NAME)
        )
        processor = cls._from_config_file(config_path)
        processor._set_arrays(arrays_path)
        processor._check_seal(config_path, arrays_path)
        return processor

    @classmethod
    def _from_config_file(cls, path: Path):
        config = _read_json(path, f"the configuration of {cls.__name__}")
        if config.get("_class_name", cls.__name__) != cls.__name__:
            refuse(path, f"the configuration of {config['_class_name']!r}", f"that of {cls.__name__}")
        try:
            return cls.from_config(config)
        except (TypeError, ValueError) as error:
            refuse(path, f"an impossible configuration ({error})", f"one of {cls.__name__}", error)

    def _set_arrays(self, path: Path) -> None:
        expected = f"the arrays of {type(self).__name__}"
        try:
            content = _read_json(path, expected)
            arrays = {name: _decode(entry) for name, entry in content.items() if name != SEAL_NAME}
        except (ValueError, KeyError, TypeError) as error:
            refuse(path, f"no readable arrays ({error})", expected, error)
        unknown = sorted(set(arrays) - set(self.array_names))
        damaged = sorted(name for name, array in arrays.items() if not np.isfinite(array).all())
        if unknown or damaged:
            raise CheckpointError(
                path,
                found=f"unknown arrays {unknown}" if unknown else f"NaN or Inf in {damaged}",
                expected=f"finite arrays among {list(self.array_names)}",
                remedy="Download the checkpoint again, or use the version of eeg2fmri that saved it.",
            )
        for name, array in arrays.items():
            setattr(self, name, array)

    def _settings(self) -> dict[str, Any]:
        """The configuration as JSON gives it back."""
        return json.loads(json.dumps({name: value for name, value in self.config.items() if name[0] != "_"}))

    def _check_seal(self, config_path: Path, arrays_path: Path) -> None:
        """Refuse a configuration that differs from the one that was saved; earlier versions wrote it only once."""
        saved, found = _read_json(arrays_path, "arrays").get(SEAL_NAME, {}), self._settings()
        if not isinstance(saved, dict):
            refuse(arrays_path, f"{SEAL_NAME} as a {type(saved).__name__}", "a configuration")
        changed = sorted(name for name, value in saved.items() if name not in found or found[name] != value)
        if changed:
            raise CheckpointError(
                config_path,
                found=", ".join(f"{name}={found.get(name)!r}" for name in changed),
                expected=", ".join(f"{name}={saved[name]!r}" for name in changed) + f", as in {arrays_path.name}",
                remedy="Download the checkpoint again; to change a setting on purpose, save a new processor.",
            )


def _find_file(name: str, subfolder: str | None, filename: str, download: dict[str, Any]) -> Path:
    """A file of a folder, or of a repository of the Hub, downloaded if need be."""
    if os.path.isdir(name):
        return Path(name, subfolder or "", filename)
    try:
        return Path(hf_hub_download(name, filename, subfolder=subfolder, **download))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            name,
            found=f"no such folder, and no {filename} to download ({error})",
            expected="a folder or a repository of the Hub",
            remedy="Check the name, the connection and the access rights.",
        ) from error


def _read_json(path: Path, expected: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        refuse(path, f"no readable file ({error})", expected, error)
    if not isinstance(content, dict):
        refuse(path, f"no readable file (a JSON {type(content).__name__})", expected)
    return content


def refuse(path: Path, found: str, expected: str, cause: Exception | None = None) -> NoReturn:
    raise CheckpointError(path, found=found, expected=expected, remedy="Download the checkpoint again.") from cause


def _encode(array: np.ndarray) -> dict:
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    data = array.tobytes()
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "sha256": hashlib.sha256(data).hexdigest(),
        "base64": base64.b64encode(data).decode(),
    }


def _decode(entry: dict) -> np.ndarray:
    data = base64.b64decode(entry["base64"], validate=True)
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"dtype {entry['dtype']!r}")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise ValueError("data that do not match their checksum")
    return np.frombuffer(data, dtype=entry["dtype"]).reshape(entry["shape"]).copy()
