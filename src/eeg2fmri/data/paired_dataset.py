"""PairedDataset: read the pairs of one part of a scheme."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from ..errors import InputError
from ..files import sha256
from ..processing.eeg import EEGProcessor
from ..processing.volume import VolumeProcessor
from .index import read_index
from .run_reference import RunReference, rescaling, within_template
from .schemes import DEFAULT_SCHEME, REFERENCES_FOLDER, read_scheme
from .splits import PARTS
from .stored_run import StoredRun, check_size, damaged, open_run

CACHE_BYTES = 4 * 1024**3  # of normalised spectra; all of NODDI or XP-2 at the paper's size take below 1 GB


@dataclass(frozen=True)
class _OpenRun:
    columns: np.ndarray  # [C, electrode, frequency, column], normalised: windows are cut from it
    index: np.ndarray  # [pair, window]
    volumes: torch.Tensor  # [pair, 1, D, H, W], float16, mapped
    rescaling: tuple[torch.Tensor, torch.Tensor] | None  # gain and offset, [D, H, W]
    condition: torch.Tensor | None  # [1, D, H, W]


class PairedDataset(Dataset):
    """Pairs of an EEG window and a volume, memory-mapped.

    An item is a dictionary of float32 tensors: `eeg [C, electrode, frequency, window]`, `volume [1, D, H, W]` and, in
    the `change` mode, `condition [1, D, H, W]`.

    `runs` lists the runs of the part in the order of the items, each with `num_pairs`, `volumes` and `onsets` of the
    pairs that are in the part, and what `index.json` says about it. Spectra are normalised once a run and kept in
    memory up to 4 GiB; volumes are mapped.

    Args:
        folder (`str` or `os.PathLike`): made by [`build_pairs`].
        split (`str`): `"train"`, `"validation"` or `"test"`.
        scheme (`str`): a split that is saved in the dataset; see `eeg2fmri split`.

    Raises:
        FileError: when the folder is no paired dataset, or a file of it is missing or has another size.
        CheckpointError: when the scheme's processors are damaged.
        InputError: when the scheme is unknown, or the split is unknown or empty.
    """

    def __init__(self, folder: str | os.PathLike, split: str = "train", scheme: str = DEFAULT_SCHEME):
        self.folder = Path(folder)
        index = read_index(self.folder)
        self._scheme_folder, stretches = read_scheme(self.folder, scheme)
        part = stretches.get(split, {})
        self.runs = [_stretch(entry, *part[entry["name"]]) for entry in index["runs"] if entry["name"] in part]
        if not self.runs:
            raise InputError(
                "split",
                found=f"{split!r}, which holds no run",
                expected=f"one of {', '.join(PARTS)} with at least one run in the scheme {scheme!r} of {self.folder}",
                remedy="Choose another part or scheme.",
            )
        for entry in self.runs:
            check_size(self.folder / entry["file"], entry)
        self.subjects = sorted({entry["subject"] for entry in self.runs})
        self.eeg_processor = EEGProcessor.from_pretrained(self._scheme_folder / "eeg_processor")
        self.volume_processor = VolumeProcessor.from_pretrained(self._scheme_folder / "volume_processor")
        self._pairs = [
            (number, entry["first_pair"] + i)
            for number, entry in enumerate(self.runs)
            for i in range(entry["num_pairs"])
        ]
        self._open_runs: OrderedDict[int, _OpenRun] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        number, row = self._pairs[i]
        run = self._open(number)
        volume = run.volumes[row].float()
        if run.rescaling is not None:
            gain, offset = run.rescaling
            volume = torch.addcmul(offset, volume, gain)
        item = {"eeg": torch.from_numpy(run.columns[..., run.index[row]]), "volume": volume}
        if run.condition is not None:
            item["condition"] = run.condition
        return item

    def __getstate__(self) -> dict:
        """Worker processes map the files themselves."""
        return {**self.__dict__, "_open_runs": OrderedDict()}

    def verify(self) -> None:
        """Compare the checksums of the part's files with the index.

        Raises:
            FileError: naming the first file that has changed.
        """
        for entry in self.runs:
            found = sha256(self.folder / entry["file"])
            if found != entry["sha256"]:
                raise damaged(self.folder / entry["file"], f"the checksum {found}", entry["sha256"])

    def _open(self, number: int) -> _OpenRun:
        if number in self._open_runs:
            return self._open_runs[number]
        run = self._prepare(open_run(self.folder, self.runs[number]), self.runs[number])
        self._open_runs[number] = run
        while len(self._open_runs) > 1 and sum(kept.columns.nbytes for kept in self._open_runs.values()) > CACHE_BYTES:
            self._open_runs.popitem(last=False)
        return run

    def _prepare(self, stored: StoredRun, entry: dict) -> _OpenRun:
        processor, path = self.volume_processor, self._scheme_folder / REFERENCES_FOLDER / entry["file"]
        spectra, reference = stored.spectra.astype(np.float32), RunReference(np.zeros(1, np.float32), stored.reference)
        if path.parent.is_dir():
            reference = RunReference.load(path)
            spectra = spectra - reference.baseline
        volume = within_template(reference, processor).volume
        gain_and_offset = rescaling(stored.reference, volume, processor)
        condition = processor.condition(volume)
        return _OpenRun(
            columns=np.ascontiguousarray(np.moveaxis(self.eeg_processor.normalise(spectra), 0, -1)),
            index=stored.index,
            volumes=stored.volumes,
            rescaling=None if gain_and_offset is None else tuple(map(torch.from_numpy, gain_and_offset)),
            condition=None if condition is None else torch.from_numpy(condition),
        )


def _stretch(entry: dict, first: int, last: int) -> dict:
    """A run's entry in the index, for some of its pairs."""
    part = {name: entry[name][first:last] for name in ("volumes", "onsets")}
    return {**entry, **part, "first_pair": first, "num_pairs": last - first}
