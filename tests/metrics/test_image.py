import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eeg2fmri.errors import InputError
from eeg2fmri.metrics.image import minmax, psnr, rmse, ssim
from eeg2fmri.metrics.ssim_definitions import SSIM_DEFINITIONS

WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
C1, C2 = 0.01**2, 0.03**2


def pair(shape=(3, 14, 20, 17), noise=0.4, seed=0):
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.standard_normal(shape), (0, 2, 2, 2))
    other = smooth + noise * gaussian_filter(rng.standard_normal(shape), (0, 1, 1, 1))
    return minmax(smooth), minmax(other)


def by_slice(x, y, step=1, data_range=lambda a, b: 1.0):
    slices = [(x[d], y[d]) for d in range(0, step * (len(x) // step), step)]
    return np.mean([structural_similarity(a, b, data_range=data_range(a, b), **WANG) for a, b in slices])


def padded_as_torchmetrics(x, y, axes):
    """Mirror without repeating the border: scikit-image then counts the windows at every voxel of the volume."""
    widths = [(0, 0)] * (x.ndim - axes) + [(5, 5)] * axes
    return np.pad(x, widths, mode="reflect"), np.pad(y, widths, mode="reflect")


REFERENCES = {
    "ssim_2d": by_slice,
    "ssim_2d_reflected": lambda x, y: by_slice(*padded_as_torchmetrics(x, y, 2)),
    "ssim_2d_tag": lambda x, y: by_slice(x + 1e-9, y + 1e-9, 3, lambda a, b: max(a.max(), b.max())),
    "ssim_3d": lambda x, y: structural_similarity(x, y, data_range=1.0, **WANG),
    "ssim_3d_reflected": lambda x, y: structural_similarity(*padded_as_torchmetrics(x, y, 3), data_range=1.0, **WANG),
    "ssim_3d_uniform": lambda x, y: structural_similarity(x, y, data_range=1.0),
    "ssim_whole": lambda x, y: (
        ((2 * x.mean() * y.mean() + C1) * (2 * np.cov(x.ravel(), y.ravel(), ddof=0)[0, 1] + C2))
        / ((x.mean() ** 2 + y.mean() ** 2 + C1) * (x.var() + y.var() + C2))
    ),
}


@pytest.mark.parametrize("definition", SSIM_DEFINITIONS)
def test_ssim_is_that_of_the_reference(definition):
    x, y = pair()
    expected = [REFERENCES[definition](a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim(x, y, definition), expected, atol=1e-6)


def test_no_two_definitions_agree():
    x, y = pair()
    scores = np.array([ssim(x, y, name)[0] for name in SSIM_DEFINITIONS])
    assert np.diff(np.sort(scores)).min() > 1e-4


@pytest.mark.parametrize("definition", SSIM_DEFINITIONS)
def test_ssim_is_symmetric_and_one_for_equal_volumes_only(definition):
    x, y = pair()
    np.testing.assert_allclose(ssim(x, y, definition), ssim(y, x, definition), atol=1e-12)
    np.testing.assert_allclose(ssim(x, x, definition), 1, atol=1e-12)
    assert (ssim(x, y, definition) < 0.99).all()


@pytest.mark.parametrize("definition", sorted(set(SSIM_DEFINITIONS) - {"ssim_2d_tag"}))
def test_constant_volumes_have_the_luminance_term_alone(definition):
    a, b = 0.3, 0.7
    x, y = np.full((1, 12, 12, 12), a), np.full((1, 12, 12, 12), b)
    np.testing.assert_allclose(ssim(x, y, definition), (2 * a * b + C1) / (a * a + b * b + C1), atol=1e-9)
    np.testing.assert_allclose(ssim(0 * x, 0 * x, definition), 1)


def test_a_checkerboard_has_its_closed_form():
    sign = (np.indices((12, 12, 12)).sum(0) % 2 * 2 - 1)[None]
    x, y = 0.5 + 0.2 * sign, 0.5 - 0.1 * sign  # common mean, variances .04 and .01, covariance -.02
    np.testing.assert_allclose(ssim(x, y, "ssim_whole"), (2 * -0.02 + C2) / (0.04 + 0.01 + C2), atol=1e-12)


@pytest.mark.parametrize("definition", ["ssim_2d", "ssim_3d", "ssim_3d_uniform", "ssim_3d_reflected", "ssim_whole"])
def test_ssim_is_invariant_to_mirrors_order_and_common_scale(definition):
    x, y = pair()
    scores = ssim(x, y, definition)
    np.testing.assert_allclose(ssim(x[:, ::-1, :, ::-1].copy(), y[:, ::-1, :, ::-1].copy(), definition), scores)
    np.testing.assert_allclose(ssim(x.swapaxes(2, 3), y.swapaxes(2, 3), definition), scores)
    np.testing.assert_allclose(ssim(255 * x, 255 * y, definition, data_range=255), scores)
    order = [2, 0, 1]
    np.testing.assert_allclose(ssim(x[order], y[order], definition), scores[order])


def test_padding_slices_lift_ssim_as_stated():
    x, y = pair((2, 30, 16, 16))
    pad = ((0, 0), (1, 1), (0, 0), (0, 0))
    lifted = (30 * ssim(x, y, "ssim_2d") + 2) / 32
    np.testing.assert_allclose(ssim(np.pad(x, pad), np.pad(y, pad), "ssim_2d"), lifted, atol=1e-9)


@pytest.mark.parametrize("definition", ["ssim_3d", "ssim_3d_uniform"])
def test_a_mask_averages_the_map_over_its_voxels(definition):
    x, y = pair()
    mask = np.zeros(x.shape[1:], bool)
    mask[6:9, 5:12, 7:10] = True
    options = {"data_range": 1.0, "full": True} | (WANG if definition == "ssim_3d" else {})
    expected = [structural_similarity(a, b, **options)[1][mask].mean() for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim(x, y, definition, mask=mask), expected, atol=1e-6)


def test_masks_with_slices_and_whole_volumes():
    x, y = pair()
    mask = np.zeros(x.shape[1:], bool)
    mask[4] = True
    np.testing.assert_allclose(ssim(x, y, "ssim_2d", mask), ssim(x[:, 4:5], y[:, 4:5], "ssim_2d"))
    np.testing.assert_allclose(ssim(x, y, "ssim_whole", mask), ssim(x[:, 4:5], y[:, 4:5], "ssim_whole"))
    np.testing.assert_allclose(rmse(x, y, mask), rmse(x[:, 4:5], y[:, 4:5]))


def test_psnr_and_rmse_are_the_equations():
    x, y = pair()
    np.testing.assert_allclose(rmse(x, y), [np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(x, y, strict=True)])
    expected = [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(psnr(x, y), expected, atol=1e-6)
    np.testing.assert_allclose(psnr(255 * x, 255 * y, data_range=2**8 - 1), expected)
    np.testing.assert_allclose(psnr(x, x + 0.1), 20)
    np.testing.assert_allclose(rmse(x, x + 0.1), 0.1)
    assert np.isinf(psnr(x, x)).all()


def test_minmax_scales_every_volume_by_itself():
    x, _ = pair()
    scaled = minmax(np.stack([3 * x[0] - 7, 0 * x[0] + 5]))
    np.testing.assert_allclose(scaled[0], x[0], atol=1e-12)
    assert (scaled[1] == 0).all()


def test_tensors_and_single_precision_give_the_same():
    x, y = pair()
    for function in (ssim, psnr, rmse):
        expected = function(x, y)
        np.testing.assert_array_equal(function(torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)), expected)
        np.testing.assert_allclose(function(x.astype(np.float32), y.astype(np.float32)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generated": np.zeros((3, 14, 20, 16))}, "that of measured"),
        ({"generated": np.zeros((3, 1, 14, 20, 17))}, r"finite volumes \[N, D, H, W\]"),
        ({"measured": np.full((3, 14, 20, 17), np.nan)}, "measured: .*NaN"),
        ({"definition": "ssim"}, "one of ssim_2d, "),
        ({"mask": np.ones((14, 20, 17))}, "mask: found float64"),
        ({"mask": np.zeros((14, 20, 17), bool)}, "no voxels in it"),
        ({"mask": np.arange(14 * 20 * 17).reshape(14, 20, 17) == 0}, "no windows with their centre"),
        ({"data_range": 0.0}, "above 0"),
        ({"data_range": float("nan")}, "above 0"),
    ],
)
def test_bad_input_is_named(change, message):
    x, y = pair()
    with pytest.raises(InputError, match=message):
        ssim(**({"generated": x, "measured": y} | change))


def test_volumes_smaller_than_the_window_are_refused():
    x, y = pair((1, 8, 16, 16))
    with pytest.raises(InputError, match="at least 11 voxels along each axis"):
        ssim(x, y, "ssim_3d")
    assert ssim(x, y, "ssim_2d").shape == ssim(x, y, "ssim_3d_uniform").shape == (1,)
