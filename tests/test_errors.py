import pickle
from pathlib import Path

import pytest

from eeg2fmri.errors import CheckpointError, EEG2fMRIError, FileError, InputError, RecordingError

FIELDS = {"found": "a pear", "expected": "an apple", "remedy": "Buy one."}


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [(InputError, ValueError), (RecordingError, ValueError), (FileError, OSError), (CheckpointError, OSError)],
)
def test_an_error_says_everything_and_is_caught_as_its_builtin_kind(cls, builtin):
    with pytest.raises(builtin, match=r"basket: found a pear; expected an apple\. Buy one\.") as caught:
        raise cls(Path("basket"), **FIELDS)
    assert isinstance(caught.value, EEG2fMRIError)
    assert caught.value.subject == "basket"


@pytest.mark.parametrize("cls", [EEG2fMRIError, InputError, FileError])
def test_an_error_survives_the_way_back_from_a_worker_process(cls):
    error = pickle.loads(pickle.dumps(cls("basket", **FIELDS)))
    assert type(error) is cls
    assert str(error) == str(cls("basket", **FIELDS))
    assert error.remedy == "Buy one."
