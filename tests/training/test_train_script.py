"""The training script as its users run it, with the behaviour that diffusers' own examples promise."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eeg2fmri import EEG2fMRIPipeline, EEGProcessor, VolumeProcessor
from eeg2fmri.data.pairs import build_pairs
from eeg2fmri.data.splits import split_subjects
from eeg2fmri.recordings.layouts import find_bids_runs

ROOT = Path(__file__).resolve().parents[2]
RECIPE = {
    "eeg_encoder": {"block_out_channels": [8, 8], "cross_attention_dim": 16, "norm_num_groups": 4},
    "unet": {"block_out_channels": [8, 8, 16], "interaction_levels": [2], "norm_num_groups": 4},
}


@pytest.fixture(scope="module")
def data(simulated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    eeg = EEGProcessor(
        electrodes=["Fp1", "Fp2", "C3", "C4", "P3", "P4", "O1", "O2"],
        mode="log_power",
        sampling_rate=128.0,
        num_frequencies=8,
        bins_per_frequency=4,
        num_windows=4,
        window_start=-8.0,
        normalization="training",
    )
    volume = VolumeProcessor(
        mode="change", sample_size=(16, 32, 32), grid_shape=(32, 32, 16), repetition_time=2.0, space="mni"
    )
    runs = find_bids_runs(simulated)
    split = split_subjects([run.subject for run in runs], 1, 0, seed=0)
    build_pairs(runs, folder / "pairs", eeg_processor=eeg, volume_processor=volume, split=split)
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    return folder


def train(data, output, *options, expect=0):
    command = [
        *(sys.executable, "-W", "error::UserWarning:eeg2fmri", "-m", "accelerate.commands.launch", "--cpu"),
        *("--num_processes", "1", str(ROOT / "scripts" / "train.py")),
        *("--train_data_dir", str(data / "pairs"), "--recipe", str(data / "recipe.json")),
        *("--output_dir", str(output), "--train_batch_size", "2", "--gradient_accumulation_steps", "2"),
        *("--num_validation_pairs", "4", "--validation_steps", "3", "--logging_steps", "1"),
        *map(str, options),
    ]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert result.returncode == expect, result.stderr
    return result


def checkpoints(output):
    return sorted(path.name for path in output.glob("checkpoint-*"))


def weights(folder):
    return {f"{name}.{key}": value for name in ("unet", "eeg_encoder") for key, value in
            load_file(folder / name / "diffusion_pytorch_model.safetensors").items()}  # fmt: skip


@pytest.fixture(scope="module")
def whole_run(data):
    output = data / "whole"
    train(data, output, "--max_train_steps", 6, "--checkpointing_steps", 2, "--checkpoints_total_limit", 2)
    return output


def test_the_output_folder_loads_as_a_pipeline(whole_run):
    pipe = EEG2fMRIPipeline.from_pretrained(whole_run)
    assert pipe.volume_processor.template_mean is not None
    assert pipe.eeg_processor.mean is not None
    assert type(pipe.scheduler).__name__ == "DDIMScheduler"
    pipe.set_progress_bar_config(disable=True)
    windows = torch.zeros(2, 1, 8, 8, 4)
    (image,) = pipe(windows, num_inference_steps=2).volumes
    assert image.shape == (32, 32, 16, 2)


def test_only_the_newest_checkpoints_are_kept(whole_run):
    assert checkpoints(whole_run) == ["checkpoint-4", "checkpoint-6"]
    assert sorted(path.name for path in (whole_run / "checkpoint-6").iterdir()) == [
        "eeg_encoder",
        "eeg_encoder_ema",
        "optimizer.safetensors",
        "state.json",
        "unet",
        "unet_ema",
    ]


def test_the_published_weights_are_the_averaged_ones(whole_run):
    published, averaged, raw = (
        load_file(whole_run / name / "diffusion_pytorch_model.safetensors")
        for name in ("unet", "checkpoint-6/unet_ema", "checkpoint-6/unet")
    )
    assert all(torch.equal(published[key], averaged[key]) for key in published)
    assert any(not torch.equal(published[key], raw[key]) for key in published)


def test_the_log_has_every_step_and_the_validation_with_its_control(whole_run):
    records = [json.loads(line) for line in (whole_run / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "loss" in record] == [1, 2, 3, 4, 5, 6]
    validated = [record for record in records if "validation_loss" in record]
    assert [record["step"] for record in validated] == [3, 6]
    assert all(record["validation_loss_other_eeg"] > 0 for record in validated)


def test_a_resumed_run_ends_with_the_same_bits(data, whole_run):
    output = data / "resumed"
    options = ("--max_train_steps", 6, "--checkpoints_total_limit", 2)
    train(data, output, *options, "--checkpointing_steps", 4)
    shutil.rmtree(output / "unet")  # what was published at the end, and is published again
    train(data, output, *options, "--checkpointing_steps", 2, "--resume_from_checkpoint", "latest")
    for folder in (".", "checkpoint-6"):
        first, second = weights(whole_run / folder), weights(output / folder)
        assert all(torch.equal(first[key], second[key]) for key in first)
    moments = [load_file(run / "checkpoint-6" / "optimizer.safetensors") for run in (whole_run, output)]
    assert all(torch.equal(moments[0][key], moments[1][key]) for key in moments[0])


def test_resuming_under_other_settings_is_refused_with_both_values(data, whole_run):
    result = train(
        data, whole_run, "--max_train_steps", 6, "--learning_rate", 0.5, "--resume_from_checkpoint", "latest", expect=1
    )
    assert "--learning_rate: found 0.5; expected 0.0001, as in checkpoint-6" in result.stderr


def test_bad_settings_are_one_clear_line(data, tmp_path):
    result = train(data, tmp_path, "--adam_beta1", 1.5, expect=1)
    assert "error: --adam_beta1: found 1.5; expected in [0, 1)" in result.stderr
    assert not list(tmp_path.iterdir())
