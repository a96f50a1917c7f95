"""Row 15: a wrong shape, dtype or device names the axis, what was found and what was expected."""

import inspect

import numpy as np
import pytest
import torch

import tiny
from eeg2fmri import EEG2fMRIPipeline, EEGProcessor, EPGModel, FDUNetModel, VolumeProcessor
from eeg2fmri.errors import InputError
from eeg2fmri.models.conditional_mean import ConditionalMeanModel
from eeg2fmri.pipeline_inputs import window_shape

ARRAYS = ("Tensor", "ndarray", "ModelVolumes", "BOLDVolumes", "EEGSpectra", "EEGSignals")
CALLABLES = {
    "pipeline": EEG2fMRIPipeline.__call__,
    "encoder": EPGModel.forward,
    "unet": FDUNetModel.forward,
    "prior": ConditionalMeanModel.forward,
    "eeg processor": EEGProcessor.__call__,
    "postprocess": VolumeProcessor.postprocess,
    "to_image": VolumeProcessor.to_image,
}
NO_TENSOR = {("pipeline", "reference")}  # a path or a BOLDRun


def tensor_arguments() -> set[tuple[str, str]]:
    """All arguments that may be an array: by their annotation, or because they have none."""
    found = set()
    for name, function in CALLABLES.items():
        for argument in list(inspect.signature(function).parameters.values())[1:]:
            untyped = argument.annotation in (inspect.Parameter.empty, "Any")
            if untyped or any(word in str(argument.annotation) for word in ARRAYS):
                found.add((name, argument.name))
    return found - NO_TENSOR


@pytest.fixture(scope="module")
def pipes():
    """Without and with a prior."""
    return tiny.pipeline(), tiny.pipeline(with_prior=True)


def call(pipes, name: str, **arguments):
    pipe, with_prior = pipes
    processor = pipe.volume_processor
    tokens = torch.zeros(2, 40, 16)
    if "prior_volumes" in arguments:
        return with_prior(eeg_embeds=torch.zeros(2, 1, 16), **arguments, num_inference_steps=1, output_type="latent")
    if name == "prior":
        return with_prior.prior(**arguments)
    if name == "pipeline":
        given = {} if arguments.keys() & {"eeg", "eeg_embeds"} else {"eeg": tiny.recording()}
        if "negative_eeg_embeds" in arguments:
            given = {"eeg_embeds": tokens}
        return pipe(**given, **arguments, num_inference_steps=1, output_type="latent")
    if name == "encoder":
        return pipe.eeg_encoder(**arguments)
    if name == "unet":
        given = {"sample": torch.zeros(2, 2, *tiny.SAMPLE), "timestep": 1, "encoder_hidden_states": tokens}
        return pipe.unet(**{**given, **arguments})
    if name == "eeg processor":
        return pipe.eeg_processor(**{"eeg": tiny.recording(), "onsets": [10.0], **arguments})
    if name == "postprocess":
        return processor.postprocess(**arguments, reference=processor.reference())
    return processor.to_image(**arguments, reference=processor.reference(), repetition_time=2.0)


WINDOWS, LATENTS, NOISY, TOKENS = (7, 1, 8, 6, 4), (7, 1, *tiny.SAMPLE), (2, 2, *tiny.SAMPLE), (2, 40, 16)
SPECTRA = (2, *window_shape(tiny.complex_processor()))
GRID_VOLUMES = (2, *tiny.GRID)
VOLUME_AXES = r"volume|\[N, 1, 8, 8, 8\]|\[N, 8, 8, 6\]"
# Of each argument: the right shape, and what the message says when an axis is one too long (None: any length will do).
AXES = {
    ("pipeline", "eeg"): (WINDOWS, (None, "channel", "electrode", "frequency", "window")),
    ("pipeline", "latents"): (LATENTS, ("volume", "channel", "'D'", "'H'", "'W'")),
    ("pipeline", "eeg_embeds"): (TOKENS, (None, None, "channel")),
    ("pipeline", "negative_eeg_embeds"): (TOKENS, ("volume", "token", "channel")),
    ("encoder", "sample"): (WINDOWS, (None, "channel", "electrode", "frequency", "window")),
    ("unet", "sample"): (NOISY, (None, "channel", "depth", "height", "width")),
    ("unet", "encoder_hidden_states"): (TOKENS, ("batch", None, "channel")),
    ("pipeline", "prior_volumes"): ((2, 1, *tiny.SAMPLE), ("volume", "channel", "'D'", "'H'", "'W'")),
    ("prior", "sample"): (SPECTRA, (None, "channel", "electrode", "frequency", "window")),
    ("unet", "timestep"): ((2,), ("2 volumes",)),
    ("postprocess", "volumes"): ((2, 1, *tiny.SAMPLE), (None, *[VOLUME_AXES] * 4)),
    ("to_image", "volumes"): (GRID_VOLUMES, (None, *[VOLUME_AXES] * 3)),
    ("pipeline", "onsets"): ((1,), (None,)),
    ("eeg processor", "eeg"): ((8, 1280), (None, None)),
    ("eeg processor", "onsets"): ((1,), (None,)),
}
NAMED = {("eeg processor", "eeg"): {"electrodes": list(tiny.ELECTRODES), "sampling_rate": tiny.SAMPLING_RATE}}


def refused(pipes, case, value) -> InputError:
    name, argument = case
    with pytest.raises(InputError) as caught:
        call(pipes, name, **{argument: value}, **NAMED.get(case, {}))
    assert caught.value.found
    assert caught.value.expected
    return caught.value


def test_every_tensor_argument_has_a_case():
    assert tensor_arguments() == set(AXES)


@pytest.mark.parametrize(
    ("case", "axis"), [(case, axis) for case, (_, words) in AXES.items() for axis, word in enumerate(words) if word]
)
def test_a_wrong_length_names_the_axis(pipes, case, axis):
    shape, words = AXES[case]
    longer = [size + (index == axis) for index, size in enumerate(shape)]
    error = refused(pipes, case, torch.zeros(longer))
    assert any(word.strip("\\") in str(error) for word in words[axis].replace("\\", "").split("|"))
    assert str(longer[axis]) in error.found


@pytest.mark.parametrize("case", AXES)
def test_a_wrong_number_of_axes(pipes, case):
    shape, _ = AXES[case]
    found = refused(pipes, case, torch.zeros((1, *shape, 1))).found
    assert "shape" in found
    assert str(shape[-1]) in found


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, torch.complex64) for case in AXES]
    # Elsewhere, numbers of any kind are taken.
    + [(case, torch.bool) for case in AXES if case[1] not in ("onsets", "timestep", "volumes")],
)
def test_a_wrong_dtype(pipes, case, dtype):
    message = str(refused(pipes, case, torch.ones(AXES[case][0], dtype=dtype)))
    assert str(dtype).removeprefix("torch.") in message or "real numbers" in message


@pytest.mark.parametrize("case", AXES)
def test_a_device_without_content(pipes, case):
    message = str(refused(pipes, case, torch.ones(AXES[case][0], device="meta")))
    assert "meta" in message or "real numbers" in message


@pytest.mark.parametrize("value", ["x", object(), {}])
@pytest.mark.parametrize(
    "case", [case for case in AXES if case not in {("pipeline", "eeg"), ("eeg processor", "eeg")}]
)
def test_no_tensor_at_all(pipes, case, value):
    refused(pipes, case, value)


@pytest.mark.parametrize(
    "case", [("encoder", "sample"), ("prior", "sample"), ("unet", "sample"), ("unet", "encoder_hidden_states")]
)
def test_networks_take_their_own_dtype_only(pipes, case):
    assert "float64" in refused(pipes, case, torch.zeros(AXES[case][0], dtype=torch.float64)).found


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "case",
    [case for case in AXES if case[0] == "pipeline"] + [("postprocess", "volumes"), ("eeg processor", "onsets")],
)
def test_values_that_are_no_numbers(pipes, case, value):
    error = refused(pipes, case, torch.full(AXES[case][0], value))
    assert error.subject == case[1]
    assert "NaN" in error.found
