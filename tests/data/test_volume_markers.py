"""The scanner's markers: which one, and when every stored volume began."""

import numpy as np
import pytest

from eeg2fmri.data.volume_markers import find_alignment, spans, stated_alignment
from eeg2fmri.errors import RecordingError
from eeg2fmri.recordings.eeg import EEGRecording, Marker

TR = 2.0
VOLUMES = 7.5 + TR * np.arange(100)


def recording(markers: dict, rate: float = 250.0) -> EEGRecording:
    events = [Marker(float(onset), name) for name, onsets in markers.items() for onset in onsets]
    return EEGRecording(np.zeros((2, 10)), ("Cz", "Pz"), rate, tuple(sorted(events, key=lambda e: e.onset)), "x.vhdr")


@pytest.mark.parametrize("name", ["Response/R128", "Scanner/Scan Start", "Stimulus/T", "T"])
def test_the_marker_of_any_name_is_found_among_others_and_the_reason_kept(name):
    others = {
        "SyncStatus/Sync On": 0.2 + 1.9 * np.arange(120),
        "Pulse Artifact/R": np.cumsum(0.8 + 0.1 * np.sin(range(250))),
    }
    found = find_alignment(recording({name: VOLUMES, **others}), 100, TR)
    assert (found.marker, found.offset, found.lead_in) == (name, 7.5, 0)
    assert found.spacing == pytest.approx(TR)
    assert "100 events 2 s apart for 100 stored volumes" in found.reason
    np.testing.assert_array_equal(found.onsets, VOLUMES)


@pytest.mark.parametrize("named", ["Response/R128", "R128", "*R128", "Response/*"])
def test_a_marker_is_named_wholly_in_short_or_by_a_pattern(named):
    twins = recording({"Response/R128": VOLUMES, "Stimulus/S  1": VOLUMES + 0.5})
    assert find_alignment(twins, 100, TR, marker=named).offset == 7.5
    with pytest.raises(RecordingError, match="2 fitting markers"):
        find_alignment(twins, 100, TR)
    with pytest.raises(RecordingError, match="0 fitting markers"):
        find_alignment(twins, 100, TR, marker="R12")


def test_the_amplifier_s_clock_is_no_volume_marker_unless_it_is_named():
    clock = 1.2 + TR * np.arange(100)
    found = find_alignment(recording({"T": np.delete(VOLUMES, 50), "SyncStatus/Sync On": clock}), 100, TR)
    assert (found.marker, found.filled) == ("T", (50,))
    alone = recording({"SyncStatus/Sync On": clock})
    with pytest.raises(RecordingError, match="0 fitting markers among 'SyncStatus/Sync On'"):
        find_alignment(alone, 100, TR)
    assert find_alignment(alone, 100, TR, marker="Sync On").offset == pytest.approx(1.2)


def test_a_whole_train_does_not_beat_one_with_dropped_markers():
    both = recording({"T": np.delete(VOLUMES, 50), "Clock/C": 1.2 + TR * np.arange(100)})
    with pytest.raises(RecordingError, match=r"2 fitting markers \('Clock/C', 0 dropped, 'T', 1 dropped\).*Name the"):
        find_alignment(both, 100, TR)
    assert find_alignment(both, 100, TR, marker="T").filled == (50,)


@pytest.mark.parametrize("dropped", [[50], [1, 2, 3], [10, 40, 41, 77, 98]])
def test_dropped_markers_are_filled_and_said(dropped):
    found = find_alignment(recording({"T": np.delete(VOLUMES, dropped)}), 100, TR)
    np.testing.assert_allclose(found.onsets, VOLUMES, atol=1e-9)
    assert found.filled == tuple(dropped)
    assert f"{len(dropped)} dropped markers were filled, of volumes" in found.warnings[0]


def test_filled_onsets_follow_a_drifting_clock():
    drifting = 7.5 + 1.0004 * TR * np.arange(100)
    found = find_alignment(recording({"T": np.delete(drifting, [30, 31])}), 100, TR)
    np.testing.assert_allclose(found.onsets, drifting, atol=1e-9)
    assert found.drift == pytest.approx(99 * TR * 0.0004)
    found = find_alignment(recording({"T": 7.5 + 1.002 * TR * np.arange(100)}), 100, TR)
    assert "drift apart by 0.396 s" in found.warnings[0]


@pytest.mark.parametrize(
    "times",
    [
        np.delete(VOLUMES, range(40, 46)),  # 6 % dropped
        np.delete(VOLUMES, [0]),  # no gap says at which end
        np.delete(VOLUMES, [99]),
        np.append(VOLUMES, VOLUMES[-1] + TR),
        np.sort(np.append(VOLUMES, 30.0)),  # a stray trigger
        np.where(np.arange(100) < 50, VOLUMES, VOLUMES + 0.7),  # a pause that is no whole number
        7.5 + 1.01 * TR * np.arange(100),  # a sampling rate that is off by 1 %
        np.repeat(VOLUMES, 2),
    ],
    ids=["too many dropped", "first", "last", "one more", "stray", "pause", "rate", "doubled"],
)
def test_what_does_not_fit_is_refused_and_never_cut(times):
    with pytest.raises(RecordingError, match=r"x\.vhdr: found 0 fitting markers among 'T' \(\d+ events"):
        find_alignment(recording({"T": times}), 100, TR)


def test_a_mismatch_names_counts_and_seconds_of_both_sides_and_the_way_out():
    with pytest.raises(RecordingError, match=r"98 markers over 194\.000 s .* 100 volumes over 198\.000 s.*\(-2 if"):
        find_alignment(recording({"T": VOLUMES[2:]}), 100, TR)


def test_markers_before_the_first_stored_volume():
    found = find_alignment(recording({"T": VOLUMES}), 97, TR, lead_in=3)
    np.testing.assert_array_equal(found.onsets, VOLUMES[3:])
    assert (found.offset, found.lead_in, found.warnings) == (VOLUMES[3], 3, ())
    assert "lead-in 3 as stated" in found.reason


def test_stored_volumes_before_the_first_marker_have_no_onset():
    found = find_alignment(recording({"T": VOLUMES[2:]}), 100, TR, lead_in=-2)
    assert np.isnan(found.onsets[:2]).all()
    np.testing.assert_array_equal(found.onsets[2:], VOLUMES[2:])
    assert found.offset == pytest.approx(VOLUMES[0])
    assert found.warnings == ("2 stored volumes have no marker and are not used: 0-1",)


def test_with_a_lead_in_both_ends_may_differ_and_are_said():
    found = find_alignment(recording({"T": VOLUMES[2:90]}), 100, TR, lead_in=-2)
    assert found.warnings == ("12 stored volumes have no marker and are not used: 0-1, 90-99",)
    found = find_alignment(recording({"T": VOLUMES}), 90, TR, lead_in=3)
    assert found.warnings == ("7 markers follow the last stored volume",)
    with pytest.raises(RecordingError, match="0 fitting markers"):
        find_alignment(recording({"T": VOLUMES}), 100, TR, lead_in=99)


def test_gaps_are_filled_beside_a_lead_in():
    found = find_alignment(recording({"T": np.delete(VOLUMES, [1, 50])}), 97, TR, lead_in=3)
    np.testing.assert_allclose(found.onsets, VOLUMES[3:], atol=1e-9)
    assert found.filled == (47,)


def test_a_coarse_clock_is_no_irregular_marker():
    coarse = np.round(np.arange(300) * 0.72 * 64) / 64  # 64 Hz beside 0.72 s: steps are off by up to 1 %
    assert find_alignment(recording({"T": coarse}, rate=64.0), 300, 0.72).marker == "T"


def test_a_stated_onset_warns_that_nothing_confirms_it():
    found = stated_alignment(recording({}), -2.742, 5, 1.0)
    np.testing.assert_allclose(found.onsets, [-2.742, -1.742, -0.742, 0.258, 1.258])
    assert found.marker is None
    assert "no volume marker confirms" in found.warnings[0]


def test_a_stated_onset_is_compared_with_markers_that_are_there():
    found = stated_alignment(recording({"T": VOLUMES}), 0.0, 100, TR)
    assert found.onsets[0] == 0.0
    assert found.warnings == ("'T' contradicts it: by that marker the first volume is at 7.500 s",)
    found = stated_alignment(recording({"T": VOLUMES}), 7.501, 100, TR)
    assert found.warnings == ()
    assert found.reason.endswith("as 'T' confirms")


@pytest.mark.parametrize("name", ["New Segment/", "boundary", "BAD boundary", "Stimulus/boundary"])
def test_a_stated_onset_does_not_reach_over_a_break(name):
    for harmless in (0.0, -3.0, 9.0):
        assert stated_alignment(recording({name: [harmless]}), 0.5, 5, TR).offset == 0.5
    with pytest.raises(RecordingError, match=rf"'{name}' at 4\.000 s, where the recording was interrupted"):
        stated_alignment(recording({name: [0.0, 4.0]}), 0.5, 5, TR)
    marked = recording({name: [0.0, 4.0], "T": VOLUMES})
    assert stated_alignment(marked, 7.5, 100, TR).warnings == ()


def test_spans():
    assert spans([]) == ""
    assert spans([0, 1, 2, 5, 8, 9]) == "0-2, 5, 8-9"


def test_a_lost_first_marker_is_not_guessed_and_filled_ones_are_no_lead_in():
    lost = recording({"Response/R128": np.delete(VOLUMES, [0, 40, 41])})
    with pytest.raises(RecordingError, match=r"99 markers.*state the lead-in \(-1 if the difference"):
        find_alignment(lost, 100, TR)
    found = find_alignment(lost, 100, TR, lead_in=-1)
    assert (found.offset, found.filled) == (7.5, (40, 41))
    np.testing.assert_allclose(found.onsets[1:], VOLUMES[1:])
