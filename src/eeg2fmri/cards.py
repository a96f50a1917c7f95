"""Model cards: the table between the marks of a document, and the `model-index` that the Hub reads."""

from __future__ import annotations

import os

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .errors import FileError
from .files import publish_file
from .recordings.pointers import check_file

# A score that a mean volume attains without EEG appears as the difference to it, and r beside its controls.
SCORES = (
    "r",
    "r_net_of_global",
    "r_voxel",
    "ssim_3d_beyond_training_mean",
    "ssim_2d_beyond_training_mean",
    "psnr_beyond_training_mean",
    "rmse_beyond_training_mean",
)
CONTROLS = ("sensor_ridge", "model_shifted", "model_other_subject")


def model_index(results: dict) -> str:
    """The `model-index` block of a model card, as YAML: the model's scores, and r of its controls.

    Args:
        results (`dict`): of [`evaluation.protocol.evaluate`].
    """
    return str(_metadata(results).to_yaml()) + "\n"


def update_metadata(path: str | os.PathLike, results: dict) -> None:
    """Put the `model-index` of an evaluation into the front matter of a card; a document without any stays as it is.

    Args:
        path: the card.
        results (`dict`): of [`evaluation.protocol.evaluate`].

    Raises:
        FileError: when it can't be read or written.
    """
    text = check_file(path).read_text()
    if not text.startswith("---\n"):
        return
    card, measured = ModelCard(text), _metadata(results)
    assert isinstance(card.data, ModelCardData)  # of a model's card
    card.data.model_name, card.data.eval_results = measured.model_name, measured.eval_results
    with publish_file(path) as staged:
        staged.write_text(str(card))


def update_results(path: str | os.PathLike, text: str, mark: str = "results") -> None:
    """Put a text between the two marks `<!-- results -->` and `<!-- /results -->` of a document, such as a model card.

    Args:
        path: the document.
        text (`str`): in Markdown.
        mark (`str`): another word for the marks, where a document has several such places.

    Raises:
        FileError: when it has no marks.
    """
    marks = (f"<!-- {mark} -->", f"<!-- /{mark} -->")
    before, first, rest = check_file(path).read_text().partition(marks[0])
    _, second, after = rest.partition(marks[1])
    if not (first and second):
        raise FileError(
            path, found="no place for results", expected=" and ".join(marks), remedy="Put both marks into it."
        )
    with publish_file(path) as staged:
        staged.write_text(f"{before}{first}\n{text}\n{second}{after}")


def _metadata(results: dict) -> ModelCardData:
    rows, dataset = results["rows"], results["dataset"]
    shown = [("model", score) for score in SCORES] + [(control, "r") for control in CONTROLS if control in rows]
    entries = [
        EvalResult(
            task_type="eeg-to-fmri",
            task_name="EEG to fMRI",
            dataset_type="simulated" if dataset["simulated"] else "measured",
            dataset_name="simulated EEG-fMRI" if dataset["simulated"] else dataset["folder"],
            dataset_split="test",
            metric_type=score,
            metric_name=score if row == "model" else f"{score}, control: {rows[row]['title']}",
            metric_value=float(f"{rows[row]['scores'][score]['mean']:.4g}"),
        )
        for row, score in shown
        if rows[row]["scores"].get(score) is not None
    ]
    return ModelCardData(model_name=results["model"]["name"], eval_results=entries)
