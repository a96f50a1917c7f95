"""The times in an image are those of its volumes, or it is not made."""

import numpy as np
import pytest
import torch

import tiny
import tiny_networks
from eeg2fmri.errors import InputError

WINDOWS = torch.zeros(3, 1, 8, 6, 4)


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline()


def times(image) -> tuple[float, float, int]:
    return float(image.header["pixdim"][4]), float(image.header["toffset"]), image.shape[3]


def generate(pipe, eeg=None, **options):
    return pipe(eeg, num_inference_steps=1, **options).volumes[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (2.0, 8.0, 7)),
        ({"repetition_time": 3.0}, (3.0, 8.0, 5)),
        ({"onsets": [9.0, 11.5, 14.0]}, (2.5, 9.0, 3)),
        ({"onsets": [9.0, 11.501, 14.0], "repetition_time": 2.5}, (2.5, 9.0, 3)),
        ({"onsets": [9.0]}, (2.0, 9.0, 1)),
        ({"onsets": [9.0], "repetition_time": 3.0}, (3.0, 9.0, 1)),
    ],
)
def test_a_recording(pipe, options, expected):
    assert times(generate(pipe, tiny.recording(), **options)) == expected


def test_windows_and_tokens(pipe):
    options = {"onsets": np.array([10.0, 13.0, 16.0])}
    assert times(generate(pipe, WINDOWS, **options)) == (3.0, 10.0, 3)
    assert times(generate(pipe, eeg_embeds=torch.zeros(3, 40, 16), **options)) == (3.0, 10.0, 3)
    assert times(generate(pipe, WINDOWS)) == (2.0, 8.0, 3)
    assert times(tiny_networks.pipeline()(WINDOWS, **options).volumes[0]) == (3.0, 10.0, 3)


def test_volumes_at_unequal_times_are_no_image(pipe):
    onsets = [8.0, 9.0, 15.0]
    with pytest.raises(InputError, match=r"onsets: found volumes 1 to 6 s apart.*one repetition time"):
        generate(pipe, tiny.recording(), onsets=onsets)
    with pytest.raises(InputError, match="onsets: found"):
        generate(pipe, tiny.recording(), onsets=[12.0, 10.0, 8.0])
    assert generate(pipe, tiny.recording(), onsets=onsets, output_type="np").shape == (3, *tiny.GRID)


@pytest.mark.parametrize(
    ("eeg", "options", "words"),
    [
        (WINDOWS, {"onsets": [8.0, 10.0]}, "onsets: found 2 times for 3 volumes"),
        (WINDOWS, {"onsets": [8.0, np.nan, 9.0]}, "onsets"),
        (WINDOWS, {"repetition_time": 0}, "repetition_time: found 0"),
        (WINDOWS, {"repetition_time": -3.0}, "repetition_time: found -3"),
        (WINDOWS, {"sampling_rate": 64.0}, "electrodes, sampling_rate: found values beside windows"),
        (WINDOWS, {"electrodes": list(tiny.ELECTRODES)}, "electrodes, sampling_rate"),
        (tiny.recording(), {"onsets": [8.0, 10.0], "repetition_time": 3.0}, "3 s beside onsets 2 s apart"),
        (tiny.recording(), {"repetition_time": 0}, "repetition_time: found 0"),
    ],
)
def test_times_that_can_not_be_are_refused(pipe, eeg, options, words):
    with pytest.raises(InputError, match=words):
        generate(pipe, eeg, **options)
