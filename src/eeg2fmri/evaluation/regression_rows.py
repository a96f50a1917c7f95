"""A one-pass network as a row of the table, and the same network kept from the EEG in three ways."""

from __future__ import annotations

from collections.abc import Sequence

from ..regression_pipeline import EEG2fMRIRegressionPipeline
from .model_rows import DiffusionModel
from .rows import MODEL, Row
from .runs import DatasetRun

# What becomes of the protocol's amounts where nothing is drawn.
ONE_PASS = {"samples": 1, "control_samples": 1, "steps": None, "sampler": None}
TITLES = {
    "none": "model, one pass",
    "shifted": "model, EEG shifted in a circle",
    "other_subject": "model, EEG of another subject",
    "zeroed": "model, EEG zeroed",
}


class RegressionModel(DiffusionModel):
    """A regression pipeline over whole runs; what is not drawn is the same in every sample, so that one is made.

    Args:
        pipe ([`EEG2fMRIRegressionPipeline`]): the model.
        runs: all test runs, of which the control `"other_subject"` takes the EEG.
        batch_size (`int`): volumes at once.
        seed (`int`): of the shift.
        control (`str`): as of [`DiffusionModel`], but for `"unconditional"`, which such a network can't be.
    """

    def __init__(
        self,
        pipe: EEG2fMRIRegressionPipeline,
        runs: Sequence[DatasetRun],
        *,
        batch_size: int,
        seed: int,
        control: str = "none",
    ):
        super().__init__(
            pipe, runs, num_samples=1, num_inference_steps=1, batch_size=batch_size, seed=seed, control=control
        )

    def _sampling(self, run: DatasetRun, position: int, sample: int) -> dict:
        return {}


def regression_rows(
    pipe: EEG2fMRIRegressionPipeline, runs: Sequence[DatasetRun], *, batch_size: int, seed: int
) -> list[Row]:
    """The model, and what is left of it without its EEG."""
    return [
        Row(
            MODEL if control == "none" else f"{MODEL}_{control}",
            title,
            "EEG",
            RegressionModel(pipe, runs, batch_size=batch_size, seed=seed, control=control),
            num_steps=1,
        )
        for control, title in TITLES.items()
    ]
