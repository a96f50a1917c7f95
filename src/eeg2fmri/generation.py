"""The main job: a recording in, a NIfTI with its JSON and a picture out."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path

import diffusers
import mne
import nibabel as nib
import torch

from . import __version__
from .data.simulation import simulate_run, write_run
from .errors import FileError, InputError
from .evaluation.plots import plot_run
from .files import publish_contents, sha256
from .hub import load_pipeline, resolve_model, revision_of
from .recordings.bold import write_bold
from .recordings.pointers import check_file
from .regression_pipeline import EEG2fMRIRegressionPipeline

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "deis": "DEISMultistepScheduler",
    "dpmsolver": "DPMSolverSinglestepScheduler",
    "dpmsolver++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}
DEMO_NUM_VOLUMES = 70


def generate_files(
    recording: str | os.PathLike,
    output: str | os.PathLike,
    *,
    model: str,
    revision: str | None = None,
    reference: str | os.PathLike | None = None,
    num_inference_steps: int | None = None,
    scheduler: str | None = None,
    seed: int = 42,
    device: str | None = None,
    batch_size: int = 16,
) -> list[Path]:
    """Generate volumes from a recording and write `*_desc-eeg2fmri_bold.nii.gz`, `.json` and `.png`.

    Args:
        recording: an EEG file.
        output: the folder for the three files, which appear together.
        model: name of an embedded pipeline, a folder, or a Hub repository id.
        revision: branch, tag or commit of a Hub repository.
        reference: a BOLD NIfTI of the same person in the checkpoint's space.
        num_inference_steps: denoising steps, by default those that the pipeline was published for; this and what
            follows on noise mean nothing to a regression pipeline.
        scheduler: one of `SCHEDULERS`; the pipeline's own by default.
        seed: of the noise.
        device: where the networks run; the first accelerator by default.
        batch_size: volumes denoised at once.

    Returns:
        `list[Path]`: NIfTI, JSON, picture.

    Raises:
        EEG2fMRIError: before anything is written.
    """
    recording, output = check_file(recording), Path(output)
    if scheduler is not None and scheduler not in SCHEDULERS:
        raise InputError(
            "--scheduler", found=repr(scheduler), expected=f"one of {', '.join(SCHEDULERS)}", remedy="Choose one."
        )
    if output.exists() and not output.is_dir():
        raise FileError(output, found="a file", expected="a folder", remedy="Choose another --output.")
    folder = resolve_model(model, revision)
    pipe = load_pipeline(folder).to(find_device(device))
    options, sampling = {}, {}
    if not isinstance(pipe, EEG2fMRIRegressionPipeline):
        if scheduler is not None:
            pipe.scheduler = _scheduler(scheduler, pipe.scheduler.config)
        if num_inference_steps is None:
            num_inference_steps = pipe.default_denoising_steps
        options = {"num_inference_steps": num_inference_steps, "generator": torch.Generator().manual_seed(seed)}
        sampling = {
            "Seed": seed,
            "Sampler": type(pipe.scheduler).__name__,
            "NumberOfInferenceSteps": num_inference_steps,
        }
    image = pipe(recording, reference=reference, batch_size=batch_size, **options).volumes[0]
    name = re.sub(r"_eeg$", "", recording.stem) + "_desc-eeg2fmri_bold"
    task = re.search(r"(?:^|_)task-([A-Za-z0-9]+)", name)
    sidecar = {
        **({"TaskName": task[1]} if task else {}),
        **_timing(image),
        "Sources": [str(recording)],
        "Reference": None if reference is None else str(reference),
        "Model": model,
        "ModelRevision": revision_of(folder),
        "ModelWeightsSHA256": {
            str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*.safetensors"))
        },
        **sampling,
        **_software(),
    }
    with publish_contents(output, last=f"{name}.nii.gz") as staging:
        write_bold(image, staging / f"{name}.nii.gz")
        (staging / f"{name}.json").write_text(json.dumps(sidecar, indent=2) + "\n")
        plot_run(image, staging / f"{name}.png", title=f"Generated from {recording.name} by {model}")
    return [output / f"{name}{suffix}" for suffix in (".nii.gz", ".json", ".png")]


def _timing(image: nib.Nifti1Image) -> dict:
    return {
        "Description": "fMRI volumes generated from EEG; not measured",
        "RepetitionTime": float(image.header["pixdim"][4]),
        "FirstVolumeTime": float(image.header["toffset"]),
        "FirstVolumeTimeDescription": "Seconds from the first EEG sample to the onset of the first volume",
        "NumberOfVolumes": image.shape[3],
    }


def _software() -> dict:
    return {
        "GeneratedBy": [{"Name": "eeg2fmri", "Version": __version__}],
        "SoftwareVersions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, diffusers, mne, nib)},
        },
    }


def write_demo_recording(output: str | os.PathLike, seed: int) -> Path:
    """Simulate a subject that no embedded model was trained on, in the folder `simulated` as a BIDS dataset.

    Returns:
        `Path`: the header file of the EEG.
    """
    run = simulate_run("mini", "default", seed=seed, num_volumes=DEMO_NUM_VOLUMES)
    paths = write_run(run, Path(output) / "simulated", "demo")
    return next(path for path in paths if path.suffix == ".vhdr")


def find_device(name: str | None) -> torch.device:
    """The device of this name, the first accelerator by default.

    Raises:
        InputError: when torch has no such device here.
    """
    if name is None:
        name = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            "--device", found=f"{name!r} ({error})", expected="a device that torch has here", remedy="Use cpu."
        ) from error


def _scheduler(name: str, config):
    # Solvers of higher order come closest to the exact map on uniform steps of the log signal-to-noise ratio.
    options = {"use_lu_lambdas": True} if name == "dpmsolver++" else {}
    return getattr(diffusers, SCHEDULERS[name]).from_config(config, **options)
