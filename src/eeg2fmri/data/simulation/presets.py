"""What is simulated: presets are recording protocols, levels say how strongly EEG and BOLD are coupled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from ...errors import InputError
from ...recordings.repetition_time import PLAUSIBLE_TR, is_number, is_plausible
from .networks import BANDS

LOWEST_RATE = 2 * max(high for _, high in BANDS.values())  # Hz
LARGEST = 1000.0  # far outside of any use: percent, millimetres, seconds


@dataclass(frozen=True)
class Preset:
    """A recording protocol.

    Args:
        name (`str`): its name.
        shape: voxels along x, y, z.
        voxel_size: millimetres along x, y, z.
        origin: MNI millimetres of the centre of voxel (0, 0, 0); x runs from right to left (LAS).
        repetition_time (`float`): seconds.
        num_volumes (`int`): volumes of a full run.
        sampling_rate (`float`): EEG, Hz.
        electrodes: names, without the reference.
        reference (`str`): the reference electrode.
        lead_in (`float`): seconds of EEG before the first volume.
        task (`str`): the BIDS task label.
        pose (`float`): anatomical differences between subjects (pose, size, shape) in units of their default spread.
            0 keeps every subject in MNI space.
        noise (`float`): voxel noise, percent of the signal (sd).
        autocorrelation (`float`): of the noise, from volume to volume.

    Raises:
        InputError: when a value is impossible.
    """

    name: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    repetition_time: float
    num_volumes: int
    sampling_rate: float
    electrodes: tuple[str, ...]
    reference: str = "FCz"
    lead_in: float = 4.0
    task: str = "rest"
    pose: float = 0.0
    noise: float = 1.3
    autocorrelation: float = 0.35

    def __post_init__(self):
        names = self.electrodes if _are_names(self.electrodes) else ()
        checks = {
            "shape": (_are(3, self.shape, _is_count, 2, 1024), "three whole numbers from 2 to 1024"),
            "voxel_size": (_are(3, self.voxel_size, _is_within, 0.01, 100), "three numbers from 0.01 to 100 mm"),
            "origin": (_are(3, self.origin, _is_within, -LARGEST, LARGEST), f"three numbers up to {LARGEST:g} mm"),
            "repetition_time": (is_plausible(self.repetition_time), PLAUSIBLE_TR),
            "num_volumes": (_is_count(self.num_volumes, 1, 2**32 - 1), "a whole number from 1"),
            "sampling_rate": (_is_within(self.sampling_rate, LOWEST_RATE, 1e5), f"{LOWEST_RATE:g} to 100000 Hz"),
            "electrodes": (len(names) > 0, "a tuple of different names, at least two"),
            "reference": (isinstance(self.reference, str) and self.reference not in names, "another electrode's name"),
            "lead_in": (_is_within(self.lead_in, 0, LARGEST), f"0 to {LARGEST:g} s"),
            "task": (isinstance(self.task, str) and self.task.isascii() and self.task.isalnum(), "letters and digits"),
            "pose": (_is_within(self.pose, 0, 10), "a number from 0 to 10"),
            "noise": (_is_within(self.noise, 0, LARGEST), f"0 to {LARGEST:g} percent"),
            "autocorrelation": (_is_within(self.autocorrelation, 0, 0.999), "a number from 0 to 0.999"),
        }
        _refuse_impossible("preset", self, checks)


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
        checks = {name: (_is_within(getattr(self, name), 0, 1), share) for name in shares}
        checks |= {name: (_is_within(getattr(self, name), 0, LARGEST), size) for name in sizes}
        checks["power"] = (_are(len(BANDS), self.power, _is_within, 0, LARGEST), f"{len(BANDS)} numbers from 0")
        _refuse_impossible("level", self, checks)
        latents = (self.arousal, self.network, self.private)
        if abs(sum(latents) - 1) > 1e-6:
            raise InputError(
                "level",
                found=f"variance shares {latents}",
                expected="numbers from 0 that sum to 1",
                remedy="Divide the latents' variance between arousal, network and private.",
            )


def _refuse_impossible(kind: str, instance: Any, checks: Mapping[str, tuple[bool, str]]) -> None:
    for name, (valid, expected) in checks.items():
        if not valid:
            found = repr(getattr(instance, name))
            raise InputError(f"{kind}.{name}", found=found, expected=expected, remedy=f"Correct the {kind}.")


def _is_within(value: object, low: float, high: float) -> bool:
    return is_number(value) and low <= value <= high


def _is_count(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and _is_within(value, low, high)


def _are(length: int, values: object, is_valid: Callable[..., bool], low: float, high: float) -> bool:
    return isinstance(values, tuple) and len(values) == length and all(is_valid(each, low, high) for each in values)


def _are_names(names: object) -> bool:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        return False
    return len(names) == len(set(names)) >= 2


MINI = Preset(
    name="mini",
    shape=(32, 32, 16),
    voxel_size=(5.5, 6.5, 10.0),
    origin=(85.25, -117.5, -72.0),
    repetition_time=2.0,
    num_volumes=150,
    sampling_rate=128.0,
    electrodes=("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "C4", "T8", "P3", "Pz", "P4", "O1", "O2"),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in (MINI,)})

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


_Choice = TypeVar("_Choice", Preset, Level)


def find_preset(preset: str | Preset) -> Preset:
    """The preset of this name; a `Preset` passes through. Raises `InputError` for an unknown name."""
    return preset if isinstance(preset, Preset) else _find("preset", preset, PRESETS)


def find_level(level: str | Level) -> Level:
    """The level of this name; a `Level` passes through. Raises `InputError` for an unknown name."""
    return level if isinstance(level, Level) else _find("level", level, LEVELS)


def _find(argument: str, name: str, known: Mapping[str, _Choice]) -> _Choice:
    if not isinstance(name, str) or name not in known:
        raise InputError(
            argument,
            found=repr(name),
            expected=f"one of {', '.join(known)}",
            remedy=f"Choose a known {argument}, or pass one of your own making.",
        )
    return known[name]
