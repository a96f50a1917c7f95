"""A paired dataset of three simulated subjects, and the recipe of networks that are small enough for it."""

from functools import partial

import pytest
import yaml
from accelerate.state import AcceleratorState, GradientState

from eeg2fmri import EEGProcessor, VolumeProcessor
from eeg2fmri.data.pairs import build_pairs
from eeg2fmri.data.splits import split_subjects
from eeg2fmri.recordings.layouts import find_bids_runs

RECIPE = {
    "eeg_encoder": {"block_out_channels": [8, 8], "cross_attention_dim": 16, "norm_num_groups": 4},
    "unet": {"block_out_channels": [8, 8, 16], "interaction_levels": [2], "norm_num_groups": 4},
    "training": {
        "train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "validation_steps": 3,
        "num_validation_pairs": 4,
        "num_validation_samples": 3,
        "validation_inference_steps": 2,
    },
}


@pytest.fixture(scope="session")
def build(simulated):
    """Builds pairs of the simulated subjects, of which so many are for validation and test."""

    def build(folder, num_validation=0, num_test=0, **eeg):
        eeg_processor = EEGProcessor(
            electrodes=["Fp1", "Fp2", "C3", "C4", "P3", "P4", "O1", "O2"],
            sampling_rate=128.0,
            num_windows=4,
            window_start=-8.0,
            normalization="training",
            **eeg,
        )
        volume_processor = VolumeProcessor(
            mode="change", sample_size=(16, 32, 32), grid_shape=(32, 32, 16), repetition_time=2.0, space="mni"
        )
        runs = find_bids_runs(simulated)
        split = split_subjects([run.subject for run in runs], num_validation, num_test, seed=0)
        return build_pairs(runs, folder, eeg_processor=eeg_processor, volume_processor=volume_processor, split=split)

    return build


@pytest.fixture(scope="session")
def build_complex(build):
    """Builds pairs with the spectra that a prior reads."""
    return partial(build, mode="complex", num_frequencies=20, baseline="whitening")


@pytest.fixture(scope="session")
def data(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    build(folder / "pairs", num_validation=1, mode="log_power", num_frequencies=8, bins_per_frequency=4)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


@pytest.fixture
def accelerate():
    """Accelerate keeps its state for the process; a test that trains in it starts and ends without one."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
