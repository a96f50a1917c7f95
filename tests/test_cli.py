"""The command line as its users meet it: what it writes, and what it says when something is wrong."""

import json
import resource
import shutil
import subprocess
import sys

import mne
import nibabel as nib
import numpy as np
import pytest

import tiny
from eeg2fmri.cli import main
from eeg2fmri.hub import save_for_hub


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_for_hub(tiny.pipeline(), folder)
    return folder


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "sub-01_task-rest_eeg.fif"
    info = mne.create_info(list(tiny.ELECTRODES), tiny.SAMPLING_RATE, "eeg")
    mne.io.RawArray(tiny.signals(), info, verbose="ERROR").save(path, fmt="double", verbose="ERROR")
    return path


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["eeg2fmri", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


def test_help_answers_in_under_a_second_and_without_torch():
    code = "import sys; sys.argv = ['eeg2fmri', '--help']\ntry:\n import eeg2fmri.cli; eeg2fmri.cli.main()\n"
    code += "finally:\n print('torch' in sys.modules, file=sys.stderr)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # of CPU: other tests run beside it
    assert result.stderr.strip() == "False"
    assert "generate" in result.stdout


def test_generate_writes_a_nifti_its_json_and_a_picture(monkeypatch, capsys, tmp_path, model, recording):
    options = ("--model", model, "--output", tmp_path, "--steps", 2, "--scheduler", "dpmsolver++", "--seed", 5)
    assert run(monkeypatch, "generate", recording, *options) == 0
    name = "sub-01_task-rest_desc-eeg2fmri_bold"
    names = [f"{name}.nii.gz", f"{name}.json", f"{name}.png"]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    image = nib.load(tmp_path / names[0])
    assert image.shape == (*tiny.GRID, 7)
    assert image.header["pixdim"][4] == tiny.REPETITION_TIME
    assert np.isfinite(image.get_fdata()).all()
    sidecar = json.loads((tmp_path / names[1]).read_text())
    assert sidecar["RepetitionTime"] == 2.0
    assert sidecar["FirstVolumeTime"] == 8.0
    assert (sidecar["Seed"], sidecar["NumberOfInferenceSteps"]) == (5, 2)
    assert sidecar["Sampler"] == "DPMSolverMultistepScheduler"
    assert sidecar["Sources"] == [str(recording)]
    assert sidecar["Model"] == str(model)
    assert set(sidecar["ModelWeightsSHA256"]) == {
        "unet/diffusion_pytorch_model.safetensors",
        "eeg_encoder/diffusion_pytorch_model.safetensors",
    }
    assert (tmp_path / names[2]).read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_writes_the_same_volumes(monkeypatch, tmp_path, model, recording):
    images = []
    for index, seed in enumerate((1, 1, 2)):
        output = tmp_path / str(index)
        assert run(monkeypatch, "generate", recording, "--model", model, "--output", output, "--steps", 2,
                   "--seed", seed) == 0  # fmt: skip
        images.append(next(output.glob("*.nii.gz")).read_bytes())
    assert images[0] == images[1] != images[2]


def test_a_reference_is_taken(monkeypatch, tmp_path, model, recording):
    from eeg2fmri.recordings.bold import bold_image, write_bold

    bold = tiny.bold(3, gain=7.0)
    write_bold(bold_image(bold.volumes, bold.affine, 2.0), tmp_path / "mean.nii.gz")
    options = ("--model", model, "--output", tmp_path / "out", "--steps", 1, "--reference", tmp_path / "mean.nii.gz")
    assert run(monkeypatch, "generate", recording, *options) == 0
    mean = nib.load(next((tmp_path / "out").glob("*.nii.gz"))).get_fdata().mean()
    assert mean == pytest.approx(bold.volumes.mean(), rel=0.5)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("unet/diffusion_pytorch_model.safetensors", cut),
        ("eeg_encoder/diffusion_pytorch_model.safetensors", lambda path: path.rename(path.with_suffix(".bin"))),
        ("unet/config.json", lambda path: path.write_text("{")),
        ("eeg_processor/arrays.json", lambda path: path.unlink()),
        ("scheduler/scheduler_config.json", lambda path: path.write_text("[")),
        ("model_index.json", lambda path: path.write_text('{"_class_name": "EEG2fMRIPipeline", "unet": 3}')),
    ],
)
def test_a_damaged_model_is_refused(monkeypatch, capsys, tmp_path, model, recording, file, damage):
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    damage(broken / file)
    assert run(monkeypatch, "generate", recording, "--model", broken, "--output", tmp_path / "out") == 2
    assert_one_line(capsys.readouterr().err, str(broken))
    assert not (tmp_path / "out").exists()


def assert_one_line(text: str, *words: str) -> None:
    lines = text.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in text
    for word in words:
        assert word in lines[-1]


def bad_recordings(folder):
    """Name of the file -> its content, and words of the message."""
    raw = tiny.signals(seconds=20.0)
    flat, broken, huge = raw.copy(), raw.copy(), raw * 1e6
    flat[:4] = 0.0
    broken[2, 100] = np.nan
    few = (["Fp1", "Oz", "E1", "E2", "E3", "E4", "E5", "E6"], raw)
    return {
        "short_eeg.fif": (tiny.ELECTRODES, raw[:, :300], ["too short", "8.000 s"]),
        "nan_eeg.fif": (tiny.ELECTRODES, broken, ["NaN", "C3"]),
        "flat_eeg.fif": (tiny.ELECTRODES, flat, ["flat", "Fp1"]),
        "volts_eeg.fif": (tiny.ELECTRODES, huge, ["1e6"]),
        "few_eeg.fif": (*few, ["6 of 8 electrodes missing"]),
    }


@pytest.mark.parametrize("name", ["short_eeg.fif", "nan_eeg.fif", "flat_eeg.fif", "volts_eeg.fif", "few_eeg.fif"])
def test_a_bad_recording_is_one_clear_line_and_leaves_nothing(monkeypatch, capsys, tmp_path, model, name):
    electrodes, signals, words = bad_recordings(tmp_path)[name]
    path = tmp_path / name
    info = mne.create_info(list(electrodes), tiny.SAMPLING_RATE, "eeg")
    mne.io.RawArray(signals, info, verbose="ERROR").save(path, fmt="double", verbose="ERROR")
    assert run(monkeypatch, "generate", path, "--model", model, "--output", tmp_path / "out") == 2
    assert_one_line(capsys.readouterr().err, name, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.edf", None, ["missing.edf"]),
        ("empty.edf", b"", ["empty"]),
        ("pointer.vhdr", b"/annex/objects/MD5E-s3--abc.vhdr\n", ["git-annex", "datalad get"]),
        ("notes.txt", b"hello", ["notes.txt", ".edf"]),
        ("garbage.edf", b"\x00" * 4000, ["garbage.edf"]),
    ],
)
def test_a_file_that_is_no_recording_is_one_clear_line(monkeypatch, capsys, tmp_path, model, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run(monkeypatch, "generate", tmp_path / name, "--model", model, "--output", tmp_path / "out") == 2
    assert_one_line(capsys.readouterr().err, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scheduler", "magic"], ["--scheduler", "'magic'", "ddim"]),
        (["--steps", "0"], ["num_inference_steps", "0"]),
        (["--device", "warp"], ["--device", "warp"]),
        (["--model", "nowhere"], ["nowhere", "eeg2fmri-sim-small"]),
        (["--demo"], ["a recording and --demo"]),
    ],
)
def test_a_wrong_option_is_one_clear_line(monkeypatch, capsys, tmp_path, model, recording, options, words):
    arguments = ["--model", str(model), *options]
    assert run(monkeypatch, "generate", recording, "--output", tmp_path / "out", *arguments) == 2
    assert_one_line(capsys.readouterr().err, *words)
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(monkeypatch, capsys, tmp_path, model, recording):
    (tmp_path / "out").write_text("")
    assert run(monkeypatch, "generate", recording, "--model", model, "--output", tmp_path / "out") == 2
    assert_one_line(capsys.readouterr().err, "out", "a folder")


def test_simulate_and_prepare_lead_to_pairs(monkeypatch, capsys, tmp_path):
    from eeg2fmri import PairedDataset

    recipe = {"eeg_processor": {"electrodes": ["Fp1", "Fp2", "C3", "C4", "O1", "O2"], "sampling_rate": 128.0,
                                "num_frequencies": 30, "num_windows": 4, "window_start": -8.0},
              "volume_processor": {"sample_size": [16, 32, 32], "grid_shape": [32, 32, 16],
                                   "repetition_time": 2.0}}  # fmt: skip
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    options = ("--subjects", 3, "--volumes", 60, "--level", "null")
    assert run(monkeypatch, "simulate", "--output", tmp_path / "bids", *options) == 0
    options = ("--output", tmp_path / "pairs", "--recipe", tmp_path / "recipe.json")
    assert run(monkeypatch, "prepare", tmp_path / "bids", *options) == 0
    item = PairedDataset(tmp_path / "pairs")[0]
    assert item["eeg"].shape == (1, 6, 30, 4)
    assert item["volume"].shape == (1, 16, 32, 32)
    assert run(monkeypatch, "prepare", tmp_path / "bids", *options) == 2
    assert_one_line(capsys.readouterr().err, "pairs", "already there")


def test_simulate_makes_recordings_as_they_are_exported(monkeypatch, capsys, tmp_path):
    options = ("--subjects", 1, "--volumes", 20, "--eeg-front", -10, "--dropped-markers", 2)
    assert run(monkeypatch, "simulate", "--output", tmp_path / "bids", *options) == 0
    truth = json.loads((tmp_path / "bids/derivatives/truth/sub-001/sub-001_task-rest_truth.json").read_text())
    assert truth["first_volume_onset"] == -6.0
    assert len(truth["dropped_markers"]) == 2
    assert run(monkeypatch, "simulate", "--output", tmp_path / "other", *options[:-1], 19) == 2
    assert_one_line(capsys.readouterr().err, "dropped_markers", "at least 2 of 17")
    assert not (tmp_path / "other").exists()


@pytest.fixture
def table(tmp_path):
    """Three runs of a study of one's own, and the recipe for them."""
    from tiny_files import ELECTRODES, write_eeg, write_run

    lines = ["eeg,bold,subject,run"]
    for subject in ("A", "B", "C"):
        markers = [(0.5 + k, "Stimulus/T") for k in range(30)]
        write_eeg(tmp_path / f"{subject}.vhdr", markers, seconds=31.0)
        write_run(tmp_path / f"{subject}.nii.gz", 30)
        lines.append(f"{subject}.vhdr,{subject}.nii.gz,{subject},1")
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n")
    recipe = {"eeg_processor": {"electrodes": list(ELECTRODES), "sampling_rate": 100.0, "num_frequencies": 20,
                                "num_windows": 4, "window_start": -8.0},
              "volume_processor": {"sample_size": [8, 8, 8], "grid_shape": [8, 8, 6], "repetition_time": 1.0,
                                   "mode": "minmax_run"}}  # fmt: skip
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    return tmp_path / "runs.csv"


def prepare_table(monkeypatch, table, *options):
    fixed = ("--layout", "table", "--output", table.parent / "pairs", "--recipe", table.parent / "recipe.json")
    return run(monkeypatch, "prepare", table, *fixed, *options)


def test_prepare_names_every_bad_run_and_writes_nothing(monkeypatch, capsys, table):
    cut(table.parent / "A.eeg")
    cut(table.parent / "B.nii.gz")
    assert prepare_table(monkeypatch, table) == 2
    error = capsys.readouterr().err
    assert "error: runs: found 2 that can't be used beside 1 that can" in error
    assert "\n  sub-A_run-1: " in error
    assert "\n  sub-B_run-1: " in error
    assert "Traceback" not in error
    assert not (table.parent / "pairs").exists()


def test_prepare_can_leave_bad_runs_out_and_says_so(monkeypatch, capsys, table):
    cut(table.parent / "B.nii.gz")
    options = ("--skip-invalid", "--validation-subjects", 1, "--test-subjects", 0)
    assert prepare_table(monkeypatch, table, *options) == 0
    printed = capsys.readouterr()
    assert "invalid: sub-B_run-1: " in printed.err
    assert printed.out.strip() == str(table.parent / "pairs")
    report = json.loads((table.parent / "pairs/alignment_report.json").read_text())
    assert {entry["name"]: entry["marker"] for entry in report["runs"]} == dict.fromkeys(
        ("sub-A_run-1", "sub-C_run-1"), "Stimulus/T"
    )


def test_split_adds_schemes_without_the_recordings(monkeypatch, capsys, table):
    from eeg2fmri import PairedDataset

    assert prepare_table(monkeypatch, table) == 0
    pairs = table.parent / "pairs"
    for recording in table.parent.glob("*.eeg"):
        recording.unlink()
    capsys.readouterr()
    assert (
        run(monkeypatch, "split", pairs, "--name", "loo", "--kind", "leave-one-out", "--validation-subjects", 0) == 0
    )
    names = [f"loo-{subject}" for subject in "ABC"]
    assert capsys.readouterr().out.split() == [str(pairs / "splits" / name) for name in names]
    assert PairedDataset(pairs, "test", "loo-B").subjects == ["B"]
    assert run(monkeypatch, "split", pairs, "--name", "x", "--kind", "paper", "--gap", 3) == 2
    assert_one_line(capsys.readouterr().err, "gap", "'paper'")


def test_prepare_takes_a_lead_in_or_a_stated_onset(monkeypatch, table):
    for option, offset in ((("--marker", "T", "--lead-in", 0), 0.5), (("--first-volume", 0.25), 0.25)):
        assert prepare_table(monkeypatch, table, *option) == 0
        report = json.loads((table.parent / "pairs/alignment_report.json").read_text())
        assert [entry["offset"] for entry in report["runs"]] == pytest.approx([offset] * 3)
        shutil.rmtree(table.parent / "pairs")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layout", "brain"], ["'brain'", "bids or noddi or xp2 or table"]),
        (["--preset", "magic"], ["'magic'", "aligned or calhas"]),
        (["--preset", "calhas"], ["'calhas'", "noddi or xp2"]),
        (["--eeg", "raw"], ["eeg", "'table'"]),
        (["--first-volume", "1", "--lead-in", "2"], ["first_volume", "lead_in"]),
        (["--validation-subjects", "3"], ["3 subjects for 3 validation"]),
    ],
)
def test_a_wrong_option_of_prepare_is_one_clear_line(monkeypatch, capsys, table, options, words):
    assert prepare_table(monkeypatch, table, *options) == 2
    assert_one_line(capsys.readouterr().err, *words)
    assert not (table.parent / "pairs").exists()
