import numpy as np
import pytest

from eeg2fmri.data.alignment import volume_onsets
from eeg2fmri.errors import RecordingError
from eeg2fmri.recordings.eeg import EEGRecording, Marker


def recording(**markers) -> EEGRecording:
    events = [Marker(float(onset), name) for name, onsets in markers.items() for onset in onsets]
    return EEGRecording(np.zeros((2, 10)), ("Cz", "Pz"), 250.0, tuple(sorted(events, key=lambda e: e.onset)), "x.vhdr")


VOLUMES = 129.568 + 2.16 * np.arange(300)


def test_the_marker_is_found_by_count_and_spacing_wherever_it_starts():
    slices = VOLUMES[0] + 0.072 * np.arange(9000)
    found = volume_onsets(recording(volume=VOLUMES, slice=slices, start=[0.0]), 300, 2.16)
    np.testing.assert_array_equal(found, VOLUMES)


def test_a_named_marker_decides_between_two_that_fit():
    both = recording(scanner=VOLUMES, sync=VOLUMES + 0.5)
    with pytest.raises(RecordingError, match=r"2 fitting markers.*'scanner' \(300 events.*'sync'"):
        volume_onsets(both, 300, 2.16)
    np.testing.assert_array_equal(volume_onsets(both, 300, 2.16, "sync"), VOLUMES + 0.5)


@pytest.mark.parametrize(
    "markers",
    [
        {},
        {"volume": VOLUMES[:-1]},
        {"volume": np.append(VOLUMES, VOLUMES[-1] + 2.16)},
        {"volume": np.delete(np.append(VOLUMES, VOLUMES[-1] + 2.16), 100)},
        {"volume": VOLUMES * 1.02},
    ],
    ids=["none", "one missing", "one more", "one dropped in the middle", "other spacing"],
)
def test_markers_that_do_not_fit_are_listed_and_never_cut(markers):
    with pytest.raises(RecordingError, match=r"x\.vhdr: found 0 fitting markers.*300 events 2\.16 s apart"):
        volume_onsets(recording(**markers), 300, 2.16)
