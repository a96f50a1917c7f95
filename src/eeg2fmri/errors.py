"""The typed errors. Each one says what is concerned, what was found, what was expected and what to do about it."""

from __future__ import annotations

import os


class EEG2fMRIError(Exception):
    """Base of every error that eeg2fmri raises for bad input.

    Args:
        subject (`str` or `os.PathLike`): the file or the argument that is concerned.
        found (`str`): what was found there.
        expected (`str`): what would have been right.
        remedy (`str`): what to do about it, as a sentence.
    """

    def __init__(self, subject: str | os.PathLike, *, found: str, expected: str, remedy: str):
        self.subject = os.fspath(subject)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{self.subject}: found {found}; expected {expected}. {remedy}")

    def __str__(self) -> str:
        # OSError has a __str__ of its own that shows errno and file name instead of the message.
        return self.args[0]

    def __reduce__(self):
        # Keyword-only arguments do not survive the default pickling, which worker processes rely on.
        fields = {"found": self.found, "expected": self.expected, "remedy": self.remedy}
        return _rebuild, (type(self), self.subject, fields)


def _rebuild(cls: type[EEG2fMRIError], subject: str, fields: dict[str, str]) -> EEG2fMRIError:
    return cls(subject, **fields)


class InputError(EEG2fMRIError, ValueError):
    """An argument is wrong: shape, type, range, name or combination."""


class RecordingError(EEG2fMRIError, ValueError):
    """A recording can be read, but what it holds can't be used."""


class FileError(EEG2fMRIError, OSError):
    """A file is missing, empty, a pointer to its content, damaged or in no known format."""


class CheckpointError(EEG2fMRIError, OSError):
    """A saved model or processor is incomplete, damaged, or in a format that is never opened."""
