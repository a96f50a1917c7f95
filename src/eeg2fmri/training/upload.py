"""Put what a run has published on the Hub, with a model card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub
from huggingface_hub import ModelCardData

from ..errors import EEG2fMRIError, InputError
from .config import TrainingConfig

CARD_NAME = "README.md"


def check_upload(config: TrainingConfig) -> None:
    """Refuse `--push_to_hub` without a token, and of what starts from a pipeline that others can't find.

    Raises:
        InputError: with how to give one, or where to start from.
    """
    if not config.push_to_hub:
        return
    start = config.pretrained_model_name_or_path
    if start and Path(start).is_dir():
        raise InputError(
            "--push_to_hub",
            found=f"a start from the folder {start}, which the training record would name",
            expected="a start from the Hub or from an embedded pipeline",
            remedy="Push that pipeline first, and start from its id.",
        )
    if not _token(config):
        raise InputError(
            "--push_to_hub",
            found="no token of the Hub",
            expected="one with the right to write",
            remedy="Log in with `hf auth login`, set HF_TOKEN, or give --hub_token.",
        )


def make_repository(config: TrainingConfig) -> str:
    """Make the run's repository on the Hub if need be; returns its whole id.

    Raises:
        EEG2fMRIError: when the Hub refuses it or is out of reach.
    """
    name = config.hub_model_id or Path(config.output_dir).absolute().name
    with _of_the_hub(name, "Check the id, the token and the network."):
        return huggingface_hub.create_repo(name, token=_token(config), exist_ok=True).repo_id


def upload(config: TrainingConfig, repository: str, files: list[str]) -> None:
    """Upload the published files, and nothing else of the output folder.

    Raises:
        EEG2fMRIError: when it fails; the model is in the output folder then.
    """
    remedy = f"The model is in {config.output_dir}; the same command with --resume_from_checkpoint latest uploads it."
    with _of_the_hub(repository, remedy):
        huggingface_hub.upload_folder(
            repo_id=repository,
            folder_path=config.output_dir,
            allow_patterns=files,
            commit_message="End of training",
            token=_token(config),
        )


def model_card(config: TrainingConfig, record: dict) -> str:
    """A model card that says what is known after training, with the metadata that the Hub reads.

    Args:
        config ([`TrainingConfig`]): the run's settings.
        record (`dict`): the run's training record.
    """
    data = ModelCardData(library_name="diffusers", pipeline_tag="other", tags=["eeg", "fmri", "eeg2fmri"])
    if config.pretrained_model_name_or_path and not Path(config.pretrained_model_name_or_path).exists():
        data.base_model = config.pretrained_model_name_or_path
    validation = {name: value for name, value in (record["last_validation"] or {}).items() if name != "step"}
    scores = "\n".join(f"- `{name}`: {value:.4g}" for name, value in validation.items())
    return f"""---
{data.to_yaml()}
---

# {Path(config.output_dir).absolute().name}

Generates fMRI volumes from EEG: `{config.model}` of eeg2fmri, {record["step"]} steps on
{len(record["training_subjects"])} subjects; `training.json` has the settings.

Last validation during training, which is no evaluation (`eeg2fmri evaluate`):

{scores or "- none"}
"""


def _token(config: TrainingConfig) -> str | None:
    return config.hub_token or huggingface_hub.get_token()


@contextmanager
def _of_the_hub(repository: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of its HTTP library, which differs by version
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EEG2fMRIError(
            repository, found=f"that the Hub doesn't take it ({reason[0]})", expected="an upload", remedy=remedy
        ) from error
