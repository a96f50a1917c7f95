"""What drives a simulated run is found in the EEG that alignment gives to each volume, and nowhere else."""

import numpy as np
import pytest
from scipy import signal

from eeg2fmri import EEGProcessor
from eeg2fmri.data.alignment import align_run
from eeg2fmri.data.simulation.brainvision import BrainVisionMarker, write_brainvision
from eeg2fmri.data.simulation.networks import BANDS
from eeg2fmri.data.simulation.run import simulate_run
from eeg2fmri.data.simulation.write import write_run
from eeg2fmri.recordings.layouts import RunFiles

SHIFTS = range(-3, 4)  # volumes


@pytest.fixture(scope="module")
def simulation():
    return simulate_run("mini", "easy", seed=1, num_volumes=120)


def written(run, folder, pad, dropped):
    """The run as files; `pad` seconds of other EEG in front, and some volumes' markers dropped."""
    write_run(run, folder, "001")
    rate = run.sampling_rate
    front = 2e-5 * np.random.default_rng(0).standard_normal((len(run.electrodes), round(pad * rate)))
    onsets = np.delete(run.volume_onsets, dropped)
    markers = [BrainVisionMarker("Response", "R128", round((onset + pad) * rate)) for onset in onsets]
    eeg = folder / "sub-001/eeg/sub-001_task-rest_eeg.vhdr"
    eeg.with_suffix(".json").unlink()  # of the recording before it was padded
    write_brainvision(eeg, np.hstack([front, run.eeg]), run.electrodes, rate, markers, "FCz")
    return RunFiles("001", "sub-001_task-rest", eeg, folder / "sub-001/func/sub-001_task-rest_bold.nii.gz")


def match(run, recording, volumes, onsets, shift):
    """Squared correlation of every rhythm's power at the volumes' onsets with the truth, `shift` volumes away."""
    truth_times = run.volume_onsets[volumes] + shift * run.repetition_time
    width = round(recording.sampling_rate)
    total = 0.0
    for band, limits in enumerate(BANDS.values()):
        filtered = signal.butter(3, limits, "bandpass", fs=recording.sampling_rate, output="sos")
        power = signal.sosfiltfilt(filtered, recording.signals) ** 2
        power = np.log(signal.oaconvolve(power, np.ones((1, width)) / width, mode="same", axes=1))
        samples = np.rint(onsets * recording.sampling_rate).astype(int)
        latents = [np.interp(truth_times, run.truth["latent_times"], latent[band]) for latent in run.truth["latents"]]
        correlations = np.corrcoef(power[:, samples], latents)[: len(power), len(power) :]
        total += float((correlations**2).sum())
    return total


@pytest.mark.parametrize(("pad", "dropped"), [(0.0, []), (71.4375, []), (129.5625, [30, 31, 70])])
def test_the_driven_rhythms_match_at_lag_0_and_nowhere_else(simulation, tmp_path, pad, dropped):
    processor = EEGProcessor(electrodes=list(simulation.electrodes), sampling_rate=128.0, num_frequencies=60)
    aligned = align_run(written(simulation, tmp_path, pad, dropped), processor)
    assert aligned.alignment.filled == tuple(dropped)
    matches = [match(simulation, aligned.recording, aligned.volumes, aligned.onsets, shift) for shift in SHIFTS]
    assert SHIFTS[int(np.argmax(matches))] == 0
    np.testing.assert_allclose(aligned.onsets, simulation.volume_onsets[aligned.volumes] + pad, atol=0.5 / 128 + 1e-9)
