"""Which pairs a step sees: a pure function of seed and step, so that a resumed run continues exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from ..randomness import seed_for


class StepBatchSampler(Sampler[list[int]]):
    """Endless batches of indices. Pairs are permuted anew each epoch; epochs follow each other without a gap.

    Args:
        num_pairs (`int`): length of the dataset.
        batch_size (`int`): pairs per device and forward pass.
        seed (`int`): of the order.
        first_pass (`int`): how many forward passes of every device came before.
        process_index, num_processes (`int`): which device this is; together they see one global order.
    """

    def __init__(
        self,
        num_pairs: int,
        batch_size: int,
        seed: int,
        first_pass: int = 0,
        process_index: int = 0,
        num_processes: int = 1,
    ):
        self.num_pairs = num_pairs
        self.batch_size = batch_size
        self.seed = seed
        self.first_pass = first_pass
        self.process_index = process_index
        self.num_processes = num_processes

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order = -1, np.empty(0, int)
        forward_pass = self.first_pass
        while True:
            first = (forward_pass * self.num_processes + self.process_index) * self.batch_size
            indices = []
            for position in range(first, first + self.batch_size):
                if position // self.num_pairs != epoch:
                    epoch = position // self.num_pairs
                    order = np.random.default_rng(seed_for(self.seed, "order", epoch)).permutation(self.num_pairs)
                indices.append(int(order[position % self.num_pairs]))
            yield indices
            forward_pass += 1
