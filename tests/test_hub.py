"""From the Hub, over the loopback interface, in a process that knows nothing of the pipeline but its name."""

import json
import os
import subprocess
import sys

import mne
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
import tiny_networks
from eeg2fmri.errors import CheckpointError
from eeg2fmri.hub import ADAPTERS_FILE, load_pipeline, resolve_model, save_for_hub, write_training_record
from loopback_hub import LoopbackHub, commit_of

REPOSITORY = "someone/eeg2fmri-tiny"
LOAD = """
import sys, warnings
warnings.simplefilter("error", UserWarning)
{imports}
pipe = {loader}.from_pretrained("someone/eeg2fmri-tiny"{options})
sys.path.insert(0, {tests!r})
import numpy as np, tiny, torch
pipe.set_progress_bar_config(disable=True)
volumes = pipe(tiny.recording(), num_inference_steps=2, output_type="np", generator=torch.Generator().manual_seed(0))
np.save({output!r}, volumes.volumes[0])
print(type(pipe).__name__, pipe.unet.dtype)
"""
RESOLVE = """
import json, sys
from eeg2fmri.hub import load_processors, read_training_record, resolve_model
for name in sys.argv[1:]:
    folder = resolve_model(name)
    print(json.dumps([name, folder.name, read_training_record(folder), load_processors(folder)[0].config.num_windows]))
"""
OURS = "from eeg2fmri import EEG2fMRIPipeline"
GENERIC = "import eeg2fmri\nfrom diffusers import DiffusionPipeline"


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline()


@pytest.fixture(scope="module")
def hub(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    save_for_hub(pipe, folder)
    pipe.save_pretrained(folder, variant="fp16")
    with LoopbackHub() as hub:
        hub.add(REPOSITORY, folder)
        yield hub


def environment(hub, cache, **changes):
    return {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **changes,
    }


def load(hub, cache, tmp_path, imports=OURS, loader="EEG2fMRIPipeline", options="", **changes):
    output = tmp_path / "volumes.npy"
    code = LOAD.format(
        imports=imports, loader=loader, options=options, tests=os.path.dirname(__file__), output=str(output)
    )
    settings = environment(hub, cache, **changes)
    return subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=False)


def generate(hub, tmp_path, model, **changes):
    """The command line on a recording, as a process of its own."""
    recording = tmp_path / "rest_eeg.fif"
    info = mne.create_info(list(tiny.ELECTRODES), tiny.SAMPLING_RATE, "eeg")
    mne.io.RawArray(tiny.signals(), info, verbose="ERROR").save(recording, fmt="double", verbose="ERROR")
    command = [sys.executable, "-m", "eeg2fmri.cli", "generate", str(recording), "--model", model, "--steps", "1"]
    return subprocess.run(
        [*command, "--output", str(tmp_path / "out")],
        env=environment(hub, tmp_path / "cache", **changes),
        capture_output=True,
        text=True,
        check=False,
    )


def volumes(pipe):
    generator = torch.Generator().manual_seed(0)
    return pipe(tiny.recording(), num_inference_steps=2, output_type="np", generator=generator).volumes[0]


@pytest.mark.parametrize(
    ("imports", "loader", "options"),
    [
        (OURS, "EEG2fMRIPipeline", ""),
        (GENERIC, "DiffusionPipeline", ", custom_pipeline='someone/eeg2fmri-tiny', trust_remote_code=True"),
    ],
    ids=["ours", "generic"],
)
def test_a_pipeline_loads_from_the_hub_without_its_code_being_there(hub, pipe, tmp_path, imports, loader, options):
    result = load(hub, tmp_path / "cache", tmp_path, imports, loader, options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("EEG2fMRIPipeline torch.float32")
    np.testing.assert_array_equal(np.load(tmp_path / "volumes.npy"), volumes(pipe))


def test_after_one_success_it_works_offline(hub, pipe, tmp_path):
    assert load(hub, tmp_path / "cache", tmp_path).returncode == 0
    asked = len(hub.requests)
    result = load(hub, tmp_path / "cache", tmp_path, HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert len(hub.requests) == asked
    np.testing.assert_array_equal(np.load(tmp_path / "volumes.npy"), volumes(pipe))


def test_a_revision_and_a_variant_can_be_chosen(hub, pipe, tmp_path):
    changed = tmp_path / "changed"
    save_for_hub(pipe, changed)
    weights = changed / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 0.5 for name, tensor in load_file(weights).items()}, weights)
    commit = hub.add(REPOSITORY, changed, "v2")
    results = []
    for options in ("", ", revision='v2'", f", revision={commit!r}", ", variant='fp16'"):
        result = load(hub, tmp_path / "cache", tmp_path, options=options)
        assert result.returncode == 0, result.stderr
        results.append(np.load(tmp_path / "volumes.npy"))
    assert not np.array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[1], results[2])
    np.testing.assert_array_equal(results[0], results[3])
    assert any("fp16" in request for request in hub.requests)


def test_the_command_line_takes_a_hub_id_and_notes_its_commit(hub, tmp_path):
    result = generate(hub, tmp_path, REPOSITORY)
    assert result.returncode == 0, result.stderr
    sidecar = json.loads((tmp_path / "out" / "rest_desc-eeg2fmri_bold.json").read_text())
    assert sidecar["Model"] == REPOSITORY
    assert sidecar["ModelRevision"] == commit_of(hub.revisions[REPOSITORY]["main"])


def test_the_command_line_takes_a_hub_id_of_a_regression_pipeline(tmp_path):
    save_for_hub(tiny_networks.pipeline(), tmp_path / "repository")
    with LoopbackHub() as hub:
        hub.add("someone/regression", tmp_path / "repository")
        result = generate(hub, tmp_path, "someone/regression")
    assert result.returncode == 0, result.stderr
    sidecar = json.loads((tmp_path / "out" / "rest_desc-eeg2fmri_bold.json").read_text())
    assert "network/diffusion_pytorch_model.safetensors" in sidecar["ModelWeightsSHA256"]


def test_pipelines_and_adapters_come_with_the_record_of_their_training(pipe, tmp_path):
    """Without it, nothing keeps them from being tested on whom they were trained on."""
    record = {
        "training_subjects": ["sub-1"],
        "training_runs": {},
        "validation_subjects": ["sub-2"],
        "validation_runs": {},
        "dataset_runs": [],
        "earlier_training": [],
    }
    save_for_hub(pipe, tmp_path / "plain")
    save_for_hub(pipe, tmp_path / "trained")
    write_training_record(tmp_path / "trained", record)
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / ADAPTERS_FILE).write_bytes(b"adapters")
    with LoopbackHub() as hub:
        for name in ("plain", "trained"):
            hub.add(f"someone/{name}", tmp_path / name)
        base = {"name": "someone/trained", "revision": commit_of(tmp_path / "trained")}
        write_training_record(tmp_path / "lora", {**record, "base_model": base})
        hub.add("someone/lora", tmp_path / "lora")
        expected = [
            [f"someone/{name}", commit_of(tmp_path / name), None if name == "plain" else record, 4]
            for name in ("plain", "trained", "lora")
        ]
        for changes in ({}, {"HF_HUB_OFFLINE": "1"}):
            result = subprocess.run(
                [sys.executable, "-c", RESOLVE, *(name for name, *_ in expected)],
                env=environment(hub, tmp_path / "cache", **changes),
                capture_output=True,
                text=True,
                check=False,
            )
            assert [json.loads(line) for line in result.stdout.splitlines()] == expected, result.stderr


@pytest.mark.parametrize("changes", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["unknown", "offline"])
def test_a_repository_that_can_not_be_had_is_one_clear_line(hub, tmp_path, changes):
    result = generate(hub, tmp_path, "someone/nothing", **changes)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("error: someone/nothing: found that it can't be")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_cut_download_is_taken_up_again(hub, pipe, tmp_path):
    hub.cut_after = 20_000
    result = load(hub, tmp_path / "cache", tmp_path)
    assert hub.cut_after is None
    if result.returncode:
        result = load(hub, tmp_path / "cache", tmp_path)
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "volumes.npy"), volumes(pipe))


def test_what_is_published_does_not_say_where_it_came_from(pipe, tmp_path):
    save_for_hub(pipe, tmp_path / "first")
    loaded = load_pipeline(tmp_path / "first")
    save_for_hub(loaded, tmp_path / "second")
    texts = [path.read_text() for path in (tmp_path / "second").rglob("*.json")]
    assert len(texts) > 5
    assert not any(str(tmp_path) in text for text in texts)
    load_pipeline(tmp_path / "second")


def test_a_folder_is_its_own_model(pipe, tmp_path):
    save_for_hub(pipe, tmp_path)
    assert resolve_model(str(tmp_path)) == tmp_path
    assert len(commit_of(tmp_path)) == 40


@pytest.mark.parametrize("model", ["no-such-model", "./nowhere", "a/b/c"])
def test_a_model_that_is_nowhere_is_named(model):
    with pytest.raises(CheckpointError, match=f"{model}.*no such folder"):
        resolve_model(model)


def test_a_folder_without_a_pipeline_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no model_index\.json"):
        resolve_model(str(tmp_path))
