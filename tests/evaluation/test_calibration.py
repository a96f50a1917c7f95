"""The factor that gives samples the measured variance."""

from types import SimpleNamespace

import numpy as np
import pytest

import tiny
from eeg2fmri.errors import InputError
from eeg2fmri.evaluation import calibration
from eeg2fmri.evaluation.calibration import calibrated_gain
from eeg2fmri.evaluation.model_rows import DiffusionModel
from eeg2fmri.evaluation.regions import find_regions
from eeg2fmri.metrics.probabilistic import variance_ratio

NUM_VOLUMES = 44


@pytest.fixture
def pipe():
    pipe = tiny.pipeline()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def runs(pipe):
    made = []
    mask = pipe.volume_processor.template_mask.T > 0
    regions = find_regions(mask, pipe.volume_processor.template_affine)
    for number in range(2):
        rng = np.random.default_rng(number)
        windows = rng.standard_normal((NUM_VOLUMES, 1, 8, 6, 4)).astype(np.float32)
        made.append(
            SimpleNamespace(
                name=f"run-{number}",
                subject=str(number),
                repetition_time=2.0,
                onsets=8 + 2.0 * np.arange(NUM_VOLUMES),
                regions=regions,
                series=0.02 * rng.standard_normal((NUM_VOLUMES, len(regions.names))),
                windows=lambda processor, windows=windows: windows,
            )
        )
    return made


def ratio(pipe, own):
    model = DiffusionModel(pipe, own, num_samples=2, num_inference_steps=1, batch_size=16, seed=42)
    values = []
    for run in own:
        chosen = run.regions.of("parcel") & run.regions.present
        samples = [run.regions.series(sample, 2.0)[:, chosen] for sample in model.predict(run).samples]
        values.append(variance_ratio(np.stack(samples), run.series[:, chosen]).mean())
    return np.mean(values)


def test_with_it_samples_vary_as_the_measurement_does(pipe):
    own = runs(pipe)
    pipe.volume_processor.register_to_config(change_gain=0.001)
    gain = calibrated_gain(pipe, own, num_inference_steps=1)
    pipe.volume_processor.register_to_config(change_gain=gain)
    assert ratio(pipe, own) == pytest.approx(1, rel=1e-3)
    assert calibrated_gain(pipe, own, num_inference_steps=1) == pytest.approx(gain, rel=1e-3)


def test_as_many_volumes_are_denoised_at_once_as_asked(pipe, monkeypatch):
    sizes = []

    class Noted(DiffusionModel):
        def __init__(self, *arguments, **options):
            sizes.append(options["batch_size"])
            super().__init__(*arguments, **options)

    monkeypatch.setattr(calibration, "DiffusionModel", Noted)
    calibration.calibrated_gain(pipe, runs(pipe)[:1], num_inference_steps=1, batch_size=7)
    assert sizes == [7]


def test_other_modes_and_no_runs_are_refused(pipe):
    with pytest.raises(InputError, match="0 runs"):
        calibrated_gain(pipe, [], num_inference_steps=1)
    other = tiny.pipeline(mode="minmax_run")
    with pytest.raises(InputError, match="minmax_run"):
        calibrated_gain(other, runs(pipe), num_inference_steps=1)
