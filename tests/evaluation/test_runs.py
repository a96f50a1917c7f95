"""What a run of a paired dataset knows besides its volumes: the simulator's truth on any grid."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from eeg2fmri import PairedDataset, VolumeProcessor
from eeg2fmri.baselines.oracle import Oracle
from eeg2fmri.errors import FileError
from eeg2fmri.evaluation.runs import DatasetRun
from eeg2fmri.recordings.bold import read_bold

COARSE = (24, 26, 12)


@pytest.fixture
def test_part(place):
    return PairedDataset(place.pairs, "test")


def on_another_grid(place, dataset, space):
    """The first test run as a dataset of another grid holds it."""
    entry = dataset.runs[0]
    options = {"mode": "change", "grid_shape": COARSE, "sample_size": COARSE[::-1], "repetition_time": 2.0}
    processor = VolumeProcessor(**options, resample="dct" if space == "native" else "none", space=space)
    if space == "mni":
        coarse = VolumeProcessor(**options, resample="dct", space="native")
        bold = read_bold(place.sim / entry["bold"])
        volumes, affine = coarse.to_grid(bold)
        processor.fit([type(bold)(volumes.T, affine, 2.0)])
    changed = SimpleNamespace(folder=dataset.folder, eeg_processor=dataset.eeg_processor, volume_processor=processor)
    return DatasetRun(changed, entry, place.sim)


@pytest.mark.parametrize("space", ["native", "mni"])
def test_simulated_data_on_another_grid_keep_their_truth(place, test_part, space):
    own, other = DatasetRun(test_part, test_part.runs[0], place.sim), on_another_grid(place, test_part, space)
    assert other.mean.shape == COARSE[::-1]
    assert other.regions.kinds[:6] == own.regions.kinds[:6]
    assert "dark" in other.regions.kinds
    truth = other.truth
    assert truth.maps.shape[1:] == other.mean.shape
    (volumes,) = Oracle().predict(other).samples
    predicted = other.regions.series(volumes, other.repetition_time)
    (expected,) = Oracle().predict(own).samples
    expected = own.regions.series(expected, own.repetition_time)
    networks = own.regions.of("network") & own.regions.present & other.regions.present[: len(own.regions.names)]
    assert networks.sum() >= 3
    for region in np.flatnonzero(networks):
        assert np.corrcoef(predicted[:, region], expected[:, region])[0, 1] > 0.99


def test_a_table_that_can_not_be_read_is_refused_before_anything_is_computed(place, tmp_path):
    shutil.copytree(place.sim, tmp_path / "sim")
    (tmp_path / "sim" / "task-rest_events.tsv").write_text("onset\tduration\ttrial_type\n2\tn/a\tTask\n")
    with pytest.raises(FileError, match=r"task-rest_events.tsv: found 'n/a' for duration in line 2"):
        place.evaluate(tmp_path / "out", root=tmp_path / "sim")
    assert [path.name for path in tmp_path.iterdir()] == ["sim"]
