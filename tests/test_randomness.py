import itertools

from eeg2fmri.randomness import seed_for


def test_seeds_are_fixed_for_ever():
    assert seed_for(42, "noise", 3) == seed_for(42, "noise", 3)
    assert seed_for(0, "x") == 6131919875744131095


def test_seeds_differ_in_every_argument_and_are_not_glued_together():
    names = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", 1, 2), (0, "a", 12)]
    assert len({seed_for(*name) for name in names}) == len(names)


def test_seeds_fit_torch_and_look_uniform():
    seeds = [seed_for(seed, "p", index) for seed, index in itertools.product(range(40), range(50))]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert 0.46 < sum(seeds) / len(seeds) / 2**63 < 0.54
