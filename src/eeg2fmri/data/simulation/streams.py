"""One random stream per purpose, so that a change in one part of the simulation leaves the others as they were."""

from __future__ import annotations

import numpy as np

from ...errors import InputError

_PURPOSES = (
    "traits",
    "latents",
    "uncoupled",
    "physiology",
    "carriers",
    "background",
    "artefacts",
    "sensors",
    "confounds",
    "noise",
    "task",
    "markers",
    "front",
    "scanner",
)


def stream(purpose: str, *names: int) -> np.random.Generator:
    """The generator of `(seed, subject)` for traits or `(seed, subject, run)` for a state, for one purpose."""
    # A pair is padded with zeros, as the triple of run 0 is: only the key tells traits and states apart.
    sequence = np.random.SeedSequence([int(name) for name in names], spawn_key=(_PURPOSES.index(purpose),))
    return np.random.default_rng(sequence)


def check_number(argument: str, number: int, minimum: int) -> None:
    """Refuse what is no whole number from `minimum` to 2^32 - 1, beyond which two runs could share a stream.

    Raises:
        InputError: for such a number.
    """
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole or not minimum <= number < 2**32:
        raise InputError(
            argument,
            found=repr(number),
            expected=f"a whole number from {minimum} to {2**32 - 1}",
            remedy="Choose a number in this range.",
        )
