"""What presets and levels may hold, and how a known one is found by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ...errors import InputError
from ...recordings.repetition_time import is_number

LARGEST = 1000.0  # far outside of any use: percent, millimetres, seconds

_Choice = TypeVar("_Choice")


def refuse_impossible(kind: str, instance: Any, checks: Mapping[str, tuple[bool, str]]) -> None:
    for name, (valid, expected) in checks.items():
        if not valid:
            found = repr(getattr(instance, name))
            raise InputError(f"{kind}.{name}", found=found, expected=expected, remedy=f"Correct the {kind}.")


def is_within(value: object, low: float, high: float) -> bool:
    return is_number(value) and low <= value <= high


def is_count(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and is_within(value, low, high)


def are(length: int, values: object, is_valid: Callable[..., bool], low: float, high: float) -> bool:
    return isinstance(values, tuple) and len(values) == length and all(is_valid(each, low, high) for each in values)


def are_names(names: object) -> bool:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        return False
    return len(names) == len(set(names)) >= 2


def find(argument: str, name: str, known: Mapping[str, _Choice]) -> _Choice:
    if not isinstance(name, str) or name not in known:
        raise InputError(
            argument,
            found=repr(name),
            expected=f"one of {', '.join(known)}",
            remedy=f"Choose a known {argument}, or pass one of your own making.",
        )
    return known[name]
