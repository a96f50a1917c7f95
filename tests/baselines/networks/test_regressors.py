"""CNN+, TAG, BIOT and E2fGAN's generator: what every one-pass network promises, and each one's own formula."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import tiny
from eeg2fmri import BIOTModel, CNNPlusModel, E2fGANModel, TAGModel
from eeg2fmri.baselines.networks.biot import LinearAttention, window_positions
from eeg2fmri.baselines.networks.e2fgan import E2fGANDiscriminator, resized
from eeg2fmri.baselines.networks.tag import TAGVolumeEncoder, TopographicalAttention
from eeg2fmri.errors import CheckpointError, InputError
from tiny_networks import OPTIONS, WINDOW, network, windows

KINDS = list(OPTIONS)
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "baselines.md"


@pytest.mark.parametrize("kind", KINDS)
class TestEvery:
    @pytest.mark.parametrize("in_channels", [1, 2])
    def test_windows_become_volumes(self, kind, in_channels):
        model = network(kind, in_channels=in_channels)
        volumes = model(windows(3, in_channels)).sample
        assert volumes.shape == (3, *model.output_shape) == (3, 1, *tiny.SAMPLE)
        assert model.window_shape == (in_channels, *WINDOW)
        assert torch.isfinite(volumes).all()

    def test_size_and_shape_at_the_papers(self, kind):
        with torch.device("meta"):
            model = kind()
            assert model(torch.empty(2, 1, 64, 134, 10)).sample.shape == (2, 1, 32, 64, 64)
        assert f"{model.num_parameters():,} parameters" in kind.__doc__
        assert f"{model.num_parameters():,} |" in DOCUMENT.read_text()

    def test_every_weight_learns(self, kind):
        model = network(kind).train()
        model(windows()).sample.square().mean().backward()
        still = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert not still

    def test_a_volume_does_not_depend_on_what_shares_its_batch(self, kind):
        model = network(kind)
        torch.testing.assert_close(model(windows()).sample[:1], model(windows()[:1]).sample, rtol=1e-4, atol=1e-5)

    def test_the_power_of_the_eeg_is_not_normalised_away(self, kind):
        """Louder EEG is other BOLD, though its pattern is the same."""
        model = network(kind)
        quiet, loud = model(windows()).sample, model(2 * windows()).sample
        assert (quiet - loud).abs().mean() > 0.01 * quiet.std()

    def test_a_checkpoint_comes_back_whole_and_a_damaged_one_is_refused(self, kind, tmp_path):
        model = network(kind)
        model.save_pretrained(tmp_path)
        loaded = kind.from_pretrained(tmp_path)
        assert torch.equal(model(windows()).sample, loaded(windows()).sample)
        path = tmp_path / "diffusion_pytorch_model.safetensors"
        damaged = bytearray(path.read_bytes())
        damaged[-3] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            kind.from_pretrained(tmp_path)

    def test_checkpointed_gradients_are_the_same(self, kind):
        plain, checkpointed = network(kind).train(), network(kind).train()
        checkpointed.enable_gradient_checkpointing()
        for model in (plain, checkpointed):
            model(windows()).sample.square().mean().backward()
        for one, other in zip(plain.parameters(), checkpointed.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)

    def test_windows_of_other_sizes_are_refused(self, kind):
        with pytest.raises(InputError, match="along axis 'electrode'"):
            network(kind)(windows()[:, :, 1:])
        with pytest.raises(InputError, match=r"dtype torch\.float64"):
            network(kind)(windows().double())

    @pytest.mark.parametrize(
        "change", [{"volume_size": (8, 8)}, {"in_channels": 0}, {"norm_num_groups": 3}, {"block_out_channels": ()}]
    )
    def test_impossible_configurations_are_refused(self, kind, change):
        with pytest.raises(InputError, match=next(iter(change))[:6]):
            network(kind, **change)


def test_too_large_a_network_is_refused():
    huge = {"volume_size": (4096, 4096, 4096)}
    for kind in (CNNPlusModel, TAGModel, BIOTModel):
        with pytest.raises(InputError, match="parameters"):
            network(kind, **huge)
    with pytest.raises(InputError, match="parameters"):
        network(E2fGANModel, block_out_channels=(4, 4, 8192))


class TestCNNPlus:
    def test_the_response_weighs_the_windows(self):
        """With a response in one window alone, the others change nothing."""
        model = network(CNNPlusModel)
        with torch.no_grad():
            model.response[:, 1:] = 0
        changed = windows()
        changed[..., 1:] += 1
        assert torch.equal(model(changed).sample, model(windows()).sample)
        changed[..., 0] += 1
        assert not torch.allclose(model(changed).sample, model(windows()).sample)


class TestTAG:
    def test_the_attention_is_its_formula(self):
        module, features = TopographicalAttention(3, 5).double(), torch.randn(2, 3, 5, dtype=torch.float64)
        mixed, graph = module(features)
        for b in range(2):
            scores = torch.stack(
                [torch.stack([features[b, i] @ module.weight[j] for j in range(3)]) for i in range(3)]
            )
            torch.testing.assert_close(graph[b], scores.exp() / scores.exp().sum(1, keepdim=True))
            torch.testing.assert_close(mixed[b], graph[b] @ features[b])

    def test_electrodes_can_change_places_with_their_weights_in_the_attention(self):
        module, features = TopographicalAttention(4, 5), torch.randn(2, 4, 5)
        order = torch.tensor([2, 0, 3, 1])
        mixed, graph = module(features)
        module.weight.data = module.weight.data[order]
        mixed_again, graph_again = module(features[:, order])
        torch.testing.assert_close(mixed_again, mixed[:, order])
        torch.testing.assert_close(graph_again, graph[:, order][:, :, order])

    def test_fourier_features_know_no_whole_turns(self):
        model = network(TAGModel)
        code, graph = model.encode(windows())
        before = model.decode(code, graph)
        model.phases.data += 2 * math.pi
        torch.testing.assert_close(model.decode(code, graph), before, rtol=1e-3, atol=1e-5)

    def test_its_partner_makes_codes_of_the_same_length(self):
        model = network(TAGModel)
        partner = TAGVolumeEncoder(volume_size=tiny.SAMPLE, block_out_channels=(8,), norm_num_groups=4, latent_size=6)
        assert partner(model(windows()).sample).shape == model.encode(windows())[0].shape == (3, 6)


class TestBIOT:
    def test_linear_attention_is_its_formula(self):
        module, tokens = LinearAttention(6, 2).double(), torch.randn(1, 5, 6, dtype=torch.float64)
        query, key, value = module.to_qkv(tokens)[0].chunk(3, 1)
        heads = []
        for part in (slice(0, 3), slice(3, 6)):
            q, k, v = query[:, part], key[:, part], value[:, part]
            weights = (q.softmax(1) / math.sqrt(3)) @ k.softmax(0).T  # the map of all pairs that is never made
            heads.append(weights @ v)
        torch.testing.assert_close(module(tokens)[0], module.to_out(torch.cat(heads, 1)))

    def test_positions_are_sinusoids_of_the_window(self):
        positions = window_positions(5, 8, torch.zeros(1))
        angles = torch.arange(5.0)[:, None] / 10_000 ** (torch.arange(0, 8, 2) / 8)
        torch.testing.assert_close(positions[:, 0::2], angles.sin())
        torch.testing.assert_close(positions[:, 1::2], angles.cos())

    def test_electrodes_are_a_sentence_without_order(self):
        """They can change places, if their embeddings come along."""
        model = network(BIOTModel)
        before = model(windows()).sample
        order = torch.randperm(WINDOW[0], generator=torch.Generator().manual_seed(0))
        model.channel_embedding.data = model.channel_embedding.data[order]
        torch.testing.assert_close(model(windows()[:, :, order]).sample, before, rtol=1e-4, atol=1e-5)


class TestE2fGAN:
    @pytest.mark.parametrize("size", [(8, 8), (5, 9), (3, 2)])
    def test_maps_are_resized_as_torch_does(self, size):
        maps = torch.randn(2, 3, 7, 4)
        torch.testing.assert_close(
            resized(maps, size), F.interpolate(maps, size, mode="bicubic"), rtol=1e-4, atol=1e-5
        )

    def test_its_statistics_come_from_training(self):
        model = network(E2fGANModel)
        before = model(windows()).sample
        model.train()(windows())
        assert not torch.allclose(model.eval()(windows()).sample, before)

    def test_the_discriminator_gives_a_score_a_volume(self):
        discriminator = E2fGANDiscriminator(volume_size=tiny.SAMPLE, block_out_channels=(8, 8), norm_num_groups=4)
        volumes = torch.randn(3, 1, *tiny.SAMPLE)
        scores = discriminator(volumes)
        assert scores.shape == (3,)
        torch.testing.assert_close(discriminator(volumes[1:2]), scores[1:2])
        with torch.device("meta"):
            assert E2fGANDiscriminator()(torch.empty(2, 1, 32, 64, 64)).shape == (2,)
        with pytest.raises(InputError, match="volume_size"):
            E2fGANDiscriminator(volume_size=(8, 12, 12), block_out_channels=(8, 8, 8))
