"""The conditional mean network: closed forms, symmetries, and a checkpoint that comes back whole."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gamma

from eeg2fmri.errors import CheckpointError, InputError
from eeg2fmri.models.conditional_mean import (
    POWER_FLOOR,
    BandPower,
    ConditionalMeanModel,
    ConditionalMeanOutput,
    haemodynamic_response,
)

TINY = {
    "sample_size": (5, 9, 4),
    "volume_size": (2, 3, 4),
    "bands": ((0, 3), (2, 9)),
    "num_filters": 3,
    "hidden_channels": 6,
    "num_components": 4,
}


def tiny(**changes) -> ConditionalMeanModel:
    """A model in evaluation mode whose maps and statistics are no longer those of the start."""
    torch.manual_seed(0)
    model = ConditionalMeanModel(**{**TINY, **changes}).eval()
    torch.nn.init.normal_(model.maps)
    torch.nn.init.normal_(model.norm.mean)
    return model


def spectra(batch: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(batch, 2, 5, 9, 4, generator=torch.Generator().manual_seed(1)).to(dtype)


class TestBandPower:
    def test_is_the_log_of_the_filtered_power(self):
        module, sample = BandPower(5, (2, 6), 3).double(), spectra(dtype=torch.float64)
        torch.nn.init.normal_(module.profile)
        signal = torch.complex(sample[:, 0], sample[:, 1]).numpy()
        profile = np.exp(module.profile.detach().numpy())
        profile /= profile.sum()
        filtered = np.einsum("se,befw->bsfw", module.filters.detach().numpy(), signal)
        power = (np.abs(filtered[:, :, 2:6]) ** 2 * profile[:, None]).sum(2)
        np.testing.assert_allclose(module(sample).detach().numpy(), np.log(power + POWER_FLOOR), rtol=1e-10)

    def test_does_not_see_the_phase(self):
        """Turning every electrode's spectrum by a phase of the frequency and window changes nothing."""
        module, sample = BandPower(5, (0, 9), 3).double(), spectra(dtype=torch.float64)
        angle = torch.rand(2, 1, 9, 4, dtype=torch.float64) * 2 * math.pi
        turned = torch.polar(torch.ones_like(angle), angle) * torch.complex(sample[:, 0], sample[:, 1])
        torch.testing.assert_close(module(torch.stack([turned.real, turned.imag], 1)), module(sample))

    def test_sees_its_band_alone(self):
        module, sample = BandPower(5, (2, 6), 3), spectra()
        changed = sample.clone()
        changed[:, :, :, [0, 1, 6, 7, 8]] += 10.0
        torch.testing.assert_close(module(changed), module(sample), rtol=0, atol=0)

    def test_of_silence_is_finite(self):
        assert torch.isfinite(BandPower(5, (0, 3), 3)(torch.zeros(1, 2, 5, 9, 4))).all()

    def test_a_filter_separates_sources_that_the_power_of_electrodes_does_not(self):
        """Two sources of equal electrode power: the filter orthogonal to one of them does not see it."""
        topography = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        module = BandPower(2, (0, 1), 1)
        module.filters.data = topography[1:]
        silent, seen = (module(topography[i].reshape(1, 1, 2, 1, 1).repeat(1, 2, 1, 1, 1)) for i in range(2))
        assert silent.item() == pytest.approx(math.log(POWER_FLOOR), rel=1e-5)
        assert seen.item() > 2


class TestResponse:
    def test_is_the_double_gamma(self):
        times = np.arange(0, 32, 0.5)
        expected = gamma.pdf(times, 6) - gamma.pdf(times, 16) / 6
        found = haemodynamic_response(torch.from_numpy(times))
        np.testing.assert_allclose(found.numpy(), expected / expected.sum(), rtol=1e-9, atol=1e-15)

    def test_nothing_responds_before_its_cause(self):
        response = haemodynamic_response(torch.tensor([-3.0, -1.0, 5.0]))
        assert response.tolist() == [0.0, 0.0, 1.0]

    def test_peaks_at_the_window_five_seconds_before_the_volume(self):
        model = ConditionalMeanModel(sample_size=(5, 9, 16), volume_size=(1, 1, 1), bands=((0, 9),))
        assert (model.response.argmax(1) == 16 - 1 - 2).all()
        ahead = ConditionalMeanModel(sample_size=(5, 9, 16), volume_size=(1, 1, 1), bands=((0, 9),), window_stop=4.0)
        assert (ahead.response.argmax(1) == 16 - 1 - 4).all()


class TestForward:
    def test_starts_at_the_training_mean(self):
        model = ConditionalMeanModel(**TINY)
        assert not model(spectra()).sample.any()

    def test_size_and_shape_of_the_default(self):
        with torch.device("meta"):
            model = ConditionalMeanModel()
            assert model(torch.empty(3, 2, 16, 90, 12)).sample.shape == (3, 1, 16, 32, 32)
        assert f"{model.num_parameters():,} parameters" in ConditionalMeanModel.__doc__

    def test_electrodes_can_change_places_with_their_weights(self):
        model, sample = tiny(), spectra()
        expected = model(sample).sample
        order = torch.tensor([3, 0, 4, 1, 2])
        for band in model.band_powers:
            band.filters.data = band.filters.data[:, order]
        torch.testing.assert_close(model(sample[:, :, order]).sample, expected)

    def test_volumes_are_sums_of_the_maps(self):
        model = tiny()
        volumes = model(spectra(9)).sample.flatten(1)
        solved = torch.linalg.lstsq(model.maps.T, volumes.T).solution
        torch.testing.assert_close(model.maps.T @ solved, volumes.T, atol=1e-4, rtol=1e-4)

    def test_windows_without_a_response_do_not_count(self):
        model, sample = tiny(), spectra()
        model.response.data[:, 1] = 0
        changed = sample.clone()
        changed[..., 1] += 5.0
        torch.testing.assert_close(model(changed).sample, model(sample).sample)

    def test_recordings_of_a_batch_do_not_meet_in_evaluation(self):
        model, sample = tiny(), spectra(3)
        singles = [model(sample[i : i + 1]).sample for i in range(3)]
        torch.testing.assert_close(model(sample).sample, torch.cat(singles))

    def test_training_standardises_and_remembers(self):
        model = tiny().train()
        for _ in range(400):
            model(spectra(64))
        powers = torch.cat([band(spectra(64)) for band in model.band_powers], 1)
        torch.testing.assert_close(model.norm.mean, powers.mean((0, 2)), atol=1e-2, rtol=1e-2)
        expected = model(spectra(64)).sample
        torch.testing.assert_close(model.eval()(spectra(64)).sample, expected, atol=1e-2, rtol=1e-2)

    def test_gradient_reaches_every_parameter(self):
        model = tiny().train()
        model(spectra()).sample.square().mean().backward()
        assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []

    def test_gradient_is_right(self):
        model = tiny().double()
        sample = spectra(1, torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: model(x).sample, sample)

    def test_tuple_and_output_agree(self):
        output, (volumes, _) = tiny()(spectra()), tiny()(spectra(), return_dict=False)
        assert isinstance(output, ConditionalMeanOutput)
        torch.testing.assert_close(output.sample, volumes)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_other_precisions(self, dtype):
        exact = tiny()(spectra()).sample
        volumes = tiny().to(dtype)(spectra(dtype=dtype)).sample
        assert volumes.dtype == dtype
        tolerance = 1e-4 if dtype == torch.float64 else 0.2
        torch.testing.assert_close(volumes.float(), exact, atol=tolerance, rtol=tolerance)

    def test_compiles_into_one_graph(self):
        model = tiny()
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(spectra())[0], model(spectra())[0])

    @pytest.mark.parametrize(
        ("sample", "axis"),
        [
            (torch.zeros(1, 1, 5, 9, 4), "channel"),
            (torch.zeros(1, 2, 6, 9, 4), "electrode"),
            (torch.zeros(1, 2, 5, 8, 4), "frequency"),
            (torch.zeros(1, 2, 5, 9, 3), "window"),
            (torch.zeros(2, 5, 9, 4), "axes"),
            (torch.zeros(1, 2, 5, 9, 4, dtype=torch.float64), "float64"),
            (np.zeros((1, 2, 5, 9, 4)), "ndarray"),
        ],
    )
    def test_wrong_spectra_are_refused(self, sample, axis):
        with pytest.raises(InputError, match=axis):
            tiny()(sample)


class TestCheckpoint:
    def test_comes_back_whole(self, tmp_path):
        model = tiny()
        model.save_pretrained(tmp_path)
        loaded = ConditionalMeanModel.from_pretrained(tmp_path)
        torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
        assert not loaded.training
        torch.testing.assert_close(loaded(spectra()).sample, model(spectra()).sample, rtol=0, atol=0)

    def test_another_shape_is_refused(self, tmp_path):
        tiny().save_pretrained(tmp_path)
        with pytest.raises(CheckpointError):
            ConditionalMeanModel.from_pretrained(tmp_path, num_components=5)


IMPOSSIBLE = {
    "sample_size": ((5, 9), (5, 9, 0), (5, 9, 10**9), "abc", 5, (5, 9, 4.0)),
    "volume_size": ((2, 3), (0, 3, 4), None, (10**4, 10**4, 10**4)),
    "bands": ((), ((0, 10),), ((3, 3),), ((4, 2),), ((-1, 2),), ((0, 1, 2),), 3, (1, 2), ((0, 1),) * 65),
    "num_filters": (0, 10**6, 1.0, None),
    "hidden_channels": (0, "4", 10**6),
    "num_components": (0, True, 10**6),
    "window_duration": (0, -1.0, float("nan"), float("inf"), "2", None, True),
    "window_stop": (8.0, float("nan"), None, 10**9),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in IMPOSSIBLE.items() for v in values])
def test_impossible_configuration_is_refused(name, value):
    with pytest.raises(InputError):
        tiny(**{name: value})


anything = st.one_of(
    st.none(),
    st.integers(-3, 20),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.one_of(st.integers(-1, 16), st.floats(), st.lists(st.integers(-1, 10), max_size=3)), max_size=5),
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(IMPOSSIBLE)), anything, max_size=3))
def test_any_configuration_builds_or_is_refused(changes):
    with torch.device("meta"):
        try:
            model = ConditionalMeanModel(**{**TINY, **changes})
        except InputError:
            return
        config = model.config
        volumes = model(torch.empty(2, 2, *config.sample_size)).sample
    assert volumes.shape == (2, 1, *config.volume_size)
