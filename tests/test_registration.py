"""diffusers must know our components whichever of the two is imported first."""

import subprocess
import sys

import pytest

CHECK = """
from diffusers.pipelines import pipeline_loading_utils as table
from diffusers.pipelines import pipeline_utils
assert "eeg2fmri" in pipeline_utils.LOADABLE_CLASSES
for name in table.LOADABLE_CLASSES["eeg2fmri"]:
    assert table.ALL_IMPORTABLE_CLASSES[name] == ["save_pretrained", "from_pretrained"]
    assert hasattr(eeg2fmri, name)
assert not [finder for finder in sys.meta_path if "eeg2fmri" in type(finder).__module__]
"""


@pytest.mark.parametrize(
    "imports",
    ["import eeg2fmri, diffusers, diffusers.pipelines", "import diffusers.pipelines.pipeline_utils, eeg2fmri"],
    ids=["ours first", "diffusers first"],
)
def test_components_are_known(imports):
    subprocess.run([sys.executable, "-c", f"import sys\n{imports}\n{CHECK}"], check=True)


def test_public_names_are_all_there():
    import eeg2fmri

    assert all(getattr(eeg2fmri, name) is not None for name in eeg2fmri.__all__)
    assert set(eeg2fmri.__all__) <= set(dir(eeg2fmri))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = eeg2fmri.nothing
