"""What all pipelines share: a damaged folder is one typed error."""

from __future__ import annotations

import inspect
import os

import torch
from diffusers import DiffusionPipeline

from .errors import CheckpointError, EEG2fMRIError


class CheckedPipeline(DiffusionPipeline):
    """A diffusers pipeline that says what is wrong with the files that it is loaded from."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs):
        """Load a pipeline as diffusers' method does, with all of its options.

        Raises:
            CheckpointError: when a file of a folder is missing, damaged or of another pipeline, or components do not
                fit together.
            InputError: when an unsafe option is asked for.
            NotImplementedError: when diffusers has no such option, such as a `device_map`.
        """
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        except (NotImplementedError, MemoryError, torch.OutOfMemoryError):
            raise  # an option that there is not, or a machine that is too small: the files are not to blame
        except Exception as error:
            folder, arguments = os.fspath(pretrained_model_name_or_path), inspect.signature(cls).parameters
            # A component's own error tells more than this one would.
            told = isinstance(error, EEG2fMRIError) and (
                folder in error.subject or kwargs.keys() & {error.subject, *arguments}
            )
            if told or not os.path.isdir(folder):
                raise
            # What a damaged index or scheduler raises in diffusers depends on where it is damaged.
            reason = [*str(error).strip().splitlines(), type(error).__name__][0]
            raise CheckpointError(
                folder,
                found=f"that it can't be loaded ({reason})",
                expected=f"a whole {cls.__name__}",
                remedy="Download or save it again.",
            ) from error
