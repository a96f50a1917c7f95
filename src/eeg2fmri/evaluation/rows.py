"""The rows of the table: every predictor that a model is put beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..baselines.features import alpha_features, latent_features, sensor_features
from ..baselines.means import OwnMean, PreviousVolume, TrainingMean, Zeros
from ..baselines.oracle import Oracle
from ..baselines.ridge import Ridge
from ..baselines.run import Predictor
from ..baselines.spatial_filter import source_features
from ..pipeline import EEG2fMRIPipeline
from .model_rows import CONTROLS, DiffusionModel, PriorModel
from .runs import DatasetRun

MODEL, ONE_STEP, ONE_SAMPLE, PRIOR = "model", "model_one_step", "model_one_sample", "model_prior"
CONTROL_ROWS = tuple(f"{MODEL}_{control}" for control in CONTROLS[1:])
TRAINING_MEAN, RIDGE, ORACLE = "training_mean", "sensor_ridge", "oracle"


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        name: its key in the results.
        title: what readers see.
        sees: what it is given of a test run.
        predictor ([`Predictor`]): makes it.
        num_samples: independent samples of every volume, whose mean is scored.
        num_steps: denoising steps of each sample; 0 for what is no diffusion model.
    """

    name: str
    title: str
    sees: str
    predictor: Predictor
    num_samples: int = 1
    num_steps: int = 0


def baseline_rows() -> list[Row]:
    """What every model is put beside."""
    return [
        Row("zeros", "zeros", "nothing", Zeros()),
        Row(TRAINING_MEAN, "training mean", "nothing", TrainingMean()),
        Row("own_mean", "own mean (first 30 volumes)", "BOLD", OwnMean()),
        Row("previous_volume", "previous volume", "BOLD", PreviousVolume()),
        Row("posterior_alpha", "posterior alpha x HRF", "EEG", Ridge(alpha_features)),
        Row(RIDGE, "sensor ridge", "EEG", Ridge(sensor_features)),
        Row("spatial_filter_ridge", "spatial-filter ridge", "EEG", Ridge(source_features)),
        Row("latent_ridge", "latent ridge (truth)", "truth", Ridge(latent_features)),
        Row(ORACLE, "oracle: EEG-driven part (truth)", "truth", Oracle()),
    ]


def model_rows(
    pipe: EEG2fMRIPipeline,
    runs: Sequence[DatasetRun],
    *,
    num_samples: int,
    num_control_samples: int,
    num_inference_steps: int,
    batch_size: int,
    seed: int,
) -> list[Row]:
    """The model, and what is left of it without its EEG."""
    titles = {
        "none": f"model, mean of {num_samples}",
        "shifted": "model, EEG shifted in a circle",
        "other_subject": "model, EEG of another subject",
        "zeroed": "model, EEG zeroed",
        "unconditional": "model, unconditional",
    }

    def row(name: str, title: str, control: str, samples: int, steps: int) -> Row:
        model = DiffusionModel(
            pipe,
            runs,
            num_samples=samples,
            num_inference_steps=steps,
            batch_size=batch_size,
            seed=seed,
            control=control,
        )
        return Row(name, title, "nothing" if control == "unconditional" else "EEG", model, samples, steps)

    rows = []
    if pipe.prior is not None:
        rows.append(Row(PRIOR, "model's prior (regression)", "EEG", PriorModel(pipe, batch_size)))
    rows += [
        row(ONE_STEP, "model, one step (conditional mean)", "none", 1, 1),
        row(
            MODEL, titles["none"] if num_samples > 1 else "model, one sample", "none", num_samples, num_inference_steps
        ),
    ]
    return rows + [
        row(name, titles[control], control, num_control_samples, num_inference_steps)
        for name, control in zip(CONTROL_ROWS, CONTROLS[1:], strict=True)
    ]
