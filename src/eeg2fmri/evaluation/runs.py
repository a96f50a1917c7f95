"""Runs of a paired dataset as predictors and scores need them."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from ..baselines.run import HIGH_PASS, Regions, Truth
from ..data.index import INDEX_NAME
from ..data.leaks import bold_checksum
from ..data.paired_dataset import PairedDataset
from ..data.simulation import DARK_NETWORK
from ..errors import FileError, InputError, RecordingError
from ..files import sha256
from ..processing.eeg import EEGProcessor
from ..processing.filters import brain_mask, remove_drift
from ..processing.grids import resample, resize_through_dct
from ..recordings.bold import BOLDRun, read_bold
from ..recordings.eeg import read_eeg
from ..recordings.sidecars import sidecars_of
from .events import task_regressors
from .regions import find_regions, grey_matter

NUM_CALIBRATION_VOLUMES = 30


class DatasetRun:
    """A run of a paired dataset with its measured BOLD; see [`baselines.run.Run`] for the attributes.

    `mask` is its brain, and `voxels` those whose correlation is scored: grey matter in MNI space, elsewhere the brain.
    `checksum` is that of the BOLD file.

    Args:
        dataset ([`PairedDataset`]): any split of it.
        entry (`dict`): the run in its index.
        root (`Path`): the dataset that it was prepared from.

    Raises:
        FileError: when the BOLD file isn't there, or can't be read.
        RecordingError: when it doesn't fit the paired dataset, or never varies.
    """

    def __init__(self, dataset: PairedDataset, entry: dict, root: Path):
        self.name: str = entry["name"]
        self.subject: str = entry["subject"]
        self.onsets = np.asarray(entry["onsets"], np.float64)
        self.eeg_processor = dataset.eeg_processor
        self._volume_processor = dataset.volume_processor
        self._pairs = dataset.folder / entry["file"]
        self._eeg, self._bold = (_find(root, entry[kind]) for kind in ("eeg", "bold"))
        self._truth = _truth_stem(root, self.name)
        self.indices = np.asarray(entry["volumes"])
        with safe_open(self._pairs, framework="numpy") as file:
            self.columns = file.get_tensor("index")
        self.checksum = bold_checksum(entry)
        self._check_measurement()
        bold = self._read()
        all_volumes, self.affine = self._volume_processor.to_grid(bold)
        self.repetition_time: float = bold.repetition_time  # type: ignore[assignment]  # _read refuses None
        self._recorded_affine = bold.affine
        self.num_volumes = len(all_volumes)
        self.own_mean = all_volumes[:NUM_CALIBRATION_VOLUMES].mean(axis=0)
        volumes = all_volumes[self.indices]
        self.mean = volumes.mean(axis=0)
        self.mask = brain_mask(self.mean, self._bold)
        self._in_mni = self._volume_processor.config.space == "mni"
        self.voxels = grey_matter(self.mask, self.affine) if self._in_mni else self.mask
        self.regions = self._find_regions()
        self.series = self.regions.series(volumes, self.repetition_time)
        if not self.series.any():
            raise RecordingError(
                self._bold,
                found="volumes that never change",
                expected="a measured run",
                remedy="Leave this run out: nothing can be scored against it.",
            )

    def spectra(self) -> np.ndarray:
        """Not whitened: regressions on sensors are those of the recorded sensors, whatever the model reads."""
        whitened = self.eeg_processor.config.baseline == "whitening"
        return self.recorded_spectra() if whitened else self.stored_spectra()

    def recorded_spectra(self) -> np.ndarray:
        """Without a baseline, in uV or ln uV^2, `[column, C, electrode, frequency]`."""
        processor = EEGProcessor.from_config({**self.eeg_processor.config, "baseline": "none"})
        return processor.spectra(read_eeg(self._eeg), processor.columns(self.onsets)[0])

    def windows(self, processor) -> np.ndarray:
        """Normalised by this EEG processor, `[N, C, electrode, frequency, window]`."""
        columns = processor.normalise(self.stored_spectra())
        return np.ascontiguousarray(columns[self.columns].transpose(0, 2, 3, 4, 1))

    def stored_spectra(self) -> np.ndarray:
        """As the paired dataset holds them: with the processor's baseline, not normalised."""
        with safe_open(self._pairs, framework="numpy") as file:
            return file.get_tensor("spectra").astype(np.float32)

    def volumes(self) -> np.ndarray:
        return self._volume_processor.to_grid(self._read())[0][self.indices]

    def calibration(self):
        """The run's first 30 volumes, as a recording."""
        bold = read_bold(self._bold)
        return type(bold)(bold.volumes[..., :NUM_CALIBRATION_VOLUMES], bold.affine, bold.repetition_time, bold.source)

    @property
    def truth(self) -> Truth | None:
        if self._truth is None:
            return None
        arrays, names, config = _read_truth(self._truth)
        maps = self._on_grid(arrays["maps"])
        driven = [i for i, name in enumerate(names) if name != DARK_NETWORK]
        return Truth(
            latents=arrays["latents"].reshape(-1, arrays["latents"].shape[-1]).T.astype(np.float64),
            latent_times=arrays["latent_times"].astype(np.float64),
            change=config["level"]["change"] * arrays["coupled"][driven].T[self.indices],
            maps=maps[driven],
        )

    @property
    def coupling(self) -> tuple[dict[str, np.ndarray], str] | None:
        """Of a simulated run: each network's true weights `[band]`, and the electrode that it was recorded against."""
        if self._truth is None:
            return None
        arrays, names, config = _read_truth(self._truth)
        return dict(zip(names, arrays["weights"].astype(np.float64), strict=True)), config["preset"]["reference"]

    @functools.cached_property
    def task(self) -> np.ndarray | None:
        """Regressors of the run's conditions, `[N, regressor]`, from its events; None at rest.

        Raises:
            FileError: when the events can't be read.
        """
        tables = sidecars_of(self._bold, "events", ".tsv")  # the last is the most specific
        regressors = task_regressors(tables[-1], self.repetition_time * self.indices) if tables else None
        return None if regressors is None else remove_drift(regressors, self.repetition_time, HIGH_PASS)

    def _check_measurement(self) -> None:
        """Another file may have another grid, affine, repetition time or number of volumes."""
        found = sha256(self._bold)
        if found != self.checksum:
            raise RecordingError(
                self._bold,
                found=f"another file than the one that was paired (SHA-256 {found})",
                expected=self.checksum,
                remedy="Give the root that the dataset was prepared from, or prepare it again.",
            )

    def _read(self) -> BOLDRun:
        bold = read_bold(self._bold)
        if bold.repetition_time is None:
            raise RecordingError(
                self._bold,
                found="no repetition time",
                expected="one, without which no drift can be removed",
                remedy="Write it into the header or the sidecar, and prepare the dataset again.",
            )
        return bold

    def _find_regions(self) -> Regions:
        maps = None
        if self._truth is not None:
            arrays, names, _ = _read_truth(self._truth)
            maps = dict(zip(names, self._on_grid(arrays["maps"]), strict=True))
        return find_regions(self.mask, self.affine, maps=maps, in_mni=self._in_mni)

    def _on_grid(self, maps: np.ndarray) -> np.ndarray:
        """The truth's maps `[network, x, y, z]` as the volumes went to the dataset's grid, `[network, z, y, x]`."""
        volumes, shape = maps.transpose(0, 3, 2, 1), self.mask.shape
        if self._in_mni:
            return resample(volumes, self._recorded_affine, self.affine, shape)
        return volumes if volumes.shape[1:] == shape else resize_through_dct(volumes, shape)


def root_of(dataset: PairedDataset, root: Path | None) -> Path:
    """Where the files lie that the dataset was prepared from.

    Raises:
        InputError: when neither the caller nor the dataset knows.
        FileError: when the folder isn't there.
    """
    recorded = json.loads((dataset.folder / INDEX_NAME).read_text()).get("source", {}).get("root")
    if root is None and recorded is None:
        raise InputError(
            "root",
            found="none, and a paired dataset that doesn't record it",
            expected="the folder that the dataset was prepared from",
            remedy="Give it with --root.",
        )
    path = Path(root if root is not None else recorded)
    if not path.is_dir():
        raise FileError(path, found="no folder", expected="the raw dataset", remedy="Give its place with --root.")
    return path


def _find(root: Path, name: str) -> Path:
    path = root / name  # an absolute name stays as it is
    if not path.is_file():
        raise FileError(path, found="no file", expected="a file of the run", remedy="Give its place with --root.")
    return path


def _truth_stem(root: Path, name: str) -> Path | None:
    path = next((root / "derivatives" / "truth").rglob(f"{name}_truth.safetensors"), None)
    return None if path is None else path.with_suffix("")


def _read_truth(stem: Path) -> tuple[dict[str, np.ndarray], list[str], dict]:
    config = json.loads(stem.with_suffix(".json").read_text())
    return load_file(stem.with_suffix(".safetensors")), config["network_names"], config
