"""VolumeProcessor: round trips, units, grids, spaces, the template and the condition."""

import dataclasses

import nibabel
import numpy as np
import pytest
import torch

from eeg2fmri.errors import InputError, RecordingError
from eeg2fmri.processing.filters import brain_mask, remove_drift, smooth_inside
from eeg2fmri.processing.volume import VolumeProcessor
from eeg2fmri.recordings.bold import BOLDRun, read_bold, write_bold

GRID, SAMPLE = (12, 14, 9), (16, 16, 16)
AFFINE = np.array([[-4.0, 0, 0, 22], [0, 4, 0, -26], [0, 0, 5, -20], [0, 0, 0, 1]])
MODES = ("minmax_volume", "minmax_run", "change")


def make_run(seed=0, num_volumes=40, gain=1.0, shape=GRID, affine=AFFINE, sd=0.02) -> BOLDRun:
    """A bright ellipsoid whose voxels change by `sd` of their mean, on a dark background."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    radius = sum(axis**2 for axis in axes)
    mean = np.where(radius < 0.8, 1000 + 100 * axes[0], 20.0)
    volumes = mean[..., None] * (1 + sd * rng.standard_normal((*shape, num_volumes)))
    return BOLDRun(gain * volumes, affine, 2.0, f"run {seed}")


def make_processor(mode="change", **settings) -> VolumeProcessor:
    return VolumeProcessor(mode, SAMPLE, GRID, repetition_time=2.0, **settings)


def as_grid(volumes) -> np.ndarray:
    """`[x, y, z, time]` as `postprocess` gives it."""
    return np.moveaxis(volumes, 3, 0)


def test_noddi_gets_one_slice_on_each_side():
    padded = VolumeProcessor().pad(np.ones((30, 64, 64)))
    assert padded.shape == (32, 64, 64)
    assert padded[[0, 31]].max() == 0
    assert padded[1:31].min() == 1


def test_model_axes_are_the_image_axes_reversed():
    processor, run = make_processor("minmax_run"), make_run()
    model = processor.preprocess(run)
    assert model.shape == (40, 1, *SAMPLE)
    assert model.dtype == np.float32
    low, high = run.volumes.min(), run.volumes.max()
    for x, y, z, time in [(3, 7, 5, 0), (0, 13, 8, 39), (11, 0, 0, 17)]:
        value = (run.volumes[x, y, z, time] - low) / (high - low) * 2 - 1
        assert processor.unpad(model)[time, 0, z, y, x] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("mode", ["minmax_run", "change"])
def test_postprocess_undoes_preprocess(mode):
    processor, run = make_processor(mode), make_run()
    reference = processor.reference(run)
    returned = processor.postprocess(torch.from_numpy(processor.preprocess(run, reference)), reference)
    mask = processor.unpad(reference.mask).T if mode == "change" else np.ones(GRID, bool)
    np.testing.assert_allclose(returned[:, mask], as_grid(run.volumes)[:, mask], rtol=2e-6, atol=1e-3)
    if mode == "change":
        outside = np.broadcast_to(run.volumes.mean(axis=3)[~mask], returned[:, ~mask].shape)
        np.testing.assert_allclose(returned[:, ~mask], outside, rtol=1e-5)


def test_changes_are_standardised_inside_the_brain_and_zero_outside():
    processor, run = make_processor(), make_run()
    mask = processor.reference(run).mask
    changes = processor.preprocess(run)[:, 0]
    np.testing.assert_allclose(changes.mean(axis=0)[mask], 0, atol=1e-5)
    np.testing.assert_allclose(changes.std(axis=0)[mask], 1, rtol=1e-4)
    assert not changes[:, ~mask].any()
    np.testing.assert_array_equal(processor.unpad(mask).T, run.volumes.mean(axis=3) > 500)


@pytest.mark.parametrize("gain", [0.01, 3.0, 1000.0])
def test_changes_do_not_depend_on_the_gain(gain):
    processor = make_processor()
    np.testing.assert_allclose(processor.preprocess(make_run(gain=gain)), processor.preprocess(make_run()), atol=2e-4)


def test_minmax_volume_spans_minus_one_to_one_in_every_volume():
    processor, run = make_processor("minmax_volume"), make_run()
    grid = processor.unpad(processor.preprocess(run)[:, 0])
    np.testing.assert_array_equal(grid.min(axis=(1, 2, 3)), -1)
    np.testing.assert_array_equal(grid.max(axis=(1, 2, 3)), 1)
    reference = processor.reference(run)
    assert reference.low == pytest.approx(run.volumes.min(axis=(0, 1, 2)).mean())
    assert reference.high == pytest.approx(run.volumes.max(axis=(0, 1, 2)).mean())


def test_minmax_run_spans_minus_one_to_one_in_the_run():
    processor = make_processor("minmax_run")
    grid = processor.unpad(processor.preprocess(make_run())[:, 0])
    assert (grid.min(), grid.max()) == (-1, 1)
    assert np.ptp(grid.max(axis=(1, 2, 3))) > 0


def test_constant_voxels_do_not_explode():
    run = make_run()
    volumes = run.volumes.copy()
    volumes[6, 7, 4] = volumes[6, 7, 4, 0]
    volumes[6, 7, 4, 0] += 0.01
    changes = make_processor().preprocess(BOLDRun(volumes, AFFINE, 2.0))
    assert np.abs(changes).max() < 10


@pytest.mark.parametrize("mode", ["minmax_volume", "minmax_run"])
def test_a_volume_without_contrast_is_named(mode):
    volumes = make_run().volumes.copy()
    volumes[..., 3] = 5
    if mode == "minmax_run":
        reference = dataclasses.replace(make_processor(mode).reference(make_run()), low=2.0, high=2.0)
        with pytest.raises(RecordingError, match="alike"):
            make_processor(mode).preprocess(make_run(), reference)
    else:
        with pytest.raises(RecordingError, match="volume 3 with all voxels alike"):
            make_processor(mode).preprocess(BOLDRun(volumes, AFFINE, 2.0))


def test_condition_is_the_mean_volume_between_minus_one_and_one():
    processor, run = make_processor(), make_run()
    reference = processor.reference(run)
    condition = processor.condition(reference)
    assert condition.shape == (1, *SAMPLE)
    assert (condition.min(), condition.max()) == (-1, 1)
    bright = np.percentile(reference.mean[reference.mask], 98)
    inside = reference.mask & (reference.mean < bright)
    np.testing.assert_allclose((condition[0][inside] + 1) / 2 * bright, reference.mean[inside], rtol=1e-5)
    assert np.all(condition[0] == -1, where=processor.pad(np.ones(GRID[::-1])) == 0)
    assert make_processor("minmax_run").condition(reference) is None


def test_smoothing_keeps_a_constant_up_to_the_edge_and_lowers_noise():
    mask = make_processor().reference(make_run()).mask
    ones = smooth_inside(np.ones((1, *SAMPLE), np.float32), mask, 8.0, np.array([5.0, 4.0, 4.0]))
    np.testing.assert_allclose(ones[0], mask, atol=1e-5)
    smooth, rough = make_processor(smoothing_fwhm=8.0), make_processor()
    run = make_run()
    assert np.median(smooth.reference(run).scale[mask]) < 0.6 * np.median(rough.reference(run).scale[mask])
    np.testing.assert_allclose(smooth.preprocess(run)[:, 0].std(axis=0)[mask], 1, rtol=1e-3)


def test_the_gain_is_of_changes_and_not_of_the_mean():
    run = make_run()
    plain, strong = make_processor(), make_processor(change_gain=1.5)
    reference = plain.reference(run)
    values = plain.preprocess(run, reference)
    np.testing.assert_array_equal(strong.preprocess(run, reference), values)
    mean = plain.postprocess(np.zeros_like(values), reference)
    np.testing.assert_allclose(
        strong.postprocess(values, reference) - mean, 1.5 * (plain.postprocess(values, reference) - mean), atol=0.01
    )


def test_high_pass_removes_the_drift_and_keeps_mean_and_signal():
    times = np.arange(40) + 0.5
    drift, signal = np.cos(np.pi * times / 40), np.cos(np.pi * times * 20 / 40)
    volumes = (5 + drift + signal).astype(np.float32)[:, None, None, None]
    np.testing.assert_allclose(remove_drift(volumes, 2.0, 0.02).ravel(), 5 + signal, atol=1e-5)
    np.testing.assert_array_equal(remove_drift(volumes, 2.0, 0.001), volumes)
    run = make_run()
    drifting = BOLDRun(run.volumes * (1 + 0.05 * drift), AFFINE, 2.0)
    processor = make_processor(high_pass=0.02)
    mask = processor.reference(run).mask
    cosine = np.tensordot(drift, processor.preprocess(drifting)[:, 0], (0, 0))
    np.testing.assert_allclose(cosine[mask], 0, atol=1e-3)
    with pytest.raises(InputError, match="high_pass"):
        make_processor(high_pass=0.3).preprocess(run)


def test_template_is_saved_and_loaded(tmp_path):
    processor = make_processor(smoothing_fwhm=6.0).fit(make_run(seed) for seed in range(3))
    processor.save_pretrained(tmp_path)
    loaded = VolumeProcessor.from_pretrained(tmp_path)
    assert loaded.config.smoothing_fwhm == 6.0
    for field in dataclasses.fields(processor.reference()):
        one, other = (getattr(item.reference(), field.name) for item in (processor, loaded))
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def test_template_does_not_depend_on_gains_or_order():
    one = make_processor().fit(make_run(seed) for seed in (0, 1, 2))
    other = make_processor().fit(make_run(seed, gain=10.0 ** (seed - 1)) for seed in (2, 0, 1))
    ratio = other.template_mean / one.template_mean
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-5)
    relative = [(item.template_scale / item.template_mean)[item.template_mask] for item in (one, other)]
    np.testing.assert_allclose(*relative, rtol=1e-4)
    np.testing.assert_allclose(relative[0].mean(), 0.02, rtol=0.05)
    np.testing.assert_array_equal(one.template_mask, make_run().volumes.mean(axis=3) > 500)


def test_the_template_of_one_run_is_that_run():
    run = make_run()
    processor = make_processor()
    own = processor.reference(run)
    template = processor.fit([run]).reference()
    np.testing.assert_allclose(template.mean, own.mean, rtol=1e-5)
    np.testing.assert_allclose(template.scale[own.mask], own.scale[own.mask], rtol=1e-5)
    np.testing.assert_array_equal(template.mask, own.mask)
    assert template.low == pytest.approx(own.mean[processor.pad(np.ones(GRID[::-1])) > 0].min(), rel=1e-5)


def test_few_volumes_borrow_the_templates_relative_scale(tmp_path):
    processor = make_processor().fit(make_run(seed) for seed in range(3))
    single = make_run(gain=7.0, num_volumes=1, sd=0.0)
    write_bold(nibabel.Nifti1Image(single.volumes[..., 0], AFFINE), tmp_path / "mean.nii.gz")
    reference, template = processor.reference(tmp_path / "mean.nii.gz"), processor.reference()
    expected = reference.mean * template.scale / template.mean.clip(1e-9)
    np.testing.assert_allclose(reference.scale[template.mask], expected[template.mask], rtol=1e-5)
    np.testing.assert_allclose(processor.unpad(reference.mean).T, single.volumes[..., 0], rtol=1e-6)


def test_references_that_cannot_be_made():
    with pytest.raises(InputError, match="reference="):
        make_processor().reference()
    with pytest.raises(RecordingError, match="19 volumes"):
        make_processor().reference(make_run(num_volumes=19))
    with pytest.raises(RecordingError, match="19 volumes"):
        make_processor("minmax_run").fit([make_run(num_volumes=19)])
    with pytest.raises(InputError, match="no run"):
        make_processor().fit([])
    assert make_processor("minmax_run").reference(make_run(num_volumes=19)).scale.min() > 0
    demeaned = BOLDRun(make_run().volumes - make_run().volumes.mean(axis=3, keepdims=True), AFFINE, 2.0)
    for volumes in (demeaned.volumes, np.zeros((*GRID, 30)), -make_run().volumes):
        with pytest.raises(RecordingError, match="no brain"):
            make_processor().reference(BOLDRun(volumes, AFFINE, 2.0))


def test_training_runs_in_mni_space_share_one_affine():
    moved = AFFINE.copy()
    moved[0, 3] += 1
    runs = [make_run(0), make_run(1, affine=moved)]
    with pytest.raises(RecordingError, match=r"run 1: .*\[.*23\.0.*that of run 0.*22\.0"):
        make_processor(space="mni").fit(runs)
    np.testing.assert_array_equal(make_processor().fit(runs).template_affine, AFFINE)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1)])
def test_a_native_run_is_turned_to_the_template_s_axes(order, flips):
    """However a person's image is stored, left stays left: in the model's input and in the image that comes back."""
    run = make_run()
    axes = np.column_stack([np.argsort(order), np.array(flips)[np.argsort(order)]])
    stored = BOLDRun(
        nibabel.apply_orientation(run.volumes, axes),
        AFFINE @ nibabel.orientations.inv_ornt_aff(axes, run.volumes.shape[:3]),
        2.0,
    )
    processor = make_processor().fit([run])
    reference, own = processor.reference(stored), processor.reference(run)
    np.testing.assert_array_equal(processor.preprocess(stored, reference), processor.preprocess(run, own))
    np.testing.assert_allclose(reference.affine, AFFINE, atol=1e-12)
    if order == (0, 1, 2) and flips != (1, 1, 1):
        with pytest.raises(RecordingError, match=r"array: found voxel axes in the order ...; expected LAS, as run 0"):
            make_processor().fit([run, stored])


def test_a_tilt_turns_no_axis():
    """Between 40 and 50 degrees the nearest axis of the scanner changes, and the grid's own do not."""
    tilted = []
    for degrees in (40, 50):
        sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
        tilted.append(np.array([[1, 0, 0, 0], [0, cosine, -sine, 0], [0, sine, cosine, 0], [0, 0, 0, 1]]) @ AFFINE)
    assert nibabel.aff2axcodes(tilted[0]) != nibabel.aff2axcodes(tilted[1])
    processor = make_processor().fit([make_run(affine=affine) for affine in tilted])
    np.testing.assert_array_equal(processor.reference(make_run(affine=tilted[1])).affine, tilted[1])


def test_a_failed_fit_leaves_the_template_alone():
    processor = make_processor(space="mni").fit([make_run()])
    before = processor.template_mean
    with pytest.raises(RecordingError):
        processor.fit([make_run(1), make_run(2, num_volumes=3)])
    assert processor.template_mean is before


def test_a_run_in_mni_space_on_another_grid_is_resampled():
    processor = make_processor(space="mni").fit([make_run()])
    fine = make_run(shape=(24, 28, 18), affine=AFFINE @ np.diag([0.5, 0.5, 0.5, 1]), sd=0.001)
    reference = processor.reference(fine)
    np.testing.assert_array_equal(reference.affine, AFFINE)
    inside = reference.mask & (processor.reference().mean > 900)
    share = np.mean(np.abs(reference.mean[inside] / processor.reference().mean[inside] - 1) < 0.1)
    assert share > 0.9
    assert processor.preprocess(fine).shape == (40, 1, *SAMPLE)


def test_a_run_that_covers_a_part_of_the_template_stays_zero_outside_its_view():
    processor = make_processor(space="mni").fit([make_run()])
    whole = make_run(1)
    slab = BOLDRun(
        whole.volumes[:, :, 4:], AFFINE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]), 2.0
    )
    reference = processor.reference(slab)
    volumes = processor.postprocess(processor.preprocess(slab, reference), reference)
    inside = processor.unpad(reference.mask).T
    np.testing.assert_allclose(volumes[:, inside], as_grid(whole.volumes)[:, inside], rtol=1e-5)
    assert not volumes[..., :4].any()
    assert not processor.postprocess(np.ones((1, 1, *SAMPLE)), reference)[..., :4].any()


def test_an_unfitted_processor_is_saved_and_loaded(tmp_path):
    make_processor("minmax_run").save_pretrained(tmp_path)
    loaded = VolumeProcessor.from_pretrained(tmp_path)
    assert loaded.template_mean is None
    np.testing.assert_array_equal(loaded.preprocess(make_run()), make_processor("minmax_run").preprocess(make_run()))


@pytest.mark.parametrize("shift", [24.0, 1000.0])
def test_a_run_outside_the_templates_space_is_refused(shift):
    processor = make_processor(space="mni").fit([make_run()])
    moved = AFFINE.copy()
    moved[:3, 3] += shift
    for method in (processor.reference, processor.preprocess):
        with pytest.raises(RecordingError, match="not in the checkpoint's space"):
            method(make_run(affine=moved))


def test_native_runs_of_another_shape():
    run = make_run(shape=(16, 10, 9))
    with pytest.raises(RecordingError, match=r"x 16 \(expected 12\), y 10 \(expected 14\)"):
        make_processor().preprocess(run)
    processor = make_processor("minmax_run", resample="dct")
    assert processor.preprocess(run).shape == (40, 1, *SAMPLE)
    np.testing.assert_allclose(
        np.linalg.norm(processor.reference(run).affine[:3, :3], axis=0), [4 * 16 / 12, 4 * 10 / 14, 5]
    )


def test_an_image_of_generated_volumes_can_be_read_again(tmp_path):
    processor, run = make_processor(space="mni"), make_run()
    reference = processor.reference(run)
    volumes = processor.postprocess(processor.preprocess(run), reference)
    write_bold(processor.to_image(volumes, reference, 2.0, 20.0), tmp_path / "run.nii.gz")
    written = read_bold(tmp_path / "run.nii.gz")
    np.testing.assert_array_equal(written.volumes, np.moveaxis(volumes, 0, 3))
    np.testing.assert_array_equal(written.affine, AFFINE)
    assert nibabel.load(tmp_path / "run.nii.gz").header["sform_code"] == 4


@pytest.mark.parametrize("name", ["haxby_s1_run001_25mm.nii.gz", "DCM2NIIX_regression_test_4.nii"])
@pytest.mark.parametrize("mode", MODES)
def test_real_runs(shared_data, name, mode):
    run = read_bold(shared_data / "bold" / name)
    x, y, z, num_volumes = run.volumes.shape
    processor = VolumeProcessor(mode, (z + 1, y, x + 3), (x, y, z), run.repetition_time)
    if mode == "change" and num_volumes < 20:
        with pytest.raises(RecordingError, match="10 volumes"):
            processor.reference(run)
        return
    reference = processor.reference(run)
    returned = processor.postprocess(processor.preprocess(run, reference), reference)
    mask = brain_mask(run.volumes.mean(axis=3, dtype=np.float64), name)
    assert 0.1 < mask.mean() < 0.9
    tolerance = 0.2 if mode == "minmax_volume" else 1e-5
    assert np.abs(returned - as_grid(run.volumes))[:, mask].max() < tolerance * run.volumes.max()


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "zscore"},
        {"mode": None},
        {"sample_size": (31, 64, 64), "grid_shape": (64, 64, 32)},
        {"sample_size": (32, 64, 63)},
        {"sample_size": (32, 64)},
        {"sample_size": "abc"},
        {"sample_size": (10**9, 10**9, 10**9)},
        {"grid_shape": (64, 64, -30)},
        {"grid_shape": (64, 64, 30.0)},
        {"grid_shape": (64, 64, True)},
        {"repetition_time": float("nan")},
        {"repetition_time": 2160},
        {"smoothing_fwhm": 6.0},
        {"mode": "change", "smoothing_fwhm": -1.0},
        {"mode": "change", "smoothing_fwhm": 1e9},
        {"mode": "change", "high_pass": 0},
        {"mode": "minmax_run", "high_pass": 0.01},
        {"space": "talairach"},
        {"resample": "linear"},
        {"resample": "dct", "space": "mni"},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(reversed(settings)) if "mode" in settings else "found"):
        VolumeProcessor(**settings)


@pytest.mark.parametrize(
    "volumes",
    [
        np.zeros((2, *SAMPLE)),
        np.zeros((2, 2, *SAMPLE)),
        np.zeros((2, 1, 16, 16, 15)),
        np.full((1, 1, *SAMPLE), np.nan),
        np.full((1, 1, *SAMPLE), 1e300),
        np.zeros((1, 1, *SAMPLE), complex),
        torch.zeros((1, 1, *SAMPLE), requires_grad=True),
        "volumes",
        None,
    ],
)
def test_postprocess_refuses_what_no_model_gives(volumes):
    processor = make_processor()
    with pytest.raises(InputError, match="volumes"):
        processor.postprocess(volumes, processor.reference(make_run()))


def test_wrong_kinds_of_arguments():
    processor, run = make_processor(), make_run()
    other = VolumeProcessor("change", (16, 16, 24), GRID, 2.0).reference(run)
    for reference in (other, "reference"):
        with pytest.raises(InputError, match="reference"):
            processor.preprocess(run, reference)
    with pytest.raises(InputError, match="BOLDRun"):
        processor.preprocess(run.volumes)
    with pytest.raises(InputError, match="z, y, x"):
        processor.pad(np.zeros(GRID))
    with pytest.raises(InputError, match="path"):
        processor.reference(run.volumes)
    for volumes in (3, run.volumes, np.full((1, *GRID), np.inf)):
        with pytest.raises(InputError, match="volumes"):
            processor.to_image(volumes, processor.reference(run), 2.0)
