import numpy as np

from eeg2fmri.evaluation.regions import PARCEL_GRID, find_regions, grey_matter

AFFINE = np.diag([-5.5, 6.5, 10.0, 1.0])
AFFINE[:3, 3] = [85.25, -117.5, -72.0]


def ball(shape=(16, 32, 32)):
    axes = np.meshgrid(*(np.linspace(-1.2, 1.2, size) for size in shape), indexing="ij")
    return sum(axis**2 for axis in axes) < 1


def test_parcels_divide_the_brain_without_overlap():
    mask = ball()
    regions = find_regions(mask, AFFINE)
    assert len(regions.names) == np.prod(PARCEL_GRID)
    covered = (regions.weights > 0).sum(axis=0).reshape(mask.shape)
    assert covered.max() == 1
    assert not covered[~mask].any()
    assert covered[mask].mean() > 0.97  # cells at the rim with fewer than four voxels are left out
    np.testing.assert_allclose(regions.weights.sum(axis=1)[regions.present], 1, 1e-5)


def test_true_networks_are_where_their_map_is_high_and_the_dark_one_is_set_apart():
    mask = ball()
    maps = {"visual": np.zeros(mask.shape), "hippocampus": np.zeros(mask.shape), "gone": np.zeros(mask.shape)}
    maps["visual"][8, 10:14, 10:14], maps["hippocampus"][6, 14:18, 14:18] = 1, 0.8
    regions = find_regions(mask, AFFINE, maps=maps)
    assert regions.kinds[:3] == ("network", "dark", "network")
    assert list(regions.present[:3]) == [True, True, False]
    volumes = np.random.default_rng(0).random((50, *mask.shape)).astype(np.float32) + 1
    means = volumes[:, 8, 10:14, 10:14].mean((1, 2))
    series = regions.series(volumes, 2.0)[:, 0]
    assert np.corrcoef(series, means)[0, 1] > 0.9  # less the drift
    assert not regions.series(volumes, 2.0)[:, 2].any()


def test_an_atlas_stands_in_for_networks_in_mni_space():
    regions = find_regions(ball(), AFFINE, in_mni=True)
    assert {"Visual", "DefaultMode", "Auditory"} <= set(regions.names)
    assert "unassigned" not in regions.names


def test_grey_matter_is_that_of_the_template_inside_the_brain():
    mask = ball()
    grey = grey_matter(mask, AFFINE)
    assert not grey[~mask].any()
    assert 0.3 < grey.sum() / mask.sum() < 0.95

    def at(x, y, z):
        return grey[tuple(np.rint(np.linalg.inv(AFFINE) @ (x, y, z, 1)).astype(int)[2::-1])]

    assert at(0, -80, 5)  # the calcarine sulcus
    assert not at(27, -30, 28)  # the corona radiata
