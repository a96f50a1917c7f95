"""Randomness as a pure function of names: the same (seed, purpose, indices) always gives the same stream."""

from __future__ import annotations

import hashlib


def seed_for(seed: int, purpose: str, *indices: int) -> int:
    """Derive an independent 63-bit seed for one purpose.

    Args:
        seed (`int`): the run's seed.
        purpose (`str`): what the stream is for, e.g. `"noise"`.
        *indices (`int`): which one: step, sample, subject...

    Returns:
        `int`: in `[0, 2**63)`, the same on every machine.
    """
    text = "/".join([str(int(seed)), purpose, *(str(int(index)) for index in indices)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
