"""PairedDataset: read the pairs of one part of a scheme."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
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
    columns: np.ndarray  # [column, C, electrode, frequency], normalised
    index: np.ndarray  # [pair, window]
    volumes: torch.Tensor  # [pair, 1, D, H, W], float16, mapped
    gain: torch.Tensor | None  # [D, H, W], where the stored volumes are not right as they are
    offset: torch.Tensor | None  # [D, H, W], likewise
    condition: torch.Tensor | None  # [1, D, H, W]


class PairedDataset(Dataset):
    """Pairs of an EEG window and a volume, memory-mapped.

    An item is a dictionary of float32 tensors: `eeg [C, electrode, frequency, window]`, `volume [1, D, H, W]` and, in
    the `change` mode, `condition [1, D, H, W]`. A list of indices gives a whole batch, which is faster than single
    items: `DataLoader(dataset, sampler=batches_of_indices, batch_size=None)`.

    `runs` lists the runs of the part in the order of the items, each with `num_pairs`, `volumes` and `onsets` of the
    pairs that are in the part, and what `index.json` says about it; `parts` names the parts that hold a run. Spectra
    are normalised once a run and kept in memory up to 4 GiB, the oldest given up first; volumes are mapped.

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
        self.parts = [name for name in PARTS if stretches[name]]
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

    def __getitem__(self, i: int | Sequence[int]) -> dict[str, torch.Tensor]:
        if isinstance(i, Sequence):
            return self._batch(i)
        return {name: values[0] for name, values in self._batch([i]).items()}

    def _batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Written straight into the batch's own memory: new memory for every item costs more than the copying."""
        pairs = [self._pairs[i] for i in indices]
        runs = [self._open(number) for number, _ in pairs]
        num_windows = self.eeg_processor.config.num_windows
        windows = np.empty((len(pairs), num_windows, *runs[0].columns.shape[1:]), np.float32)
        volume = torch.empty((len(pairs), *runs[0].volumes.shape[1:]))
        for window, values, run, (_, row) in zip(windows, volume, runs, pairs, strict=True):
            np.take(run.columns, run.index[row], axis=0, out=window, mode="clip")  # any other mode copies twice
            values.copy_(run.volumes[row])
            if run.gain is not None:
                values *= run.gain
            if run.offset is not None:
                values += run.offset
        batch = {"eeg": torch.from_numpy(windows).movedim(1, -1).contiguous(), "volume": volume}
        conditions = [run.condition for run in runs if run.condition is not None]
        return {**batch, "condition": torch.stack(conditions)} if conditions else batch

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
        gain, offset = rescaling(stored.reference, volume, processor)
        condition = processor.condition(volume)
        return _OpenRun(
            columns=self.eeg_processor.normalise(spectra),
            index=stored.index,
            volumes=stored.volumes,
            gain=_tensor(gain),
            offset=_tensor(offset),
            condition=_tensor(condition),
        )


def _tensor(array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(array)


def _stretch(entry: dict, first: int, last: int) -> dict:
    """A run's entry in the index, for some of its pairs."""
    part = {name: entry[name][first:last] for name in ("volumes", "onsets")}
    return {**entry, **part, "first_pair": first, "num_pairs": last - first}
