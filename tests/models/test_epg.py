"""EPG: the paper's shapes, MHRSA's closed forms, and diffusers' habits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eeg2fmri.errors import InputError
from eeg2fmri.models.epg import EPGModel, EPGOutput, MultiHeadRecursiveSpectralAttention, recur

TINY = {
    "in_channels": 2,
    "sample_size": (5, 9, 4),
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "num_spectral_attention_heads": 2,
    "cross_attention_dim": 12,
    "norm_num_groups": 4,
}
VARIANTS = {
    "epg": {},
    "positions": {"position_embeddings": True},
    "stem": {"stem_stride": (2, 2, 1), "attention_head_dim": 8},
    "linear": {"encoder": "linear"},
    "linear_positions": {"encoder": "linear", "position_embeddings": True},
}


def tiny(**changes) -> EPGModel:
    torch.manual_seed(0)
    return EPGModel(**{**TINY, **changes})


def spectra(batch: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(batch, 2, 5, 9, 4, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.fixture(params=VARIANTS)
def model(request) -> EPGModel:
    return tiny(**VARIANTS[request.param])


class TestPaper:
    def test_size_and_shapes(self):
        with torch.device("meta"):
            model = EPGModel()
            output = model(torch.empty(2, 1, 64, 134, 10), return_fusion_weights=True)
        assert output.encoder_hidden_states.shape == (2, 1632, 128)
        assert [tuple(w.shape) for w in output.fusion_weights] == [
            (2, 32, 64, 134, 10),
            (2, 64, 32, 67, 5),
            (2, 128, 16, 34, 3),
        ]
        assert model.token_grid == (16, 34, 3)
        assert f"{model.num_parameters():,} parameters" in EPGModel.__doc__

    def test_sizes_that_do_not_divide_by_two(self):
        model = EPGModel(sample_size=(16, 22, 10), block_out_channels=(16, 32))
        assert model(torch.randn(1, 1, 16, 22, 10)).encoder_hidden_states.shape == (1, 8 * 11 * 5, 128)

    def test_stride_of_the_stem(self):
        model = tiny(stem_stride=2)
        assert model.token_grid == (2, 3, 1)
        assert model(spectra()).encoder_hidden_states.shape == (2, 6, 12)

    def test_linear_ablation_is_one_linear_layer_per_electrode(self):
        model, sample = tiny(encoder="linear"), spectra()
        tokens = model(sample).encoder_hidden_states
        assert tokens.shape == (2, 5, 12)
        for electrode in range(5):
            torch.testing.assert_close(tokens[:, electrode], model.projection(sample[:, :, electrode].flatten(1)))


class TestRecursion:
    """O_i = (1 - W_i) Z_i + W_i O_{i-1}, the window axis first."""

    def test_agrees_with_the_written_loop(self):
        rng = np.random.default_rng(0)
        z, logits = rng.normal(size=(6, 3, 4)), rng.normal(size=(6, 3, 4))
        w = 1 / (1 + np.exp(-logits))
        for reverse in (False, True):
            state, expected = np.zeros((3, 4)), np.empty_like(z)
            for i in reversed(range(6)) if reverse else range(6):
                state = (1 - w[i]) * z[i] + w[i] * state
                expected[i] = state
            found = recur(torch.from_numpy(z), torch.from_numpy(logits), reverse).numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-12)

    @pytest.mark.parametrize("reverse", [False, True])
    def test_zero_weights_give_the_candidates_and_full_weights_nothing(self, reverse):
        z = torch.randn(5, 2)
        torch.testing.assert_close(recur(z, torch.full_like(z, -200.0), reverse), z)
        torch.testing.assert_close(recur(z, torch.full_like(z, 200.0), reverse), torch.zeros_like(z))

    def test_full_weights_hold_the_first_candidate(self):
        z = torch.randn(5, 2)
        logits = torch.full_like(z, 200.0)
        logits[0] = -200.0
        torch.testing.assert_close(recur(z, logits), z[:1].expand(5, 2))

    def test_saturated_weights_lose_no_digits(self):
        """1 - W computed as a difference would be zero here."""
        z, logits = torch.ones(1, 1), torch.full((1, 1), 30.0)
        torch.testing.assert_close(recur(z, logits), torch.full((1, 1), 9.357623e-14), rtol=1e-5, atol=0)

    def test_gradient(self):
        z, logits = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
        assert torch.autograd.gradcheck(recur, (z, logits))
        assert torch.autograd.gradcheck(lambda a, b: recur(a, b, reverse=True), (z, logits))

    def test_first_half_looks_back_second_half_ahead(self):
        torch.manual_seed(0)
        module = MultiHeadRecursiveSpectralAttention(8, 2).double()
        sample = torch.randn(1, 8, 3, 4, 6, dtype=torch.float64)
        changed = sample.clone()
        changed[..., 3] += 1.0
        moved = (module(changed)[0] - module(sample)[0]).abs().amax((0, 2, 3))
        assert (moved[:4, :3] == 0).all()
        assert (moved[:4, 3:] > 0).all()
        assert (moved[4:, :4] > 0).all()
        assert (moved[4:, 4:] == 0).all()

    def test_heads_do_not_mix(self):
        module = MultiHeadRecursiveSpectralAttention(8, 4).double()
        sample = torch.randn(1, 8, 2, 2, 3, dtype=torch.float64)
        changed = sample.clone()
        changed[:, 2] += 1.0
        moved = (module(changed)[0] - module(sample)[0]).abs().amax((0, 2, 3, 4))
        assert (moved[[2, 3]] > 0).all()
        assert (moved[[0, 1, 4, 5, 6, 7]] == 0).all()

    def test_bfloat16_recursion_runs_in_float32(self):
        module = MultiHeadRecursiveSpectralAttention(8, 2).bfloat16()
        gathered, logits = module(torch.randn(1, 8, 2, 2, 3, dtype=torch.bfloat16))
        assert gathered.dtype == torch.bfloat16
        assert logits.dtype == torch.float32


class TestForward:
    def test_gradient_reaches_every_parameter(self, model):
        model(spectra()).encoder_hidden_states.square().mean().backward()
        assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []

    def test_recordings_of_a_batch_do_not_meet(self, model):
        sample = spectra(3)
        with torch.no_grad():
            singles = [model(sample[i : i + 1]).encoder_hidden_states for i in range(3)]
            torch.testing.assert_close(model(sample).encoder_hidden_states, torch.cat(singles), atol=1e-5, rtol=1e-5)

    def test_overall_level_of_the_eeg_reaches_the_tokens(self, model):
        with torch.no_grad():
            quiet, loud = (model(spectra() * level).encoder_hidden_states for level in (1.0, 100.0))
        assert loud.std() > 5 * quiet.std()

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_other_precisions(self, model, dtype):
        with torch.no_grad():
            exact = model(spectra()).encoder_hidden_states
            tokens = model.to(dtype)(spectra(dtype=dtype)).encoder_hidden_states
        assert tokens.dtype == dtype
        tolerance = 1e-4 if dtype == torch.float64 else 0.1
        torch.testing.assert_close(tokens.float(), exact, atol=tolerance, rtol=tolerance)

    def test_autocast(self, model):
        with torch.autocast("cpu", torch.bfloat16):
            tokens = model(spectra()).encoder_hidden_states
        assert tokens.dtype == torch.bfloat16

    def test_tuple_and_output_agree(self, model):
        output, (tokens,) = model(spectra()), model(spectra(), return_dict=False)
        assert isinstance(output, EPGOutput)
        torch.testing.assert_close(output.encoder_hidden_states, tokens)

    def test_fusion_weights_are_the_sigmoid_of_the_second_mlp(self):
        model, sample = tiny(), spectra()
        tokens, weights = model(sample, return_fusion_weights=True, return_dict=False)
        torch.testing.assert_close(tokens, model(sample).encoder_hidden_states)
        hidden_states = model.stages[0].resnets[0](model.stem(sample))
        expected = torch.sigmoid(model.stages[0].attention.fusion(hidden_states))
        torch.testing.assert_close(weights[0], expected)
        assert all(w.min() >= 0 and w.max() <= 1 for w in weights)

    def test_a_linear_encoder_has_no_fusion_weights(self):
        with pytest.raises(InputError, match="return_fusion_weights"):
            tiny(encoder="linear")(spectra(), return_fusion_weights=True)

    def test_positions_tell_equal_tokens_apart(self):
        flat = torch.ones(1, 2, 5, 9, 4)
        assert tiny(encoder="linear")(flat).encoder_hidden_states.std(1).max() < 1e-5
        placed = tiny(encoder="linear", position_embeddings=True)
        assert placed(flat).encoder_hidden_states.std(1).max() > 1e-3


class TestDiffusers:
    def test_gradient_checkpointing_runs_and_changes_nothing(self):
        gradients = {}
        for checkpointing in (False, True):
            model, calls = tiny(), []
            if checkpointing:
                model.enable_gradient_checkpointing()
                checkpoint = model._gradient_checkpointing_func
                model._gradient_checkpointing_func = lambda *a, f=checkpoint, c=calls: c.append(a) or f(*a)
            model(spectra()).encoder_hidden_states.square().sum().backward()
            gradients[checkpointing] = [p.grad for p in model.parameters()]
            assert len(calls) == (3 if checkpointing else 0)
        torch.testing.assert_close(gradients[True], gradients[False])

    @pytest.mark.parametrize("model", ["positions", "linear"], indirect=True)
    def test_compiles_into_one_graph(self, model):
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(spectra())[0], model(spectra())[0])

    def test_channels_last(self, model):
        expected = model(spectra()).encoder_hidden_states
        for parameter in model.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
        tokens = model(spectra().to(memory_format=torch.channels_last_3d)).encoder_hidden_states
        torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)

    def test_attention_processors(self):
        assert list(tiny().attn_processors) == ["self_attention.attention.processor"]


IMPOSSIBLE = {
    "in_channels": (0, -1, "1", float("nan"), None, 10**9),
    "sample_size": ((5, 9), (5, 9, 0), (5, 9, 10**9), "abc", 5, (5, 9, 4.0)),
    "block_out_channels": ((), (7,), (8, 0), (10**6,), (8,) * 9, (8192,) * 8, "8", (10, 16)),
    "layers_per_block": (0, 1.0, 10**6),
    "num_spectral_attention_heads": (0, 3, "2"),
    "attention_head_dim": (0, 3, -8, 1.5),
    "cross_attention_dim": (0, None, 10**6),
    "norm_num_groups": (0, 3, 16),
    "position_embeddings": ("yes", 1, None),
    "stem_stride": (0, (1, 1), (1, 1, 0), "2", 100),
    "encoder": ("none", None, 1, ["epg"]),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in IMPOSSIBLE.items() for v in values])
def test_impossible_configuration_is_refused(name, value):
    with pytest.raises(InputError):
        tiny(**{name: value})


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.sampled_from([10**6, 2**63, -(10**30)]),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.one_of(st.integers(-1, 16), st.floats(), st.just(10**9)), max_size=10),
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(IMPOSSIBLE)), anything, max_size=3))
def test_any_configuration_builds_or_is_refused(changes):
    with torch.device("meta"):
        try:
            model = tiny(**changes)
        except InputError:
            return
        config = model.config
        output = model(torch.empty(2, config.in_channels, *config.sample_size))
    assert output.encoder_hidden_states.shape[2] == config.cross_attention_dim
