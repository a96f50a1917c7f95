"""Which pairs are for training, validation and the test: pure functions of names and times.

Neighbouring pairs share nine of ten windows, so that a pair is never drawn by itself: parts are whole subjects, or
stretches of a run with a gap between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..randomness import seed_for

PARTS = ("train", "validation", "test")
HRF_DURATION = 32.0  # seconds until a haemodynamic response has died away (SPM's canonical one, nilearn's default)
# The paper's (section 3.5.1) training, validation and test subjects, of the first ones in sorted order.
PAPER_SUBJECTS = {"noddi": (8, 1, 1), "xp2": (13, 2, 2)}

Subjects = dict[str, list[str]]  # part -> subjects
Stretches = dict[str, dict[str, tuple[int, int]]]  # part -> run -> its first pair, and the one after its last


@dataclass(frozen=True)
class RunPairs:
    """The pairs of a run.

    Args:
        name (`str`): the run.
        subject (`str`): its subject.
        onsets (`np.ndarray` of shape `[pair]`): the volumes' onsets in EEG seconds, ascending.
    """

    name: str
    subject: str
    onsets: np.ndarray


def split_subjects(subjects: Sequence[str], num_validation: int, num_test: int, seed: int) -> Subjects:
    """Draw validation and test subjects; the others are for training.

    Raises:
        InputError: when no subject is left for training.
    """
    shuffled = _shuffled(subjects, seed)
    if num_validation < 0 or num_test < 0 or num_validation + num_test >= len(shuffled):
        raise InputError(
            "split",
            found=f"{len(shuffled)} subjects for {num_validation} validation and {num_test} test subjects",
            expected="at least one subject left for training",
            remedy="Ask for fewer validation and test subjects.",
        )
    test, rest = shuffled[:num_test], shuffled[num_test:]
    return _parts(rest[num_validation:], rest[:num_validation], test)


def paper_split(subjects: Sequence[str], layout: str, seed: int) -> Subjects:
    """The paper's numbers of subjects: 8/1/1 of NODDI's first ten, 13/2/2 of XP-2's seventeen; others are in no part.

    Raises:
        InputError: another dataset, or too few subjects.
    """
    names = sorted(set(subjects))
    if layout not in PAPER_SUBJECTS or len(names) < sum(PAPER_SUBJECTS[layout]):
        raise InputError(
            "split",
            found=f"{len(names)} subjects of the layout {layout!r}",
            expected=" or ".join(f"{sum(counts)} of {name!r}" for name, counts in PAPER_SUBJECTS.items()),
            remedy="Use a split by counts of subjects.",
        )
    counts = PAPER_SUBJECTS[layout]
    return split_subjects(names[: sum(counts)], counts[1], counts[2], seed)


def k_fold(subjects: Sequence[str], num_folds: int, num_validation: int, seed: int) -> list[Subjects]:
    """Folds whose test parts share no subject and hold all of them; sizes differ by one at most.

    Raises:
        InputError: fewer than two folds or subjects than folds, or none left for training.
    """
    shuffled = _shuffled(subjects, seed)
    if not 2 <= num_folds <= len(shuffled):
        raise InputError(
            "folds",
            found=f"{num_folds} folds of {len(shuffled)} subjects",
            expected="at least 2 folds, and a subject in each",
            remedy="Change the number of folds.",
        )
    return [_fold(shuffled, shuffled[fold::num_folds], num_validation, seed) for fold in range(num_folds)]


def leave_one_out(subjects: Sequence[str], num_validation: int, seed: int) -> dict[str, Subjects]:
    """One split for each subject, in whose test part it is alone.

    Raises:
        InputError: when no subject is left for training.
    """
    shuffled = _shuffled(subjects, seed)
    return {subject: _fold(shuffled, [subject], num_validation, seed) for subject in sorted(shuffled)}


def whole_runs(subjects: Subjects, runs: Sequence[RunPairs]) -> Stretches:
    """A split by subject as stretches: all pairs of the subjects' runs."""
    return {
        part: {run.name: (0, len(run.onsets)) for run in runs if run.subject in subjects.get(part, ())}
        for part in PARTS
    }


def split_within_runs(
    runs: Sequence[RunPairs],
    window: tuple[float, float],
    validation_share: float,
    test_share: float,
    gap: float | None,
) -> Stretches:
    """Training, validation and test, one after the other in every run, with a gap of pairs in no part between them.

    A window reaches from `onset + window[0]` to `onset + window[1]`, and a volume answers to what happened up to 32 s
    before it: onsets of different parts lie further apart than window and response together.

    Args:
        runs: of the dataset.
        window: seconds from a volume's onset to its window's start and stop.
        validation_share, test_share: of the pairs that are in a part; 0 leaves the part (and its gap) out.
        gap: seconds between the onsets of different parts; window and response by default.

    Raises:
        InputError: impossible shares, too small a gap, or a run that is too short for it.
    """
    shares = (1 - validation_share - test_share, validation_share, test_share)
    if not all(0 <= share < 1 for share in shares[1:]) or not 0 < shares[0] < 1:
        raise InputError(
            "validation_share, test_share",
            found=f"{validation_share}, {test_share}",
            expected="shares from 0 whose sum is above 0 and below 1",
            remedy="Change the shares.",
        )
    needed = max(window[1], 0.0) - min(window[0], 0.0) + HRF_DURATION
    gap = needed if gap is None else gap
    if not needed <= gap < np.inf:
        raise InputError(
            "gap",
            found=f"{gap} s",
            expected=f"at least {needed:g} s: a window and a haemodynamic response",
            remedy="Leave it out, or choose a longer one.",
        )
    stretches: Stretches = {part: {} for part in PARTS}
    for run in runs:
        for part, stretch in _consecutive(run, shares, gap).items():
            stretches[part][run.name] = stretch
    return stretches


def _consecutive(run: RunPairs, shares: Sequence[float], gap: float) -> dict[str, tuple[int, int]]:
    """The stretches of one run; the gaps are taken off its time first, and the rest is shared out."""
    onsets = np.asarray(run.onsets)
    kept = [(part, share) for part, share in zip(PARTS, shares, strict=True) if share > 0]
    time = onsets[-1] - onsets[0] - gap * (len(kept) - 1)
    stretches, start = {}, onsets[0]
    for part, share in kept:
        stop = start + share * time
        first = int(np.searchsorted(onsets, start - 1e-6))
        last = len(onsets) if part == kept[-1][0] else int(np.searchsorted(onsets, stop + 1e-6))
        if time <= 0 or first >= last:
            raise InputError(
                run.name,
                found=f"{onsets[-1] - onsets[0]:.1f} s between its first and its last pair",
                expected=f"time for the parts {', '.join(name for name, _ in kept)} with gaps of {gap:g} s",
                remedy="Split by subject, or leave out the validation part (a share of 0).",
            )
        stretches[part] = (first, last)
        start = onsets[last - 1] + gap + 2e-6
    return stretches


def check_apart(subjects: Mapping[str, Sequence[str]]) -> None:
    """Refuse a split in which a subject is in two parts.

    Raises:
        InputError: naming the subjects.
    """
    names = [name for part in PARTS for name in set(subjects.get(part, ()))]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or not subjects.get("train"):
        raise InputError(
            "split",
            found=f"{', '.join(doubled)} in several parts" if doubled else "no training subject",
            expected="training subjects, and every subject in one part",
            remedy="Correct the split.",
        )


def _shuffled(subjects: Sequence[str], seed: int) -> list[str]:
    names = sorted(set(subjects))
    return [names[i] for i in np.random.default_rng(seed_for(seed, "split")).permutation(len(names))]


def _fold(subjects: Sequence[str], test: Sequence[str], num_validation: int, seed: int) -> Subjects:
    rest = [name for name in subjects if name not in test]
    drawn = split_subjects(rest, num_validation, 0, seed)
    return _parts(drawn["train"], drawn["validation"], test)


def _parts(train: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> Subjects:
    return {"train": sorted(train), "validation": sorted(validation), "test": sorted(test)}
