"""Which events table a run has, and what it says of its task."""

import numpy as np
import pytest

from eeg2fmri.errors import FileError
from eeg2fmri.evaluation.events import task_regressors
from eeg2fmri.recordings.sidecars import sidecars_of

TIMES = np.arange(320.0)
BLOCKS = "onset\tduration\ttrial_type\n" + "".join(f"{20 * i}\t20\t{('Rest', 'Task')[i % 2]}\n" for i in range(16))


def table(folder, text):
    (folder / "events.tsv").write_text(text)
    return folder / "events.tsv"


def test_the_real_tables_of_xp2_are_found_at_the_root_and_their_rest_is_none(shared_data):
    root = shared_data / "sidecars" / "ds002338"
    bold = root / "sub-xp201" / "func" / "sub-xp201_task-MIpost_bold.nii.gz"
    *_, found = sidecars_of(bold, "events", ".tsv")
    assert found == root / "task-MIpost_events.tsv"
    regressors = task_regressors(found, TIMES)
    assert regressors.shape == (320, 2)  # one condition and its derivative
    assert regressors[30:42, 0].min() > regressors[10:22, 0].max()


def test_rest_in_any_spelling_is_no_condition(tmp_path):
    for rest in ("rest", "Rest", "REST", "n/a"):
        assert task_regressors(table(tmp_path, BLOCKS.replace("Task", rest)), TIMES) is None
    assert task_regressors(table(tmp_path, BLOCKS), TIMES).shape == (320, 2)


def test_without_types_of_trials_there_is_one_condition(tmp_path):
    text = "onset\tduration\n20\t20\n60\t20\n"
    np.testing.assert_array_equal(
        task_regressors(table(tmp_path, text), TIMES),
        task_regressors(table(tmp_path, "onset\tduration\ttrial_type\n20\t20\tx\n60\t20\tx\n"), TIMES),
    )


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("onset\tduration\n2\tn/a\n", "'n/a' for duration in line 2"),
        ("onset\ttrial_type\n2\tx\n", "None for duration in line 2"),
        ("onset\tduration\n2\t1\n\tx\n", "'' for onset in line 3"),
    ],
)
def test_events_without_a_time_are_named(tmp_path, text, match):
    with pytest.raises(FileError, match=match):
        task_regressors(table(tmp_path, text), TIMES)
