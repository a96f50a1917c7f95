"""FD-UNet: the paper's shapes, CIIM's closed forms, and diffusers' habits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eeg2fmri.errors import InputError
from eeg2fmri.models.fd_unet import CrossModalInteraction, FDUNetModel, FDUNetOutput

TINY = {
    "sample_size": (4, 8, 4),
    "in_channels": 2,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "cross_attention_dim": 12,
    "norm_num_groups": 4,
    "interaction_levels": (0, 1),
}
VARIANTS = {
    "ciim": {},
    "heads": {"attention_head_dim": 4, "layers_per_block": 2},
    "lowest": {"interaction_levels": (1,), "block_out_channels": (8, 16, 32), "norm_num_groups": 2},
    "single": {"interaction_levels": (0,), "block_out_channels": (8,)},
    "direct": {"conditioning": "direct"},
}


def tiny(**changes) -> FDUNetModel:
    torch.manual_seed(0)
    return FDUNetModel(**{**TINY, **changes})


def inputs(batch: int = 2, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(batch, 2, 4, 8, 4, generator=generator).to(dtype)
    tokens = torch.randn(batch, 7, 12, generator=generator).to(dtype)
    return sample, torch.arange(batch) * 100 + 3, tokens


@pytest.fixture(params=VARIANTS)
def model(request) -> FDUNetModel:
    return tiny(**VARIANTS[request.param])


class TestPaper:
    def test_size_and_printed_shapes(self):
        with torch.device("meta"):
            model = FDUNetModel()
            shapes = {}
            for name, module in model.named_modules():
                if name.endswith((".to_q", ".to_k", ".to_v")):
                    module.register_forward_hook(lambda _m, _i, out, n=name: shapes.update({n: tuple(out.shape)}))
            output = model(torch.empty(2, 1, 32, 64, 64), 5, torch.empty(2, 1632, 128))
        assert output.sample.shape == (2, 1, 32, 64, 64)
        for place in ("encoder.2", "decoder.2"):
            assert shapes[f"{place}.interaction.attention.to_q"] == (2, 2048, 128)
            assert shapes[f"{place}.interaction.attention.to_k"] == (2, 1632, 128)
            assert shapes[f"{place}.interaction.attention.to_v"] == (2, 1632, 128)
        for place in ("encoder.3", "bottleneck"):
            assert shapes[f"{place}.interaction.attention.to_q"] == (2, 256, 256)
            assert shapes[f"{place}.interaction.attention.to_k"] == (2, 1632, 256)
        assert len(shapes) == 4 * 3
        assert f"{model.num_parameters():,} parameters" in FDUNetModel.__doc__


class TestInteraction:
    def setup_method(self):
        torch.manual_seed(0)
        self.ciim = CrossModalInteraction(8, 6, None)
        self.features, self.tokens = torch.randn(2, 8, 3, 2, 4), torch.randn(2, 5, 6)

    def fused(self) -> torch.Tensor:
        swapped = torch.empty_like(self.features)
        for channel in range(4):
            swapped[:, channel] = torch.tanh(self.features[:, channel]) * torch.sigmoid(self.features[:, channel + 4])
            swapped[:, channel + 4] = torch.tanh(self.features[:, channel + 4]) * torch.sigmoid(
                self.features[:, channel]
            )
        return self.features + self.ciim.fuse(swapped)

    def test_without_attention_it_is_the_fusion_of_swapped_halves(self):
        for parameter in self.ciim.attention.to_out.parameters():
            torch.nn.init.zeros_(parameter)
        torch.testing.assert_close(self.ciim(self.features, self.tokens)[0], self.fused())

    def test_every_position_asks_the_tokens_by_itself(self):
        output, _ = self.ciim(self.features, self.tokens)
        position = self.fused()[:, :, 1, 0, 3]
        answer, _ = self.ciim.attention(position[:, None], self.tokens)
        torch.testing.assert_close(output[:, :, 1, 0, 3], position + answer[:, 0])


class TestForward:
    def test_gradient_reaches_every_parameter(self, model):
        model(*inputs()).sample.square().mean().backward()
        assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []

    def test_volumes_of_a_batch_do_not_meet(self, model):
        sample, timestep, tokens = inputs(3)
        with torch.no_grad():
            singles = [model(sample[i : i + 1], timestep[i], tokens[i : i + 1]).sample for i in range(3)]
            together = model(sample, timestep, tokens).sample
        torch.testing.assert_close(together, torch.cat(singles), atol=1e-5, rtol=1e-5)

    def test_eeg_time_and_conditions_change_the_prediction(self, model):
        sample, timestep, tokens = inputs()
        with torch.no_grad():
            prediction = model(sample, timestep, tokens).sample
            others = (
                model(sample, timestep, tokens.roll(1, 0)).sample,
                model(sample, timestep, tokens * 2).sample,
                model(sample, timestep + 1, tokens).sample,
                model(sample.flip(1), timestep, tokens).sample,
            )
        for other in others:
            assert (other - prediction).abs().amax((1, 2, 3, 4)).min() > 1e-5

    def test_order_of_tokens_does_not_matter(self, model):
        sample, timestep, tokens = inputs()
        shuffled = tokens[:, torch.randperm(7, generator=torch.Generator().manual_seed(2))]
        torch.testing.assert_close(model(sample, timestep, shuffled).sample, model(sample, timestep, tokens).sample)

    def test_forms_of_the_time_step_agree(self, model):
        sample, _, tokens = inputs()
        expected = model(sample, torch.tensor([7, 7]), tokens).sample
        for timestep in (7, 7.0, torch.tensor(7), torch.tensor([7]), torch.tensor(7.0, dtype=torch.float64)):
            torch.testing.assert_close(model(sample, timestep, tokens).sample, expected)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_other_precisions(self, model, dtype):
        with torch.no_grad():
            exact = model(*inputs()).sample
            prediction = model.to(dtype)(*inputs(dtype=dtype)).sample
        assert prediction.dtype == dtype
        tolerance = 1e-4 if dtype == torch.float64 else 0.1
        torch.testing.assert_close(prediction.float(), exact, atol=tolerance, rtol=tolerance)

    def test_autocast(self, model):
        with torch.autocast("cpu", torch.bfloat16):
            prediction = model(*inputs()).sample
        assert prediction.dtype == torch.bfloat16

    def test_tuple_and_output_agree(self, model):
        output, (prediction,) = model(*inputs()), model(*inputs(), return_dict=False)
        assert isinstance(output, FDUNetOutput)
        assert output.attentions is None
        torch.testing.assert_close(output.sample, prediction)

    def test_attention_maps(self):
        model = tiny(attention_head_dim=4)
        prediction, attentions = model(*inputs(), return_attention=True, return_dict=False)
        torch.testing.assert_close(prediction, model(*inputs()).sample)
        shapes = {name: tuple(weights.shape) for name, weights in attentions.items()}
        assert shapes == {
            "encoder.0": (2, 2, 128, 7),
            "encoder.1": (2, 4, 16, 7),
            "bottleneck": (2, 4, 16, 7),
            "decoder.0": (2, 2, 128, 7),
        }
        for weights in attentions.values():
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))

    def test_direct_conditioning_has_no_attention_maps(self):
        with pytest.raises(InputError, match="return_attention"):
            tiny(conditioning="direct")(*inputs(), return_attention=True)

    def test_direct_conditioning_sees_the_mean_token_only(self):
        model = tiny(conditioning="direct")
        sample, timestep, tokens = inputs()
        prediction = model(sample, timestep, tokens.mean(1, keepdim=True)).sample
        torch.testing.assert_close(prediction, model(sample, timestep, tokens).sample)


class TestDiffusers:
    @pytest.mark.parametrize("conditioning", ["ciim", "direct"])
    def test_gradient_checkpointing_runs_and_changes_nothing(self, conditioning):
        gradients = {}
        for checkpointing in (False, True):
            model, calls = tiny(conditioning=conditioning), []
            if checkpointing:
                model.enable_gradient_checkpointing()
                checkpoint = model._gradient_checkpointing_func
                model._gradient_checkpointing_func = lambda *a, f=checkpoint, c=calls: c.append(a) or f(*a)
            model(*inputs()).sample.square().sum().backward()
            gradients[checkpointing] = [p.grad for p in model.parameters()]
            assert len(calls) == (4 if checkpointing else 0)
        torch.testing.assert_close(gradients[True], gradients[False])

    @pytest.mark.parametrize("model", ["ciim", "direct"], indirect=True)
    def test_compiles_into_one_graph(self, model):
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(*inputs())[0], model(*inputs())[0])

    def test_attention_maps_compile(self):
        model = tiny()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        expected = model(*inputs(), return_attention=True)
        torch.testing.assert_close(compiled(*inputs(), return_attention=True).attentions, expected.attentions)

    def test_channels_last(self, model):
        sample, timestep, tokens = inputs()
        expected = model(sample, timestep, tokens).sample
        for parameter in model.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
        prediction = model(sample.to(memory_format=torch.channels_last_3d), timestep, tokens).sample
        torch.testing.assert_close(prediction, expected, atol=1e-5, rtol=1e-5)

    def test_layerwise_casting(self):
        model = tiny()
        expected = model(*inputs()).sample
        model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
        prediction = model(*inputs()).sample
        assert model.encoder[0].resnets[0].block_1.conv.weight.dtype == torch.float8_e4m3fn
        torch.testing.assert_close(prediction, expected, atol=0.3, rtol=0.3)

    def test_attention_processors(self):
        names = [f"{place}.interaction.attention.processor" for place in ("encoder.0", "encoder.1", "bottleneck")]
        assert list(tiny().attn_processors) == [*names, "decoder.0.interaction.attention.processor"]

    def test_lora(self, tmp_path):
        peft = pytest.importorskip("peft")
        model = tiny()
        base = model(*inputs()).sample.detach()
        model.requires_grad_(False)
        model.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out"]))
        trained = [p for p in model.parameters() if p.requires_grad]
        assert len(trained) == 4 * 4 * 2
        optimizer = torch.optim.SGD(trained, lr=1.0)
        for _ in range(2):
            optimizer.zero_grad()
            model(*inputs()).sample.square().mean().backward()
            optimizer.step()
        adapted = model(*inputs()).sample.detach()
        assert (adapted - base).abs().max() > 1e-4
        model.save_lora_adapter(tmp_path)

        other = tiny()
        other.load_lora_adapter(tmp_path)
        torch.testing.assert_close(other(*inputs()).sample, adapted)
        other.disable_adapters()
        torch.testing.assert_close(other(*inputs()).sample, base)

    @pytest.mark.parametrize("option", [{"weight_name": "lora.bin"}, {"use_safetensors": False}])
    def test_lora_in_a_pickle_is_refused(self, tmp_path, option):
        with pytest.raises(InputError, match="safetensors"):
            tiny().load_lora_adapter(tmp_path, **option)


IMPOSSIBLE = {
    "sample_size": ((4, 8), (4, 8, 0), (4, 8, 5), (4, 8, 10**9), "abc", 4, (4.0, 8, 4)),
    "in_channels": (0, -1, "1", float("nan"), None, 10**9, True),
    "out_channels": (0, 1.0),
    "block_out_channels": ((), (8, 0), (8, 10), (10**6, 8), (8,) * 9, (8192, 8192), "88"),
    "layers_per_block": (0, 1.0, 10**6),
    "cross_attention_dim": (0, None, 10**6),
    "norm_num_groups": (0, 3, 16),
    "interaction_levels": ((), (2,), (-1,), 1, (0, 1, 1), "0"),
    "attention_head_dim": (0, 3, -8, 1.5),
    "conditioning": ("none", None, 1, ["ciim"]),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in IMPOSSIBLE.items() for v in values])
def test_impossible_configuration_is_refused(name, value):
    with pytest.raises(InputError):
        tiny(**{name: value})


def test_a_group_of_one_value_is_refused():
    with pytest.raises(InputError, match="norm_num_groups"):
        tiny(sample_size=(2, 2, 2), norm_num_groups=16, block_out_channels=(16, 16))


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
        sample = torch.empty(2, config.in_channels, *config.sample_size)
        prediction = model(sample, 1, torch.empty(2, 3, config.cross_attention_dim)).sample
    assert prediction.shape == (2, config.out_channels, *config.sample_size)
