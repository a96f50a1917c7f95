"""The count of false positives: what it refuses, prints and repeats."""

from pathlib import Path

import pytest

from eeg2fmri.errors import InputError
from eeg2fmri.evaluation import false_positives as counting
from eeg2fmri.evaluation.false_positives import FalsePositives, as_markdown, false_positives

RECIPE = Path(__file__).resolve().parents[2] / "scripts" / "recipes" / "sim-small.yaml"


def test_groups_that_no_test_fits_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least 6"):
        false_positives(tmp_path / "out", RECIPE, group_size=5)
    assert not list(tmp_path.iterdir())


def test_counts_are_printed_with_exact_intervals():
    lines = as_markdown([FalsePositives("sensor ridge", 25, 2, 0)]).splitlines()
    assert lines[-1] == "| sensor ridge | 25 | 2 (1 to 26 %) | 0 (0 to 14 %) |"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_row_is_counted_over_all_groups_and_nothing_is_made_twice(tmp_path, monkeypatch):
    options = {"num_groups": 2, "group_size": 6, "num_training": 2, "num_volumes": 75}
    counts = false_positives(tmp_path / "out", RECIPE, model="eeg2fmri-sim-small", **options)
    titles = ["posterior alpha x HRF", "sensor ridge", "spatial-filter ridge", "model, one step", "model's prior"]
    assert [own.title for own in counts] == titles
    assert all(own.groups == 2 and 0 <= own.both <= own.shifted <= 2 for own in counts)

    def again(*arguments, **options):
        raise AssertionError("what was finished is made anew")

    for name in ("simulate_dataset", "prepare_dataset"):
        monkeypatch.setattr(counting, name, again)
    monkeypatch.setattr("eeg2fmri.evaluation.collect.Measured.results", again)
    assert false_positives(tmp_path / "out", RECIPE, model="eeg2fmri-sim-small", **options) == counts
    with pytest.raises(InputError, match="a study with other settings"):
        false_positives(tmp_path / "out", RECIPE, model="eeg2fmri-sim-small", seed=1, **options)
