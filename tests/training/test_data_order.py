import itertools

import pytest

from eeg2fmri.training.data_order import StepBatchSampler


def take(count, **options):
    settings = {"num_pairs": 10, "batch_size": 4, "seed": 1, **options}
    return list(itertools.islice(StepBatchSampler(**settings), count))


def test_every_epoch_sees_every_pair_once_in_a_new_order():
    seen = list(itertools.chain(*take(10)))
    epochs = [seen[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("first_pass", [1, 3, 8])
def test_a_resumed_run_continues_exactly(first_pass):
    assert take(5, first_pass=first_pass) == take(5 + first_pass)[first_pass:]


def test_devices_share_the_order_of_one():
    two = [take(6, batch_size=2, process_index=index, num_processes=2) for index in (0, 1)]
    assert [a + b for a, b in zip(*two, strict=True)] == take(6)


def test_the_seed_decides():
    assert take(5) == take(5)
    assert take(5) != take(5, seed=2)
