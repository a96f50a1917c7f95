import numpy as np
import pytest

from baselines.fake_runs import fake_run
from eeg2fmri.baselines.run import NotAvailable
from eeg2fmri.baselines.spatial_filter import SOURCES, _beamformer, _lead_field, source_features


def test_the_filters_pass_their_own_source_best():
    """Power that comes from one place is highest after that place's filter."""
    names = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T7", "T8", "Fz", "Cz", "Pz")
    _, forward = _lead_field(names)
    fields = forward["sol"]["data"].reshape(len(names), len(SOURCES), 3)
    source = SOURCES.index((-40, -24, 55))
    field = fields[:, source, 2] - fields[:, source, 2].mean()
    field = field / np.linalg.norm(field)
    reference = np.eye(len(names)) - 1 / len(names)
    filters = _beamformer(names, 100 * np.outer(field, field) + reference)
    powers = (filters @ field) ** 2 / np.einsum("se,eg,sg->s", filters, reference, filters)
    assert np.argmax(powers) == source


def test_features_have_every_source_band_and_window():
    run = fake_run(0, mode="complex")
    rng = np.random.default_rng(0)
    run.stored = rng.standard_normal((83, 2, 8, 24)).astype(np.float32)
    features = source_features(run)
    assert features.shape == (80, 4 * len(SOURCES) * 5)
    assert np.isfinite(features).all()


def test_without_phase_there_is_no_spatial_filter():
    with pytest.raises(NotAvailable, match=r"log_power.*complex"):
        source_features(fake_run(0))
