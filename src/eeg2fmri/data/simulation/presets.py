"""The recording protocols that are simulated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from ...recordings.repetition_time import PLAUSIBLE_TR, is_plausible
from .checks import LARGEST, are, are_names, find, is_count, is_within, refuse_impossible
from .networks import BANDS
from .task import Blocks

LAYOUT_NAMES = ("bids", "noddi", "xp2")
LOWEST_RATE = 2 * max(high for _, high in BANDS.values())  # Hz


@dataclasses.dataclass(frozen=True)
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
        whole_units (`bool`): write BOLD in whole scanner units, as scanners do; otherwise as finely as 16 bits allow.
        blocks ([`Blocks`], *optional*): when right-hand imagery is done; without it the subject rests.
        layout (`str`): the folders that its data sets are written in: `"bids"`, `"noddi"` or `"xp2"`.

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
    whole_units: bool = False
    blocks: Blocks | None = None
    layout: str = "bids"

    def __post_init__(self):
        names = self.electrodes if are_names(self.electrodes) else ()
        checks = {
            "shape": (are(3, self.shape, is_count, 2, 1024), "three whole numbers from 2 to 1024"),
            "voxel_size": (are(3, self.voxel_size, is_within, 0.01, 100), "three numbers from 0.01 to 100 mm"),
            "origin": (are(3, self.origin, is_within, -LARGEST, LARGEST), f"three numbers up to {LARGEST:g} mm"),
            "repetition_time": (is_plausible(self.repetition_time), PLAUSIBLE_TR),
            "num_volumes": (is_count(self.num_volumes, 1, 2**32 - 1), "a whole number from 1"),
            "sampling_rate": (is_within(self.sampling_rate, LOWEST_RATE, 1e5), f"{LOWEST_RATE:g} to 100000 Hz"),
            "electrodes": (len(names) > 0, "a tuple of different names, at least two"),
            "reference": (isinstance(self.reference, str) and self.reference not in names, "another electrode's name"),
            "lead_in": (is_within(self.lead_in, 0, LARGEST), f"0 to {LARGEST:g} s"),
            "task": (isinstance(self.task, str) and self.task.isascii() and self.task.isalnum(), "letters and digits"),
            "pose": (is_within(self.pose, 0, 10), "a number from 0 to 10"),
            "noise": (is_within(self.noise, 0, LARGEST), f"0 to {LARGEST:g} percent"),
            "autocorrelation": (is_within(self.autocorrelation, 0, 0.999), "a number from 0 to 0.999"),
            "whole_units": (isinstance(self.whole_units, bool), "True or False"),
            "blocks": (self.blocks is None or isinstance(self.blocks, Blocks), "Blocks, or None"),
            "layout": (self.layout in LAYOUT_NAMES, " or ".join(LAYOUT_NAMES)),
        }
        refuse_impossible("preset", self, checks)


# What the caps of both recordings share.
_CAP = (
    *("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T7", "T8", "P7"),
    *("P8", "Fz", "Cz", "Pz", "Oz", "FC1", "FC2", "CP1", "CP2", "FC5", "FC6", "CP5", "CP6", "TP9", "TP10"),
    *("POz", "AF3", "AF4", "FC3", "FC4", "CP3", "CP4", "PO3", "PO4", "F5", "F6", "C5", "C6", "P5", "P6"),
    *("AF7", "AF8", "FT7", "FT8", "TP7", "TP8", "PO7", "PO8", "FT9", "FT10", "Fpz", "CPz"),
)

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


# As the NODDI EEG-fMRI recordings: 3.3 x 3.3 x 4 mm, resting, without the lowest part of the brain.
NODDI = Preset(
    name="noddi",
    shape=(64, 64, 30),
    voxel_size=(3.3, 3.3, 4.0),
    origin=(103.95, -121.95, -42.0),
    repetition_time=2.16,
    num_volumes=300,
    sampling_rate=250.0,
    electrodes=(*_CAP, "P9", "P10", "PO9", "PO10", "O9", "O10"),
    pose=1.0,
    whole_units=True,
    layout="noddi",
)

# As XP-2's motor imagery: 2 x 2 x 4 mm, the upper half of the brain, two volumes before the first block.
XP2 = Preset(
    name="xp2",
    shape=(106, 106, 16),
    voxel_size=(2.0, 2.0, 4.0),
    origin=(105.0, -123.0, 14.0),
    repetition_time=1.0,
    num_volumes=322,
    sampling_rate=200.0,
    electrodes=(*_CAP, "F1", "F2", "C1", "C2", "P1", "P2"),
    task="MIpost",
    pose=1.0,
    whole_units=True,
    noise=1.7,
    autocorrelation=0.5,
    blocks=Blocks(rest=20.0, task=20.0, num_blocks=8, start=2.0),
    layout="xp2",
)

# A group recorded elsewhere: of mini's electrodes four are missing, the reference and the repetition time are others.
MINI_24 = dataclasses.replace(
    MINI,
    name="mini-24",
    repetition_time=1.5,
    num_volumes=200,
    sampling_rate=200.0,
    reference="CPz",
    electrodes=(
        *("Fp1", "Fp2", "F3", "Fz", "F4", "T7", "C3", "C4", "T8", "P3", "P4", "FCz", "AF3", "AF4"),
        *("FC5", "FC6", "CP1", "CP2", "P7", "P8", "PO3", "PO4", "Oz", "Pz"),
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in (MINI, MINI_24, NODDI, XP2)})


def find_preset(preset: str | Preset) -> Preset:
    """The preset of this name; a `Preset` passes through. Raises `InputError` for an unknown name."""
    return preset if isinstance(preset, Preset) else find("preset", preset, PRESETS)
