"""Grids: padding, resampling and resizing as theorems."""

import nibabel
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eeg2fmri.processing.grids import crop_centre, pad_centre, resample, resize_through_dct, resized_affine

AFFINE = np.array([[-4.0, 0, 0, 22], [0, 4, 0, -26], [0, 0, 5, -20], [0, 0, 0, 1]])


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_unpad_is_the_exact_inverse_of_pad(data):
    sample = data.draw(st.tuples(*[st.integers(1, 12)] * 3))
    grid = tuple(data.draw(st.integers(1, size)) for size in sample)
    volumes = np.random.default_rng(0).random((2, *grid)).astype(np.float32)
    padded = pad_centre(volumes, sample, -1.0)
    assert padded.shape == (2, *sample)
    np.testing.assert_array_equal(crop_centre(padded, grid), volumes)
    assert np.count_nonzero(padded == -1) == padded.size - volumes.size


def test_resampling_to_the_same_grid_and_by_whole_voxels():
    volumes = np.random.default_rng(0).random((2, 5, 6, 7)).astype(np.float32)
    oblique = AFFINE @ np.array([[0.9, -0.1, 0.2, 3], [0.1, 1, 0, 1], [0, 0.3, 1, 2], [0, 0, 0, 1]])
    np.testing.assert_allclose(resample(volumes, oblique, oblique, (5, 6, 7)), volumes, atol=1e-5)
    shifted = oblique.copy()
    shifted[:3, 3] += oblique[:3, :3] @ [2, 1, 0]
    np.testing.assert_allclose(resample(volumes, oblique, shifted, (5, 5, 5)), volumes[:, :, 1:, 2:], atol=1e-5)


def test_resampling_agrees_with_nilearn():
    from nilearn.image import resample_img

    volumes = np.random.default_rng(0).uniform(1, 2, (12, 14, 9, 2)).astype(np.float32)
    target = AFFINE @ np.array([[0.8, 0.1, 0, 2], [0, 0.9, 0.1, 2], [0.1, 0, 0.9, 1], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(volumes, AFFINE)
    expected = resample_img(image, target, (9, 8, 7), "linear", force_resample=True, copy_header=True).get_fdata()
    mine = resample(volumes.T, AFFINE, target, (7, 8, 9)).T
    seen = expected > 0
    np.testing.assert_allclose(mine[seen], expected[seen], rtol=1e-4)
    assert seen.mean() > 0.5


def test_dct_resizing_is_exact_for_what_both_grids_hold():
    """A cosine of the field of view is sampled at the new voxels' centres, which the new affine names."""

    def cosines(shape, affine):
        index = np.stack(np.meshgrid(*(np.arange(size) for size in shape[::-1]), indexing="ij"))
        x, y, z = (np.tensordot(affine[:3, :3], index, 1) + affine[:3, 3, None, None, None]).transpose(0, 3, 2, 1)
        return 3 + np.cos(np.pi * x / 50) * np.cos(2 * np.pi * y / 50) * np.cos(np.pi * z / 50)

    old, new = (5, 20, 25), (8, 16, 10)
    affine = np.diag([2.0, 2.5, 10.0, 1])
    affine[:3, 3] = [1, 1.25, 5]
    volumes = cosines(old, affine)[None].astype(np.float32)
    resized = resize_through_dct(volumes, new)
    np.testing.assert_allclose(resized[0], cosines(new, resized_affine(affine, old, new)), atol=1e-5)
    np.testing.assert_allclose(resize_through_dct(resized, old), volumes, atol=1e-5)
