"""What a run is relative to in the min-max modes, and templates that can't be."""

import numpy as np
import pytest

import tiny
from eeg2fmri import BOLDRun, VolumeProcessor
from eeg2fmri.errors import CheckpointError


@pytest.mark.parametrize("mode", ["minmax_volume", "minmax_run"])
def test_minmax_modes_need_neither_brain_nor_changes(mode, monkeypatch):
    monkeypatch.delattr(VolumeProcessor, "_changes")
    processor, run = VolumeProcessor(mode, tiny.SAMPLE, tiny.GRID, tiny.REPETITION_TIME), tiny.bold()
    demeaned = BOLDRun(run.volumes - run.volumes.mean(axis=3, keepdims=True), run.affine, run.repetition_time)
    reference = processor.reference(demeaned)
    assert reference.low < 0 < reference.high
    np.testing.assert_array_equal(reference.mask, processor.pad(np.ones(tiny.GRID[::-1], bool), False))
    model = processor.preprocess(demeaned, reference)
    assert np.abs(model).max() == 1
    if mode == "minmax_run":
        returned = processor.postprocess(model, reference)
        np.testing.assert_allclose(returned, np.moveaxis(demeaned.volumes, 3, 0), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("template_mean", lambda array, mask: array[1:], "shapes"),
        ("template_mask", lambda array, mask: array.astype(np.float32), "template_mask of float32"),
        ("template_mask", lambda array, mask: array & False, "template_mask of bool, 0 voxels"),
        ("template_scale", lambda array, mask: array * ~mask, "template_scale of 0"),
        ("template_scale", lambda array, mask: -array, "template_scale of -"),
    ],
)
def test_impossible_templates_are_refused(tmp_path, name, change, words):
    processor = tiny.volume_processor()
    setattr(processor, name, change(getattr(processor, name), processor.template_mask))
    processor.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=rf"arrays\.json.*{words}"):
        VolumeProcessor.from_pretrained(tmp_path)
