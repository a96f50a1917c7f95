"""The benchmarks measure what they say; how long anything takes is not tested."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tiny
from benchmarks import flops, generation, loader, measuring, peers, training
from eeg2fmri import EPGModel, FDUNetModel, PairedDataset
from eeg2fmri.errors import InputError

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "benchmark.py"


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    encoder = EPGModel(sample_size=(4, 6, 4), block_out_channels=(8, 8), cross_attention_dim=16, norm_num_groups=4)
    unet = FDUNetModel(
        sample_size=(4, 8, 8),
        block_out_channels=(16, 32),
        cross_attention_dim=16,
        norm_num_groups=4,
        interaction_levels=(1,),
    )
    return encoder, unet


def test_the_script_lists_its_subjects():
    result = subprocess.run([sys.executable, str(SCRIPT), "--help"], check=True, capture_output=True, text=True)
    assert all(name in result.stdout for name in ("generation", "command", "training", "loader", "flops"))


class TestFlops:
    def test_of_a_convolution_and_its_backward_pass(self):
        """Each output is 27 x 3 products and sums; the weights' gradient costs the same, the input needs none."""
        with torch.device("meta"):
            network = torch.nn.Conv3d(3, 5, 3, padding=1)
            sample = torch.empty(1, 3, 4, 6, 8)
        cost = flops.count(network, lambda: network(sample))
        assert cost.forward == 2 * 27 * 3 * 5 * 4 * 6 * 8
        assert cost.training == 2 * cost.forward
        assert cost.parameters == 27 * 3 * 5 + 5
        assert cost.saved_bytes == 4 * 3 * 4 * 6 * 8

    def test_of_attention(self):
        with torch.device("meta"):
            network = torch.nn.Linear(8, 8, bias=False)
            queries, tokens = torch.empty(1, 1, 5, 8), torch.empty(1, 1, 7, 8)
        cost = flops.count(
            network, lambda: torch.nn.functional.scaled_dot_product_attention(network(queries), tokens, tokens)
        )
        assert cost.forward == 2 * (5 * 8 * 8 + 2 * 5 * 7 * 8)

    def test_the_papers_networks(self):
        encoder, denoiser, both = flops.network_costs(*flops.meta_networks("paper"))
        assert (encoder.parameters, denoiser.parameters) == (1_544_960, 10_350_337)
        assert both.training == encoder.training + denoiser.training
        assert 2.9 < both.training / both.forward <= 3.01
        assert flops.pairs_per_second(both.training, 100, 0.5) == pytest.approx(50e12 / both.training)

    def test_an_embedded_pipeline_is_read_without_its_weights(self):
        encoder, unet = flops.meta_networks("eeg2fmri-sim-small")
        assert {parameter.device.type for parameter in (*encoder.parameters(), *unet.parameters())} == {"meta"}


class TestTraining:
    def test_a_step_cut_in_two_has_the_gradients_of_a_whole_one(self, networks):
        encoder, unet = networks
        step = training.TrainingStep(encoder, unet, peers.predict_ours, unet.config.sample_size)
        step.optimizer = torch.optim.SGD([*encoder.parameters(), *unet.parameters()], lr=1.0)
        before = [parameter.detach().clone() for parameter in encoder.parameters()]
        tokens = encoder(step.eeg).encoder_hidden_states
        loss = torch.nn.functional.mse_loss(unet(step.volume, step.timestep, tokens).sample, step.noise)
        gradients = torch.autograd.grad(loss, list(encoder.parameters()))
        times = step()
        assert times.whole.wall >= times.denoiser.wall > 0
        for parameter, old, gradient in zip(encoder.parameters(), before, gradients, strict=True):
            torch.testing.assert_close(parameter.detach(), old - gradient)

    def test_peers_have_as_many_parameters_and_train(self, networks, capsys):
        pytest.importorskip("monai")
        pytest.importorskip("einops")
        encoder, unet = networks
        training.print_networks(encoder, unet, peers.PEERS)
        printed = capsys.readouterr().out
        for name, peer in peers.PEERS.items():
            network = peer.build(unet, peer.widths(unet))
            assert abs(measuring.count_parameters(network) / measuring.count_parameters(unet) - 1) < 0.05
            assert name in printed
        steps = training.training_steps(encoder, unet, peers.PEERS)
        assert len(steps) == 3 * len(training.FORMATS)
        results = measuring.in_turn(steps, 1)
        training.print_times({name: training.median_times(rounds) for name, rounds in results.items()})
        printed = capsys.readouterr().out
        assert "times faster than MONAI" in printed or "times faster than diffusers" in printed

    def test_a_missing_monai_is_one_clear_line(self, networks, monkeypatch):
        monkeypatch.setitem(sys.modules, "einops", None)
        monai = peers.PEERS["MONAI DiffusionModelUNet"]
        with pytest.raises(InputError, match=r"\.\[bench\]"):
            monai.build(networks[1], (16, 32))

    def test_a_size_that_no_peer_can_have_is_refused(self):
        unet = FDUNetModel(
            sample_size=(4, 4, 4), block_out_channels=(4, 4), norm_num_groups=4, interaction_levels=(1,)
        )
        with pytest.raises(InputError, match="parameters"):
            peers.PEERS["diffusers UNet3DConditionModel"].widths(unet)


def test_the_loops_of_generation_agree():
    pipe = tiny.pipeline()
    loops = generation.denoising_loops(pipe.eeg_encoder, pipe.unet, batch_size=2, steps=2)
    naive, once, fast = (loops[name]() for name in (generation.NAIVE, generation.ONCE, generation.FAST))
    assert torch.equal(naive, once)
    assert (fast - once).norm() < 0.2 * once.norm()


def test_the_loader_reads_every_pair(tmp_path):
    dataset = PairedDataset(loader.write_random_pairs(tmp_path, num_runs=2, num_pairs=3))
    assert len(dataset) == 6
    assert dataset[[0, 5]]["eeg"].shape == (2, 1, 64, 134, 10)
    rates = loader.reading_rates(dataset, rounds=1)
    assert min(rates.values()) > 0


def test_variants_run_in_turn_and_the_first_round_does_not_count():
    calls = []
    results = measuring.in_turn({name: lambda name=name: calls.append(name) or len(calls) for name in "ab"}, 2)
    assert calls == list("ababab")
    assert results == {"a": [3, 5], "b": [4, 6]}
