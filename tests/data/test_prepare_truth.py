"""`simulate`, then `prepare`: the rhythms that drove each volume are in the EEG stored for it, at lag 0."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from eeg2fmri import PairedDataset
from eeg2fmri.cli import main
from eeg2fmri.data.prepare import prepare_dataset
from eeg2fmri.data.simulation import BANDS, PRESETS, simulate_dataset
from eeg2fmri.errors import RecordingError

RATE = 10.0  # Hz, of the latents: one sample is 0.1 s
LAGS = np.arange(-30, 31) / RATE
NUM_CORTICAL = 12  # the first networks; the others do not reach the scalp

# The protocols of the real data sets in the geometry of `mini`.
SMALL = {
    "bids": PRESETS["mini"],
    "noddi": dataclasses.replace(PRESETS["mini"], layout="noddi", repetition_time=2.16),
    "xp2": dataclasses.replace(
        PRESETS["xp2"],
        **{name: getattr(PRESETS["mini"], name) for name in ("shape", "voxel_size", "origin", "electrodes")},
        sampling_rate=128.0,
        num_volumes=240,
        pose=0.0,
    ),
}


def settings(preset):
    return {
        "eeg_processor": {
            **{"electrodes": list(preset.electrodes), "sampling_rate": preset.sampling_rate, "mode": "log_power"},
            **{"num_frequencies": 43, "num_windows": 4, "window_start": -4.0},
        },
        "volume_processor": {
            **{"mode": "minmax_run", "sample_size": preset.shape[::-1], "grid_shape": preset.shape},
            "repetition_time": preset.repetition_time,
        },
    }


def prepare(tree, preset, **options):
    recipe = tree.parent / "recipe.json"
    recipe.write_text(json.dumps(settings(preset)))
    options = {"layout": preset.layout, "num_validation": 0, "num_test": 0, **options}
    return prepare_dataset(tree, tree.parent / "pairs", recipe=recipe, **options)[0]


def shares_at_lags(pairs, tree):
    """For every run, what share of the latents' variance the stored band power explains, for every lag.

    The power is that of the columns that a volume's pair is made of; the latents are those of the truth, at the time
    where the truth has that volume.
    """
    dataset = PairedDataset(pairs)
    config = dataset.eeg_processor.config
    middles = config.window_start + dataset.eeg_processor.window_duration * (np.arange(config.num_windows) + 0.5)
    shares = {}
    for run in dataset.runs:
        stored = load_file(pairs / run["file"])
        stem = tree / f"derivatives/truth/sub-{run['subject']}" / f"{run['name']}_truth"
        truth, facts = load_file(stem.with_suffix(".safetensors")), json.loads(stem.with_suffix(".json").read_text())
        onsets = facts["first_volume_onset"] + facts["preset"]["repetition_time"] * np.array(run["volumes"])
        columns, first = np.unique(stored["index"], return_index=True)
        times = (onsets[:, None] + middles).ravel()[first]
        power = np.exp(stored["spectra"][columns, 0].astype(float))
        explained = np.zeros(LAGS.size)
        for band, (low, high) in enumerate(BANDS.values()):
            inside = (dataset.eeg_processor.frequencies >= low) & (dataset.eeg_processor.frequencies <= high)
            # So few electrodes that they cannot explain slow courses by chance.
            courses = np.log(power[:, :: -(-power.shape[1] // 16)][..., inside].mean(axis=-1))
            basis = np.linalg.qr(courses - courses.mean(axis=0))[0]
            for index, lag in enumerate(LAGS):
                latents = [
                    np.interp(times + lag, truth["latent_times"], z) for z in truth["latents"][:NUM_CORTICAL, band]
                ]
                latents = np.array(latents) - np.mean(latents, axis=1, keepdims=True)
                explained[index] += np.sum((latents @ basis) ** 2) / np.sum(latents**2) / len(BANDS)
        shares[run["name"]] = explained
    return shares


def assert_at_lag_0(pairs, tree, num_runs):
    shares = shares_at_lags(pairs, tree)
    assert len(shares) == num_runs
    for name, explained in shares.items():
        assert abs(LAGS[explained.argmax()]) <= 1.01 / RATE, name
        assert explained.max() > 1.5 * max(explained[0], explained[-1]), name


@pytest.mark.parametrize(
    ("layout", "num_runs", "eeg_front", "dropped_markers", "lead_in"),
    [
        ("bids", 1, 0.0, 0, None),
        ("bids", 1, -10.0, 3, -3),
        ("noddi", 1, 71.5, 4, None),
        ("xp2", 2, 0.0, 0, None),
        ("xp2", 2, 12.5, 3, None),
        ("xp2", 2, -10.0, 5, -6),
    ],
)
def test_every_volume_has_the_eeg_that_drove_it(tmp_path, layout, num_runs, eeg_front, dropped_markers, lead_in):
    preset = SMALL[layout]
    options = {"eeg_front": eeg_front, "dropped_markers": dropped_markers, "num_runs": num_runs, "seed": 5}
    tree = simulate_dataset(tmp_path / "tree", preset=preset, num_subjects=1, **options)
    if lead_in is not None:  # volumes without EEG: nothing is paired before a person says so
        with pytest.raises(RecordingError, match="state the lead-in"):
            prepare(tree, preset)
    assert_at_lag_0(prepare(tree, preset, lead_in=lead_in), tree, num_runs)


def test_a_wrong_onset_would_show(tmp_path):
    tree = simulate_dataset(tmp_path / "tree", num_subjects=1, seed=5)
    late = prepare(tree, SMALL["bids"], first_volume=PRESETS["mini"].lead_in + 1.0)
    (explained,) = shares_at_lags(late, tree).values()
    assert LAGS[explained.argmax()] == pytest.approx(1.0, abs=0.11)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("preset", "num_volumes", "num_runs", "export"),
    [
        ("xp2", 240, 5, ["--eeg-front", "12.5", "--dropped-markers", "1"]),
        ("noddi", 150, 1, ["--eeg-front", "71.5", "--dropped-markers", "4"]),
    ],
)
def test_the_commands_of_the_real_datasets(monkeypatch, tmp_path, preset, num_volumes, num_runs, export):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["eeg2fmri", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code

    monkeypatch.chdir(tmp_path)
    run("simulate", "--preset", preset, "--subjects", 1, "--volumes", num_volumes, *export)
    output = ("--output", "pairs", "--validation-subjects", 0, "--test-subjects", 0)
    run("prepare", f"simulated-{preset}", "--layout", preset, *output)
    assert_at_lag_0(tmp_path / "pairs", tmp_path / f"simulated-{preset}", num_runs)
