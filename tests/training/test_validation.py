import numpy as np
import pytest

from eeg2fmri.training.picture import draw_samples
from eeg2fmri.training.scores import sample_scores
from eeg2fmri.training.validation import validations_without_gain


def series(seed=0, shape=(6, 12, 12, 11)):
    return 100 + np.random.default_rng(seed).standard_normal(shape)


def test_the_measured_volumes_score_one():
    scores = sample_scores(series(), series())
    assert scores["validation_ssim"] == pytest.approx(1)
    assert scores["validation_temporal_r"] == pytest.approx(1)


def test_opposite_changes_score_minus_one_whatever_the_constant_voxels():
    measured = series()
    measured[:, :5] = 100
    scores = sample_scores(2 * measured.mean(0) - measured, measured)
    assert scores["validation_temporal_r"] == pytest.approx(-1)
    assert scores["validation_ssim"] < 0.5


def test_small_volumes_can_be_scored():
    assert sample_scores(series(1, (4, 8, 8, 6)), series(2, (4, 8, 8, 6)))["validation_ssim"] < 0.9


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], 0),
        ([0.5], 0),
        ([0.5, 0.4, 0.3], 2),
        ([0.5, 0.5], 1),
        ([0.1, 0.2], 0),
        ([float("nan"), 0.1], 0),
        ([0.1, float("nan")], 1),
        ([float("nan")] * 3, 2),
    ],
)
def test_validations_since_the_best(scores, expected):
    assert validations_without_gain(scores) == expected


def test_the_picture_is_written_and_returned(tmp_path):
    picture = draw_samples(series(1), series(2), tmp_path / "new" / "step.png", "step 1")
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert (tmp_path / "new" / "step.png").read_bytes().startswith(b"\x89PNG")
