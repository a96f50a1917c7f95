"""Which pairs are in which part: nothing shared, nothing lost."""

import itertools

import numpy as np
import pytest

from eeg2fmri.data.splits import (
    HRF_DURATION,
    PARTS,
    RunPairs,
    check_apart,
    k_fold,
    leave_one_out,
    paper_split,
    split_subjects,
    split_within_runs,
    whole_runs,
)
from eeg2fmri.errors import InputError

NAMES = [f"{number:02d}" for number in range(17)]


def sizes(split):
    return tuple(len(split[part]) for part in PARTS)


def is_partition(split, names):
    return sorted(itertools.chain(*split.values())) == sorted(names)


def test_subjects_are_in_one_part_each_whatever_their_order():
    split = split_subjects([*NAMES, *NAMES], 2, 3, seed=1)
    assert sizes(split) == (12, 2, 3)
    assert is_partition(split, NAMES)
    assert split == split_subjects(NAMES[::-1], 2, 3, seed=1)
    assert split != split_subjects(NAMES, 2, 3, seed=2)


def test_a_split_needs_a_subject_to_train_on():
    with pytest.raises(InputError, match="2 subjects for 1 validation and 1 test"):
        split_subjects(["a", "b", "a"], 1, 1, seed=0)


def test_the_paper_s_numbers_of_subjects():
    assert sizes(paper_split(NAMES, "xp2", seed=0)) == (13, 2, 2)
    split = paper_split(NAMES[:16], "noddi", seed=0)
    assert sizes(split) == (8, 1, 1)
    assert is_partition(split, NAMES[:10])
    for names, layout in ((NAMES, "bids"), (NAMES[:9], "noddi")):
        with pytest.raises(InputError, match="10 of 'noddi' or 17 of 'xp2'"):
            paper_split(names, layout, seed=0)


def test_every_subject_is_tested_once_in_k_folds():
    folds = k_fold(NAMES, 5, 2, seed=0)
    assert all(is_partition(fold, NAMES) for fold in folds)
    assert sorted(itertools.chain(*(fold["test"] for fold in folds))) == NAMES
    assert {len(fold["test"]) for fold in folds} == {3, 4}
    for count in (1, 18):
        with pytest.raises(InputError, match=f"{count} folds of 17"):
            k_fold(NAMES, count, 1, seed=0)


def test_leave_one_out():
    splits = leave_one_out(NAMES, 1, seed=0)
    assert {subject: split["test"] for subject, split in splits.items()} == {name: [name] for name in NAMES}
    assert all(is_partition(split, NAMES) for split in splits.values())


def test_a_subject_in_two_parts_is_refused():
    with pytest.raises(InputError, match="b in several parts"):
        check_apart({"train": ["a", "b"], "validation": ["b"], "test": []})
    with pytest.raises(InputError, match="no training subject"):
        check_apart({"train": [], "validation": ["b"], "test": []})


def test_whole_runs_take_all_pairs_of_their_subjects():
    runs = [RunPairs("r1", "a", np.arange(5)), RunPairs("r2", "a", np.arange(7)), RunPairs("r3", "b", np.arange(2))]
    stretches = whole_runs({"train": ["a"], "test": ["b"]}, runs)
    assert stretches == {"train": {"r1": (0, 5), "r2": (0, 7)}, "validation": {}, "test": {"r3": (0, 2)}}


@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.0, 0.3), (0.25, 0.0)])
@pytest.mark.parametrize("onsets", [21.6 + 2.16 * np.arange(290), np.arange(10.0, 320.0), np.arange(500) ** 1.05])
def test_no_window_and_no_response_crosses_a_gap(onsets, shares):
    window = (-21.6, 0.0)
    stretches = split_within_runs([RunPairs("r", "a", onsets)], window, *shares, None)
    kept = [onsets[slice(*stretches[part]["r"])] for part in PARTS if "r" in stretches[part]]
    assert len(kept) == 1 + sum(share > 0 for share in shares)
    assert (kept[0][0], kept[-1][-1]) == (onsets[0], onsets[-1])
    for before, after in itertools.pairwise(kept):
        # What the later window holds comes after all that the earlier volume, and its response, can reflect.
        assert after[0] + window[0] >= before[-1] + HRF_DURATION
        assert after[0] - HRF_DURATION >= before[-1] + window[1]
    used = [part[-1] - part[0] for part in kept]
    wanted = [share for share in (1 - sum(shares), *shares) if share]
    np.testing.assert_allclose(np.array(used) / sum(used), wanted, atol=0.05)


@pytest.mark.parametrize(
    ("seconds", "shares", "gap", "words"),
    [
        (600, (0.5, 0.5), None, "shares"),
        (600, (-0.1, 0.1), None, "shares"),
        (600, (0.1, 0.1), 40.0, "at least 53.6 s"),
        (600, (0.1, 0.1), float("nan"), "at least 53.6 s"),
        (100, (0.1, 0.1), None, "gaps of 53.6 s"),
    ],
)
def test_impossible_splits_within_runs_are_refused(seconds, shares, gap, words):
    run = RunPairs("r", "a", np.arange(0.0, seconds, 2.0))
    with pytest.raises(InputError, match=words):
        split_within_runs([run], (-21.6, 0.0), *shares, gap)
