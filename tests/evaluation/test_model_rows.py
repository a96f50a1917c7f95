"""The pipeline as a row: what each control changes, and what is kept of several samples."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny
from eeg2fmri.baselines.run import Prediction
from eeg2fmri.errors import InputError, RecordingError
from eeg2fmri.evaluation import collect
from eeg2fmri.evaluation.collect import IMAGE_SCORES, Measured, RunResult
from eeg2fmri.evaluation.model_rows import CONTROLS, DiffusionModel, PriorModel, check_model
from eeg2fmri.evaluation.regions import find_regions
from eeg2fmri.metrics.image import minmax, psnr, rmse, ssim
from eeg2fmri.pipeline_inputs import window_shape
from tiny_networks import run

NUM_VOLUMES = 44


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline()


def samples(pipe, runs, control, num_samples=1):
    model = DiffusionModel(
        pipe, runs, num_samples=num_samples, num_inference_steps=1, batch_size=16, seed=3, control=control
    )
    return list(model.fit([]).predict(runs[0]).samples)


def test_controls_change_the_eeg_and_nothing_else(pipe):
    runs = [run(number, pipe) for number in range(3)]
    made = {control: samples(pipe, runs, control)[0] for control in CONTROLS}
    assert {volumes.shape for volumes in made.values()} == {(NUM_VOLUMES, *tiny.GRID[::-1])}
    for control in CONTROLS[1:]:
        assert not np.allclose(made[control], made["none"]), control
    np.testing.assert_array_equal(samples(pipe, runs, "none")[0], made["none"])


def test_samples_differ_and_the_first_is_that_of_a_single_one(pipe):
    runs = [run(number, pipe) for number in range(2)]
    first, second = samples(pipe, runs, "none", num_samples=2)
    np.testing.assert_array_equal(first, samples(pipe, runs, "none")[0])
    assert not np.allclose(first, second)


def test_an_odd_sample_starts_from_the_opposite_noise_of_the_one_before(pipe):
    runs = [run(number, pipe) for number in range(2)]
    model = DiffusionModel(pipe, runs, num_samples=4, num_inference_steps=1, batch_size=16, seed=3)
    noise = [model._noise(runs[0], 0, sample) for sample in range(4)]
    assert torch.equal(noise[1], -noise[0])
    assert torch.equal(noise[3], -noise[2])
    assert abs(torch.corrcoef(torch.stack([noise[0].flatten(), noise[2].flatten()]))[0, 1]) < 0.05


def test_the_prior_is_what_the_pipeline_adds_to_its_samples():
    pipe = tiny.pipeline(with_prior=True)
    pipe.set_progress_bar_config(disable=True)
    windows = np.random.default_rng(0).standard_normal((NUM_VOLUMES, *window_shape(pipe.eeg_processor)))
    one = run(0, pipe)
    one.windows = lambda processor: windows.astype(np.float32)
    (expected,) = PriorModel(pipe, batch_size=16).fit([]).predict(one).samples
    (other,) = PriorModel(pipe, batch_size=5).fit([]).predict(one).samples
    np.testing.assert_allclose(expected, other, rtol=1e-5)

    prior = pipe.predict_prior(torch.from_numpy(one.windows(None)))
    tokens = pipe.encode_eeg(prior.band_powers)[0]

    def generate(prior_volumes):
        noise = torch.Generator().manual_seed(0)
        options = {"num_inference_steps": 1, "output_type": "np", "generator": noise}
        return pipe(eeg_embeds=tokens, prior_volumes=prior_volumes, **options).volumes[0].transpose(0, 3, 2, 1)

    added = generate(prior.sample) - generate(torch.zeros_like(prior.sample))
    assert np.abs(added).max() > 0
    mean = pipe.volume_processor.unpad(pipe.volume_processor.reference(None).mean)
    np.testing.assert_allclose(expected - mean, added, rtol=1e-3, atol=1e-3 * np.abs(added).max())


def test_a_model_for_other_spectra_is_refused(pipe):
    own = run(0, pipe)
    check_model(pipe, own)
    own.eeg_processor = SimpleNamespace(config={**pipe.eeg_processor.config, "mode": "complex"})
    with pytest.raises(InputError, match=r"eeg_processor\.mode log_power"):
        check_model(pipe, own)


def test_image_scores_are_of_the_volume_and_of_the_brain():
    rng = np.random.default_rng(1)
    volumes = (100 + rng.standard_normal((4, 13, 14, 15))).astype(np.float32)
    mask = np.zeros(volumes.shape[1:], bool)
    mask[3:10, 3:11, 3:12] = True
    own = SimpleNamespace(
        onsets=np.arange(4), repetition_time=2.0, mask=mask, mean=volumes[0], regions=find_regions(mask, np.eye(4)),
        volumes=lambda: volumes, indices=np.arange(30, 34),
    )  # fmt: skip
    changed = np.where(mask, volumes, 100).astype(np.float32)
    scores = dict(zip(IMAGE_SCORES, Measured(own, None).result(changed, None, np.zeros(0), 0.0).image, strict=True))
    images = minmax(volumes), minmax(changed)
    np.testing.assert_allclose(scores["rmse_brain"], rmse(*images, mask))
    assert (scores["rmse_brain"] < scores["rmse"]).all()
    np.testing.assert_allclose(scores["psnr_brain"], psnr(*images, mask))
    for name in ("ssim_3d", "ssim_2d"):
        np.testing.assert_allclose(scores[f"{name}_brain"], ssim(*images, name, mask=mask))


def test_images_are_scored_after_the_volumes_that_rows_are_given():
    volumes = (100 + np.random.default_rng(2).standard_normal((60, 3, 4, 5))).astype(np.float32)
    mask = np.ones(volumes.shape[1:], bool)
    own = SimpleNamespace(repetition_time=2.0, mask=mask, volumes=lambda: volumes, indices=np.arange(10, 70))
    assert list(Measured(own, None).chosen) == list(range(20, 60))
    assert list(Measured(own, 3).chosen) == [20, 40, 59]


@pytest.mark.parametrize(("device", "used"), [("meta", "meta"), ("mps", "cpu")])
def test_ssim_is_computed_where_the_networks_run(monkeypatch, device, used):
    seen = []

    def noted(generated, measured, definition, mask):
        seen.append(generated.device.type)
        return np.zeros(len(measured))

    monkeypatch.setattr(collect, "ssim", noted)
    volumes = (100 + np.random.default_rng(3).standard_normal((40, 12, 12, 12))).astype(np.float32)
    mask = np.ones(volumes.shape[1:], bool)
    own = SimpleNamespace(
        onsets=np.arange(40), repetition_time=2.0, mask=mask, mean=volumes[0], regions=find_regions(mask, np.eye(4)),
        volumes=lambda: volumes, indices=np.arange(40),
    )  # fmt: skip
    Measured(own, 2, device).results(Samples(volumes))
    assert seen == [used] * 4


class Samples:
    """A predictor that gives what it was made with."""

    def __init__(self, *volumes):
        self.volumes = volumes

    def predict(self, run):
        return Prediction(iter(self.volumes))


def test_of_several_samples_the_mean_is_scored_and_the_first_alone(tmp_path):
    rng = np.random.default_rng(0)
    shape = (20, 12, 12, 12)
    volumes = [(100 + rng.standard_normal(shape)).astype(np.float32) for _ in range(4)]
    mask = np.ones(shape[1:], bool)
    own = SimpleNamespace(
        name="one", onsets=np.arange(20), repetition_time=2.0, mask=mask, mean=volumes[0].mean(0),
        regions=find_regions(mask, np.eye(4)), volumes=lambda: volumes[0], indices=np.arange(30, 50),
    )  # fmt: skip
    measured = Measured(own, num_image_volumes=3)
    mean, first = measured.results(Samples(*volumes[1:]))
    expected, none = measured.results(Samples(np.mean(volumes[1:], axis=0)))
    assert none is None
    np.testing.assert_allclose(mean.image, expected.image, atol=1e-4)
    np.testing.assert_allclose(mean.series, expected.series, atol=1e-4)
    np.testing.assert_allclose(mean.sample_series.mean(0), mean.series, atol=1e-2)
    alone, _ = measured.results(Samples(volumes[1]))
    np.testing.assert_array_equal(first.image, alone.image)
    assert mean.image.shape == (len(IMAGE_SCORES), 3)
    perfect, _ = measured.results(Samples(volumes[0]))
    values = [[1.0] * 3] * 4 + [[100.0] * 3] * 2 + [[0.0] * 3] * 2
    np.testing.assert_allclose(perfect.image, values, atol=1e-9)
    np.testing.assert_allclose(perfect.voxel_r, 1, atol=1e-6)
    mean.save(tmp_path / "kept.npz")
    np.testing.assert_array_equal(RunResult.load(tmp_path / "kept.npz").series, mean.series)
    with pytest.raises(RecordingError, match="NaN"):
        measured.results(Samples(np.full(shape, np.nan, np.float32)))
