"""The comparison's command at the smallest size: what it makes, that it goes on, that mini presets cover a head."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState

from eeg2fmri.data.simulation import PRESETS
from eeg2fmri.errors import InputError
from eeg2fmri.evaluation import comparison
from eeg2fmri.evaluation.comparison import COMPARED, MINI_PRESETS, Study, as_markdown, coarser, run_study
from eeg2fmri.recipes import read_recipe
from eeg2fmri.training.models import MODELS

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TINY = {
    "eeg_encoder": {"block_out_channels": [8, 8], "cross_attention_dim": 8, "norm_num_groups": 4},
    "unet": {"block_out_channels": [8, 8], "interaction_levels": [1], "norm_num_groups": 4, "patch_size": 4},
    "cnn_plus": {"spectral_channels": 4, "source_channels": 4, "block_out_channels": [8, 8], "norm_num_groups": 4},
}
NAMES = ["ef_diffusion", "ef_diffusion_without_ciim_and_epg", "cnn_plus"]


def corners(preset):
    """The field of view's ends along x, y and z in mm."""
    signs, sizes = np.array([-1, 1, 1]), np.array(preset.voxel_size)
    first = np.array(preset.origin) - signs * sizes / 2
    return first, first + signs * sizes * np.array(preset.shape)


@pytest.mark.parametrize("name", ["noddi", "xp2"])
def test_fewer_voxels_cover_the_same_field_of_view(name):
    np.testing.assert_allclose(corners(MINI_PRESETS[name]), corners(PRESETS[name]))
    same = coarser(PRESETS[name], PRESETS[name].shape)
    np.testing.assert_allclose(same.origin, PRESETS[name].origin)


@pytest.mark.parametrize("name", ["noddi", "xp2"])
def test_recipes_fit_the_mini_presets(name):
    recipe, preset = read_recipe(SCRIPTS / "recipes" / f"comparison-{name}.yaml"), MINI_PRESETS[name]
    eeg, volume = recipe["eeg_processor"], recipe["volume_processor"]
    assert tuple(eeg["electrodes"]) == preset.electrodes
    assert eeg["sampling_rate"] == preset.sampling_rate
    assert tuple(volume["grid_shape"]) == preset.shape
    assert volume["repetition_time"] == preset.repetition_time
    assert (preset.repetition_time * preset.sampling_rate).is_integer()


def test_what_is_compared_can_be_trained():
    assert set(COMPARED) == set(MODELS) - {"conditional_mean"}  # which reads complex spectra


@pytest.fixture
def accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_model_is_trained_and_scored_once_and_stands_in_the_table(tmp_path, monkeypatch, capsys, accelerate):
    """Its eight slices are too few for a window of the three-dimensional SSIM."""
    study = Study("xp2", level="easy", num_training=2, num_test=6, num_volumes=125, num_samples=2,
                  num_inference_steps=1)  # fmt: skip
    recipe = {**read_recipe(SCRIPTS / "recipes" / "comparison-xp2.yaml"), **TINY}
    recipe["training"] |= {"max_train_steps": 2, "train_batch_size": 2, "validation_steps": 2}
    folder = tmp_path / "study"
    results = run_study(study, NAMES, recipe, folder, [1], "cpu")
    assert list(results) == NAMES
    assert len({run[1]["rows"]["model"]["scores"]["rmse"]["mean"] for run in results.values()}) == 3
    assert len({run[1]["rows"]["training_mean"]["scores"]["rmse"]["mean"] for run in results.values()}) == 1

    def again(*arguments):
        raise AssertionError("what was finished is made anew")

    for name in ("Trainer", "evaluate", "simulate_dataset", "prepare_dataset"):
        monkeypatch.setattr(comparison, name, again)
    assert run_study(study, NAMES, recipe, folder, [1], "cpu") == results
    with pytest.raises(InputError, match="a study with other settings"):
        run_study(Study("xp2", level="null"), NAMES, recipe, folder, [1], "cpu")

    lines = as_markdown(study, results).splitlines()
    scores = results["ef_diffusion"][1]["rows"]["model_one_sample"]["scores"]
    assert scores["ssim_3d"] is scores["ssim_3d_brain"] is scores["ssim_3d_beyond_training_mean"] is None
    (line,) = [line for line in lines if line.startswith("| EF-Diffusion | one sample")]
    assert f"{scores['ssim_2d']['mean']:.3f}" in line
    assert "0.602, 20.29, 0.103" in line
    assert any(line.startswith("| without CIIM and EPG | mean of 2 samples |") for line in lines)
    assert any(line.startswith("| CNN+ | one pass |") for line in lines)
    assert any(line.startswith("| sensor ridge |") for line in lines)
    assert any("mini size, level `easy`: 6 test subjects, 2 training subjects" in line for line in lines)

    script = load_script()
    monkeypatch.setattr(script, "run_study", lambda *arguments: results)
    document = tmp_path / "results.md"
    document.write_text("before\n<!-- comparison -->\nold\n<!-- /comparison -->\nafter\n")
    monkeypatch.setattr(sys, "argv", ["compare.py", "--output", str(folder), "--document", str(document)])
    assert script.main() == 0
    text = document.read_text()
    assert text.startswith("before\n<!-- comparison -->\n")
    assert text.endswith("<!-- /comparison -->\nafter\n")
    assert "### NODDI-like" in text
    assert "### XP-2-like" in text
    assert "old" not in text
    assert "Each model: 1200 steps of 16 pairs." in capsys.readouterr().out


def load_script():
    specification = importlib.util.spec_from_file_location("compare_script", SCRIPTS / "compare.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    return script
