"""Row 9: files that are cut, padded or have a flipped bit. The promise stands in docs/recordings.md."""

import numpy as np
import pytest

from eeg2fmri.errors import EEG2fMRIError
from faults.damage import KINDS, TARGETS, damaged, differences, read_aligned
from tiny_formats import write_format

NUM_MUTATIONS, NUM_BY_DEFAULT = 2000, 300
WITH_CHECKSUM = (".nii.gz",)


def mutate_and_read(folder, numbers) -> int:
    """Damage the files by these numbers of mutations; returns how many were refused."""
    whole = {}
    for kind in dict.fromkeys(kind for kind, _ in TARGETS):
        (folder / kind).mkdir()
        path = write_format(folder / kind, kind)
        whole[kind] = path, read_aligned(path)
    num_refused = 0
    for number in numbers:
        kind, name = TARGETS[number % len(TARGETS)]
        damage = KINDS[number // len(TARGETS) % len(KINDS)]
        path, undamaged = whole[kind]
        target = folder / kind / name
        content = target.read_bytes()
        target.write_bytes(damaged(content, damage, np.random.default_rng(number)))
        try:
            found = differences(read_aligned(path), undamaged)
        except EEG2fMRIError:
            num_refused += 1
        else:
            allowed = 1 if damage == "flip" and not name.endswith(WITH_CHECKSUM) else 0
            assert len(found) <= allowed and "length" not in found, (number, kind, name, damage, found)  # noqa: PT018
        finally:
            target.write_bytes(content)
    return num_refused


def test_a_share_of_the_mutations(tmp_path):
    assert mutate_and_read(tmp_path, range(NUM_BY_DEFAULT)) > NUM_BY_DEFAULT // 2


@pytest.mark.slow
def test_all_mutations(tmp_path):
    assert mutate_and_read(tmp_path, range(NUM_MUTATIONS)) > NUM_MUTATIONS // 2
