"""Figures to hold on `mini` with 20 training and 8 test subjects: nothing is found at `null`, something at `easy`."""

import json
import time
from pathlib import Path

import pytest

from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.simulation import simulate_dataset
from eeg2fmri.evaluation.protocol import evaluate
from eeg2fmri.hub import load_pipeline, resolve_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
SMALL = Path(__file__).resolve().parents[2] / "scripts" / "recipes" / "sim-small.yaml"
EMBEDDED = "eeg2fmri-sim-small"
CPU_SECONDS = 300
NUM_TRAINING, NUM_TEST = 20, 8


def pairs(level, folder, recipe):
    tree = simulate_dataset(folder / "tree", level=level, num_subjects=NUM_TRAINING + NUM_TEST, seed=3)
    return prepare_dataset(tree, folder / "pairs", recipe=recipe, num_validation=0, num_test=NUM_TEST)[0]


def r_of(report, name):
    row = report["rows"][name]
    print(f"{name}: r {row['scores']['r']['mean']:.3f}, p {row['null']['p']:.3f}")
    return row["scores"]["r"]["mean"], row["null"]["p"]


def test_the_ridge_finds_nothing_at_null_within_the_time(tmp_path):
    dataset = pairs("null", tmp_path, SMALL)
    started = time.process_time()
    report = evaluate("none", dataset, tmp_path / "scores", protocol="quick")
    seconds = time.process_time() - started
    print(f"protocol quick without a model: {seconds:.0f} s of CPU time")
    assert r_of(report, "sensor_ridge")[1] > 0.05
    assert "no EEG information" in report["verdict"]["headline"]
    assert seconds < CPU_SECONDS


def test_the_ridge_finds_something_at_easy(tmp_path):
    report = evaluate("none", pairs("easy", tmp_path, SMALL), tmp_path / "scores", protocol="quick")
    r, p = r_of(report, "sensor_ridge")
    assert r > 0.25
    assert p < 0.05
    assert report["verdict"]["headline"].endswith("EEG information: yes")


def test_the_embedded_pipeline_finds_nothing_at_null(tmp_path):
    pipe = load_pipeline(resolve_model(EMBEDDED))
    processors = {name: getattr(pipe, name).config for name in ("eeg_processor", "volume_processor")}
    sections = {
        name: {key: value for key, value in config.items() if not key.startswith("_")}
        for name, config in processors.items()
    }
    (tmp_path / "recipe.json").write_text(json.dumps(sections))
    dataset = pairs("null", tmp_path, tmp_path / "recipe.json")
    report = evaluate(
        EMBEDDED, dataset, tmp_path / "scores", protocol="quick", num_samples=1, num_inference_steps=1, batch_size=64
    )
    assert r_of(report, "model")[1] > 0.05
    assert "no EEG information" in report["verdict"]["headline"]
