"""How strongly EEG and BOLD are coupled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...errors import InputError
from .checks import LARGEST, are, find, is_within, refuse_impossible
from .networks import BANDS


@dataclass(frozen=True)
class Level:
    """How much of BOLD the EEG can know.

    Args:
        name (`str`): its name.
        coupling (`float`): kappa, the share of a network's BOLD variance that its rhythms drive.
        arousal, network, private (`float`): variance shares of the latents; they sum to 1.
        power: EEG power of the networks relative to the background, for every band of `networks.BANDS`.
        change (`float`): BOLD change at a network's peak, percent (sd).
        global_change (`float`): global signal, percent (sd).
        global_arousal (`float`): share of the global signal's variance that is arousal.
        coupling_jitter (`float`): relative spread of the coupling weights between subjects.

    Raises:
        InputError: when a value is impossible.
    """

    name: str
    coupling: float = 0.8
    arousal: float = 0.15
    network: float = 0.7
    private: float = 0.15
    power: tuple[float, ...] = (1.6, 2.0, 6.0, 2.8, 2.0)
    change: float = 0.8
    global_change: float = 0.35
    global_arousal: float = 0.4
    coupling_jitter: float = 0.3

    def __post_init__(self):
        share, size = "a number from 0 to 1", f"a number from 0 to {LARGEST:g}"
        shares = ("coupling", "arousal", "network", "private", "global_arousal")
        sizes = ("change", "global_change", "coupling_jitter")
        checks = {name: (is_within(getattr(self, name), 0, 1), share) for name in shares}
        checks |= {name: (is_within(getattr(self, name), 0, LARGEST), size) for name in sizes}
        checks["power"] = (are(len(BANDS), self.power, is_within, 0, LARGEST), f"{len(BANDS)} numbers from 0")
        refuse_impossible("level", self, checks)
        latents = (self.arousal, self.network, self.private)
        if abs(sum(latents) - 1) > 1e-6:
            raise InputError(
                "level",
                found=f"variance shares {latents}",
                expected="numbers from 0 that sum to 1",
                remedy="Divide the latents' variance between arousal, network and private.",
            )


LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        level.name: level
        for level in (
            Level("default"),
            Level("realistic", coupling=0.5, arousal=0.25, network=0.35, private=0.4, power=(0.4, 0.5, 1.5, 0.7, 0.5)),
            Level("easy", coupling=0.95, change=1.2, global_change=0.2, coupling_jitter=0.15),
            Level("null", coupling=0.0, global_arousal=0.0),
        )
    }
)


def find_level(level: str | Level) -> Level:
    """The level of this name; a `Level` passes through. Raises `InputError` for an unknown name."""
    return level if isinstance(level, Level) else find("level", level, LEVELS)
