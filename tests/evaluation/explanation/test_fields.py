"""Places to electrodes, and sources to inputs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny
from eeg2fmri.baselines.run import NotAvailable
from eeg2fmri.evaluation.explanation.fields import (
    below_electrodes,
    fields_of,
    filter_patterns,
    input_changes,
    input_maps,
    without_reference,
)

RANDOM = np.random.default_rng(0)
NUM_COLUMNS, ELECTRODES, FREQUENCIES = 60, 4, 6


def mixed_sources():
    """Spectra `[column, 2, electrode, frequency]` of as many independent sources as electrodes, and their mixing."""
    mixing = RANDOM.standard_normal((ELECTRODES, ELECTRODES))
    sources = RANDOM.standard_normal((40 * NUM_COLUMNS, 2, ELECTRODES, FREQUENCIES))
    return np.einsum("es,kcsf->kcef", mixing, sources), mixing


def test_a_pattern_is_the_sources_field_whatever_the_whitening():
    recorded, mixing = mixed_sources()
    whitening = RANDOM.standard_normal((ELECTRODES, ELECTRODES))
    normalised = np.einsum("de,kcef->kcdf", whitening, recorded)
    filters = np.linalg.inv(whitening @ mixing)  # each passes one source and nothing else
    band = SimpleNamespace(
        filters=torch.from_numpy(filters), profile=torch.zeros(FREQUENCIES), band=slice(0, FREQUENCIES)
    )
    pipe = SimpleNamespace(prior=SimpleNamespace(band_powers=[band]))
    (patterns,) = filter_patterns(pipe, recorded, normalised)
    cosine = np.abs((patterns * mixing.T).sum(axis=1))
    cosine /= np.linalg.norm(patterns, axis=1) * np.linalg.norm(mixing, axis=0)
    assert (cosine > 0.99).all()
    order = [2, 0, 3, 1]
    (permuted,) = filter_patterns(pipe, recorded[:, :, order], normalised)
    np.testing.assert_allclose(permuted, patterns[:, order])


def test_the_map_to_the_input_is_found():
    recorded, _ = mixed_sources()
    maps = RANDOM.standard_normal((FREQUENCIES, ELECTRODES, ELECTRODES))
    np.testing.assert_allclose(input_maps(recorded, np.einsum("fde,kcef->kcdf", maps, recorded)), maps, atol=1e-9)


def test_fields_follow_their_electrodes():
    order = [3, 0, 2, 1]
    names = ("O1", "Fp2", "C3", "Cz")
    fields = fields_of(names, "FCz", below_electrodes(names))
    np.testing.assert_array_equal(np.abs(without_reference(fields)).argmax(axis=1), range(4))
    permuted = fields_of([names[i] for i in order], "FCz", below_electrodes(names))
    np.testing.assert_allclose(permuted, fields[:, order], rtol=1e-6)
    with pytest.raises(NotAvailable, match="nowhere"):
        fields_of(("O1", "nowhere"), "FCz", np.zeros((1, 3)))


def test_a_growing_source_changes_log_power_by_its_share():
    processor = tiny.eeg_processor()
    stored = RANDOM.standard_normal((5, 1, 8, 6)).astype(np.float32)
    field = RANDOM.standard_normal((1, 8))
    (change,) = input_changes(processor, stored, stored, field, np.array([[0, 1, 2, 3], [1, 2, 3, 4]]))
    share = field[0][:, None] ** 2 / np.exp(stored.astype(float)).mean(axis=(0, 1))
    expected = share / np.linalg.norm(share, axis=0) / processor.scale[0]
    assert change.shape == (2, 1, 8, 6, 4)
    np.testing.assert_allclose(
        change, np.broadcast_to(expected[None, None, ..., None], change.shape), rtol=0.01, atol=1e-3
    )


def test_a_growing_source_makes_its_part_of_complex_spectra_grow():
    processor = tiny.complex_processor()
    stored = RANDOM.standard_normal((40, 2, 8, 6)).astype(np.float32)
    columns = np.array([[0, 1, 2, 3]])
    fields = np.eye(8)[:1]
    (change,) = input_changes(processor, stored, stored, fields, columns)
    windows = processor.normalise(stored)[columns].transpose(0, 2, 3, 4, 1)
    expected = np.zeros_like(windows)
    expected[:, :, 0] = windows[:, :, 0]  # no whitening here: the electrode itself
    np.testing.assert_allclose(change, expected, atol=1e-4)
