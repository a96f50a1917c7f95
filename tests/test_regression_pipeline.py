"""The regression pipeline: EEG in, volumes out, without any noise; and wherever a pipeline is taken, it is one."""

import json

import mne
import nibabel as nib
import numpy as np
import pytest
import torch

import tiny
import tiny_networks
from eeg2fmri import BIOTModel, CNNPlusModel, E2fGANModel, EEG2fMRIRegressionPipeline, TAGModel
from eeg2fmri.errors import CheckpointError, InputError, RecordingError
from eeg2fmri.generation import generate_files
from eeg2fmri.hub import load_pipeline, save_for_hub

KINDS = [CNNPlusModel, TAGModel, BIOTModel, E2fGANModel]


@pytest.fixture(scope="module")
def pipe():
    return tiny_networks.pipeline()


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_becomes_an_image(kind):
    (image,) = tiny_networks.pipeline(kind)(tiny.recording()).volumes
    assert isinstance(image, nib.Nifti1Image)
    assert image.shape == (*tiny.GRID, 7)
    assert (image.header["pixdim"][4], image.header["toffset"]) == (tiny.REPETITION_TIME, 8.0)


@pytest.mark.parametrize("mode", ["change", "minmax_volume"])
def test_it_is_processor_network_processor(mode):
    pipe = tiny_networks.pipeline(mode=mode)
    processed = pipe.eeg_processor(tiny.recording(), repetition_time=tiny.REPETITION_TIME)
    with torch.no_grad():
        predicted = pipe.network(torch.from_numpy(processed.windows)).sample
    torch.testing.assert_close(pipe(tiny.recording(), output_type="latent").volumes, predicted)
    expected = pipe.volume_processor.postprocess(predicted.numpy(), pipe.volume_processor.reference())
    np.testing.assert_allclose(pipe(tiny.recording(), output_type="np").volumes[0], expected, rtol=1e-5)


def test_batches_recordings_and_forms_of_input_change_nothing(pipe):
    one, other = (pipe(tiny.recording(seed), output_type="np").volumes[0] for seed in (0, 1))
    both = pipe([tiny.recording(0), tiny.recording(1)], output_type="np", batch_size=5).volumes
    windows = torch.from_numpy(pipe.eeg_processor(tiny.recording(0), repetition_time=tiny.REPETITION_TIME).windows)
    signals = pipe(
        tiny.signals(0), electrodes=list(tiny.ELECTRODES), sampling_rate=tiny.SAMPLING_RATE, output_type="pt"
    )
    for found, expected in ((both[0], one), (both[1], other), (signals.volumes[0].numpy(), one)):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(pipe(windows, output_type="np", return_dict=False)[0][0], one, rtol=1e-5)


def test_a_change_is_laid_on_the_reference(pipe):
    """Twice the signal in the reference: twice the volumes."""
    one, twice = (
        pipe(tiny.recording(), reference=tiny.bold(3, gain=gain), output_type="np").volumes[0] for gain in (1.0, 2.0)
    )
    np.testing.assert_allclose(twice, 2 * one, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eeg": None}, "eeg: found None"),
        ({"output_type": "png"}, "output_type: found 'png'"),
        ({"batch_size": 0}, "batch_size: found 0"),
        ({"eeg": torch.zeros(2, 1, 8, 6, 5)}, "along axis 'window'"),
        ({"eeg": torch.full((2, 1, 8, 6, 4), float("nan"))}, "NaN"),
    ],
)
def test_bad_arguments_are_refused(pipe, arguments, message):
    with pytest.raises(InputError, match=message):
        pipe(**{"eeg": tiny.recording(), **arguments})


def test_too_short_a_recording_is_refused(pipe):
    with pytest.raises(RecordingError, match="too short"):
        pipe(tiny.recording(seconds=4.0))


@pytest.mark.parametrize("changes", [{"sample_size": (8, 6, 5)}, {"in_channels": 2}, {"volume_size": (8, 8, 4)}])
def test_networks_of_other_sizes_are_refused(changes):
    network = tiny_networks.network(CNNPlusModel, **changes)
    with pytest.raises(CheckpointError, match=r"EEG window|volume \(D, H, W\)"):
        EEG2fMRIRegressionPipeline(network, tiny.eeg_processor(), tiny.volume_processor())


def test_half_precision_stays_close(pipe):
    exact = pipe(tiny.recording(), output_type="latent").volumes
    other = tiny_networks.pipeline().to(dtype=torch.bfloat16)(tiny.recording(), output_type="latent").volumes
    assert other.dtype == torch.bfloat16
    assert (other.float() - exact).abs().median() < 0.1 * exact.std()


@pytest.mark.parametrize("kind", KINDS)
def test_its_folder_loads_by_what_its_index_says(kind, tmp_path):
    pipe = tiny_networks.pipeline(kind)
    save_for_hub(pipe, tmp_path)
    loaded = load_pipeline(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded) is EEG2fMRIRegressionPipeline
    assert type(loaded.network) is kind
    latents = pipe(tiny.recording(), output_type="latent").volumes
    assert torch.equal(loaded(tiny.recording(), output_type="latent").volumes, latents)
    assert (tmp_path / "pipeline.py").read_text().startswith("from eeg2fmri import EEG2fMRIRegressionPipeline")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        "eeg_processor",
        "network",
        "volume_processor",
    ]


def test_a_damaged_folder_is_named(pipe, tmp_path):
    save_for_hub(pipe, tmp_path)
    (tmp_path / "network" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="network"):
        load_pipeline(tmp_path)
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="can't be loaded"):
        load_pipeline(tmp_path)


def test_the_command_writes_its_files_and_names_no_sampler(pipe, tmp_path):
    save_for_hub(pipe, tmp_path / "model")
    recording = tmp_path / "rest_eeg.fif"
    info = mne.create_info(list(tiny.ELECTRODES), tiny.SAMPLING_RATE, "eeg")
    mne.io.RawArray(tiny.signals(), info, verbose="ERROR").save(recording, fmt="double", verbose="ERROR")
    nifti, sidecar, _ = generate_files(recording, tmp_path / "out", model=str(tmp_path / "model"), device="cpu")
    assert nib.load(nifti).shape == (*tiny.GRID, 7)
    written = json.loads(sidecar.read_text())
    assert "network/diffusion_pytorch_model.safetensors" in written["ModelWeightsSHA256"]
    assert not {"Seed", "Sampler", "NumberOfInferenceSteps"} & set(written)
