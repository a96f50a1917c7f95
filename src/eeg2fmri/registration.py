"""Tell diffusers which of our classes a pipeline may hold, so that the Hub loader accepts them without remote code.

diffusers checks the libraries named in a repository's `model_index.json` against a table before it downloads
anything. Importing diffusers takes seconds, so that `import eeg2fmri` does not do it: the table is completed at once
when diffusers is already there, and otherwise as soon as it is imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from types import ModuleType

NETWORKS = ("EPGModel", "FDUNetModel", "ConditionalMeanModel")
BASELINES = ("CNNPlusModel", "TAGModel", "BIOTModel", "E2fGANModel", "CDM3DModel")
COMPONENTS = (*NETWORKS, *BASELINES, "EEGProcessor", "VolumeProcessor")
TABLE_MODULE = "diffusers.pipelines.pipeline_loading_utils"


def register_components() -> None:
    """Complete diffusers' table of loadable classes, now or when diffusers is imported."""
    if TABLE_MODULE in sys.modules:
        _complete_table(sys.modules[TABLE_MODULE])
    elif not any(isinstance(finder, _TableFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TableFinder())


def _complete_table(module: ModuleType) -> None:
    methods = {name: ["save_pretrained", "from_pretrained"] for name in COMPONENTS}
    # Both are imported by name elsewhere in diffusers: they must be changed in place.
    module.LOADABLE_CLASSES["eeg2fmri"] = methods
    module.ALL_IMPORTABLE_CLASSES.update(methods)


class _TableFinder(importlib.abc.MetaPathFinder):
    """Completes the table right after diffusers' own code has made it."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != TABLE_MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        execute = spec.loader.exec_module

        def execute_and_complete(module: ModuleType) -> None:
            execute(module)
            _complete_table(module)

        spec.loader.exec_module = execute_and_complete
        return spec
