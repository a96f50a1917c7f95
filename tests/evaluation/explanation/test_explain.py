"""The whole command on two tiny datasets of the same simulated subjects: one for each kind of pipeline."""

import itertools
import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

import tiny
from eeg2fmri import ConditionalMeanModel, EEG2fMRIPipeline, EPGModel, FDUNetModel, PairedDataset
from eeg2fmri.data.leaks import training_record
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.simulation import simulate_dataset
from eeg2fmri.errors import FileError, InputError
from eeg2fmri.evaluation.explanation.collect import Settings, explain_run
from eeg2fmri.evaluation.explanation.explain import explain
from eeg2fmri.evaluation.explanation.fields import input_maps
from eeg2fmri.evaluation.explanation.ranks import CANDIDATES, rank_sources
from eeg2fmri.evaluation.explanation.sources import NODE_STARTS, Sources
from eeg2fmri.evaluation.runs import DatasetRun
from eeg2fmri.hub import save_for_hub, write_training_record

ELECTRODES = ("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "C4", "T8", "P3", "Pz", "P4", "O1", "O2")
ALPHA = (15, 25)  # bins of half a hertz: 8 to 12.5 Hz
EEG = {"electrodes": list(ELECTRODES), "sampling_rate": 128.0, "num_windows": 4, "window_start": -8.0}
SPECTRA = {
    "spectrogram": {"mode": "log_power", "num_frequencies": 11, "bins_per_frequency": 8, "baseline": "recording"},
    "prior": {"mode": "complex", "num_frequencies": 40, "baseline": "whitening"},
}
VOLUME = {"mode": "change", "sample_size": [16, 32, 32], "grid_shape": [32, 32, 16], "repetition_time": 2.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    simulate_dataset(folder / "sim", level="easy", num_subjects=3, num_volumes=40)
    for kind, spectra in SPECTRA.items():
        recipe = {
            "eeg_processor": {**EEG, **spectra, "normalization": "training"},
            "volume_processor": {**VOLUME, "space": "mni"},
        }
        (folder / f"{kind}.json").write_text(json.dumps(recipe))
        prepare_dataset(folder / "sim", folder / kind, recipe=folder / f"{kind}.json", num_validation=1, num_test=1)
        save_for_hub(pipeline(PairedDataset(folder / kind, "test")), folder / f"model-{kind}")
    return folder


def pipeline(dataset, prior=None, encoder="epg", conditioning="ciim"):
    """Untrained networks of the smallest size that fit the dataset."""
    torch.manual_seed(0)
    config = dataset.eeg_processor.config
    if config.mode == "complex" and prior is None:
        prior = ConditionalMeanModel((16, 40, 4), bands=(ALPHA, (5, 15)), num_filters=6, num_components=4)
        torch.nn.init.normal_(prior.maps)
    size = (16, config.num_frequencies, 4) if prior is None else prior.band_power_shape[1:]
    widths = {"block_out_channels": (8, 8), "cross_attention_dim": 16, "norm_num_groups": 4}
    return EEG2fMRIPipeline(
        EPGModel(sample_size=size, num_spectral_attention_heads=2, encoder=encoder, **widths),
        FDUNetModel(
            (16, 32, 32), in_channels=2, interaction_levels=(1,), patch_size=2, conditioning=conditioning, **widths
        ),
        DDIMScheduler(**tiny.SCHEDULE),
        dataset.eeg_processor,
        dataset.volume_processor,
        prior,
    )


def run_of(folder):
    dataset = PairedDataset(folder / "prior", "test")
    return dataset, DatasetRun(dataset, dataset.runs[0], folder / "sim")


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPECTRA)
def test_everything_is_there_and_the_same_again(place, tmp_path, kind, monkeypatch):
    options = {"windows_per_run": 2, "num_inference_steps": 2}
    found = explain(str(place / f"model-{kind}"), place / kind, tmp_path / "one", **options)
    with monkeypatch.context() as patch:
        patch.setattr("eeg2fmri.evaluation.explanation.explain.draw_figures", lambda *arguments: {})  # they take long
        explain(str(place / f"model-{kind}"), place / kind, tmp_path / "two", **options)
    texts = [(tmp_path / name / "explanation.json").read_text() for name in ("one", "two")]
    assert texts[0] == texts[1]
    assert json.loads(texts[0]) == found
    assert found["not_available"] == {}
    measures = {"attention", "response_model", *(["response_prior", "response_diffusion"] if kind == "prior" else [])}
    assert set(found["truth"]) == measures
    for own in found["truth"].values():
        assert own["cortical"]["p"] > 0.05  # untrained
        assert own["dark"]["region"] == "hippocampus"
        assert len(own["deep"]["mean_rank_per_region"]) == 3
    assert "at chance" in found["found"]["headline"]
    page = (tmp_path / "one" / "explanation.html").read_text()
    assert found["found"]["headline"].split("?")[0] in page
    assert "http" not in page.replace("data:image", "")
    pictures = sorted(path.name for path in (tmp_path / "one").glob("*.png"))
    assert len(pictures) == page.count("<img ")
    assert {"attention_brain.png", "fusion_topographies.png", "response_model_topographies.png"} <= set(pictures)


@pytest.mark.slow
def test_a_model_that_listens_to_the_true_sources_has_them_found(place):
    """Filters matched to the networks' fields, their alpha power onto the networks' maps with the true weight."""
    dataset, run = run_of(place)
    sources = Sources(ELECTRODES, "FCz", simulated=True)
    normalised = dataset.eeg_processor.normalise(run.stored_spectra())
    to_input = input_maps(run.recorded_spectra(), normalised)[slice(*ALPHA)].mean(axis=0)
    filters = sources.fields[: NODE_STARTS[-1]] @ to_input.T
    prior = ConditionalMeanModel((16, 40, 4), bands=(ALPHA,), num_filters=len(filters), num_components=len(CANDIDATES))
    maps = run.truth.maps
    with torch.no_grad():
        prior.band_powers[0].filters.copy_(torch.from_numpy(filters / np.linalg.norm(filters, axis=1, keepdims=True)))
        prior.unmix.weight.zero_()
        for candidate, (start, stop) in enumerate(itertools.pairwise(NODE_STARTS)):
            prior.unmix.weight[candidate, start:stop] = CANDIDATES[candidate].weights[2]
        torch.nn.init.zeros_(prior.unmix_hidden[-1].weight)
        for candidate, network in enumerate(CANDIDATES):
            own = maps[run.regions.names.index(network.name)]
            prior.maps[candidate] = torch.from_numpy(dataset.volume_processor.pad(own)).flatten()
    pipe = pipeline(dataset, prior.eval())
    rows = np.array([run.regions.names.index(network.name) for network in CANDIDATES])
    found = explain_run(run, pipe, 0, Settings(4, 1, 42, rows), sources).source_response["prior"]
    strength = np.linalg.norm(found.sum(axis=2)[:, 2], axis=-1)
    assert (strength > 0).all()
    beyond = found - found.mean(axis=0)
    scores = np.sqrt(np.square(beyond).sum(axis=(1, 2)))[None]
    ranking = rank_sources(scores, np.arange(len(CANDIDATES)), np.random.default_rng(0))
    assert ranking.p < 0.001
    assert ranking.mean < 2
    own = found.sum(axis=2)[np.arange(len(CANDIDATES)), 2, np.arange(len(CANDIDATES))]  # [region], alpha
    np.testing.assert_array_equal(np.sign(own), np.sign([network.weights[2] for network in CANDIDATES]))


@pytest.mark.slow
def test_what_a_model_lacks_is_said(place, tmp_path):
    dataset = PairedDataset(place / "spectrogram", "test")
    save_for_hub(pipeline(dataset, encoder="linear", conditioning="direct"), tmp_path / "model")
    found = explain(str(tmp_path / "model"), place / "spectrogram", tmp_path / "out", windows_per_run=1)
    assert set(found["not_available"]) == {"fusion", "attention"}
    assert found["attention"] is None
    assert found["fusion"] == []
    assert set(found["truth"]) == {"response_model"}
    assert any("no CIIM" in sentence for sentence in found["found"]["sentences"])


@pytest.mark.slow
def test_bad_input_is_refused_and_nothing_is_written(place, tmp_path):
    model = str(place / "model-prior")
    with pytest.raises(InputError, match="windows_per_run: found 0"):
        explain(model, place / "prior", tmp_path / "out", windows_per_run=0)
    with pytest.raises(FileError, match="something already there"):
        explain(model, place / "prior", tmp_path)
    with pytest.raises(InputError, match="eeg_processor"):
        explain(model, place / "spectrogram", tmp_path / "out")
    dataset = PairedDataset(place / "prior", "test")
    leaky = tmp_path / "leaky"
    save_for_hub(pipeline(dataset), leaky)
    write_training_record(leaky, training_record(dataset))
    with pytest.raises(InputError, match="on which the model was trained"):
        explain(str(leaky), place / "prior", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["leaky"]
