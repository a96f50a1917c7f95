"""Recipes: one YAML file that says everything about a run, shared by `prepare` and training.

```yaml
eeg_processor:      # keyword arguments of EEGProcessor
volume_processor:   # ... of VolumeProcessor
prior:              # ... of ConditionalMeanModel, where there is one
eeg_encoder:        # ... of EPGModel
unet:               # ... of FDUNetModel
cnn_plus:           # ... of CNNPlusModel, and likewise tag, biot, e2fgan, cdm_3d: the paper's baselines
scheduler:          # ... of the noise schedule
training:           # the settings of scripts/train.py
```
JSON is YAML too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from .errors import FileError, InputError

BASELINE_SECTIONS = ("cnn_plus", "tag", "biot", "e2fgan", "cdm_3d")
MODEL_SECTIONS = ("prior", "eeg_encoder", "unet", *BASELINE_SECTIONS, "scheduler")
SECTIONS = ("eeg_processor", "volume_processor", *MODEL_SECTIONS, "training")

_BOOLEAN, _FLOAT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:float"


class _Loader(yaml.SafeLoader):
    """Scalars as in YAML 1.2: `1e-4` is a number and `no` is a word. A key that comes twice is refused."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class declares it
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOLEAN, _FLOAT)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"{repeated} given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$"), list("-+.0123456789")
)


def read_recipe(path: str | os.PathLike) -> dict[str, dict]:
    """Read a recipe: a YAML or JSON file with a section of keyword arguments per component, each optional.

    Raises:
        FileError: when there is no such file or it holds no sections.
        InputError: for a section that is not known or holds no keyword arguments.
    """
    try:
        recipe = dict(yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader) or {})
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise FileError(
            path,
            found=f"no readable recipe ({' '.join(str(error).split())})",
            expected=f"a YAML or JSON file with sections among {', '.join(SECTIONS)}",
            remedy="Start from one in scripts/recipes.",
        ) from error
    unknown = sorted(str(name) for name in set(recipe) - set(SECTIONS))
    if unknown:
        raise InputError(
            path, found=f"sections {unknown}", expected=f"among {', '.join(SECTIONS)}", remedy="Remove them."
        )
    for name, section in recipe.items():
        if section is not None and not (isinstance(section, dict) and all(isinstance(key, str) for key in section)):
            raise InputError(
                f"{path}: {name}",
                found=f"a {type(section).__name__}",
                expected="names with values",
                remedy="Write one `name: value` a line, indented under the section.",
            )
    return {name: recipe.get(name) or {} for name in SECTIONS}
