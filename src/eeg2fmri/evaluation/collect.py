"""One row on one run: image scores, time courses and a map, small enough to keep; volumes are let go."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from ..baselines.run import Predictor, percent_change
from ..errors import RecordingError
from ..files import publish_file
from ..metrics.image import minmax, psnr, rmse, ssim
from ..metrics.ssim_definitions import SSIM_DEFINITIONS
from ..metrics.temporal import temporal_correlation
from .runs import NUM_CALIBRATION_VOLUMES, DatasetRun

HIGHEST_PSNR = 100.0  # dB: equal volumes have an infinite one
IMAGE_SCORES = ("ssim_3d", "ssim_2d", "ssim_3d_brain", "ssim_2d_brain", "psnr", "psnr_brain", "rmse", "rmse_brain")
SIMILARITIES = ("ssim_3d", "ssim_2d")  # of which the first that fits the grid is judged and drawn


@dataclass(frozen=True)
class RunResult:
    """What is kept of a prediction of one run.

    Args:
        image (`np.ndarray` of shape `[score, volume]`): in the order of `IMAGE_SCORES`, NaN for one that does not fit
            the grid.
        series (`np.ndarray` of shape `[N, region]`): percent change, of the mean over samples.
        sample_series (`np.ndarray` of shape `[sample, N, region]`): of every sample; empty for a single one.
        voxel_r (`np.ndarray` of shape `[z, y, x]`): correlation over time, NaN outside of the brain.
        volume (`np.ndarray` of shape `[z, y, x]`): the run's middle volume, from 0 to 1.
        seconds (`np.ndarray` of shape `[]`): for each volume, all samples together.
    """

    image: np.ndarray
    series: np.ndarray
    sample_series: np.ndarray
    voxel_r: np.ndarray
    volume: np.ndarray
    seconds: np.ndarray

    def save(self, path: Path) -> None:
        with publish_file(path) as staged:
            np.savez(staged, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> RunResult:
        with np.load(path) as arrays:
            return cls(**arrays)


class Measured:
    """A run's measured volumes, prepared once for all rows.

    Args:
        run ([`DatasetRun`]): the run.
        num_image_volumes (`int`, *optional*): how many volumes, spread over the run after its first 30, the image
            scores are taken of; all of them by default.
        device: where SSIM is computed, but for Apple's, which has no float64.
    """

    def __init__(self, run: DatasetRun, num_image_volumes: int | None, device: str = "cpu"):
        volumes = run.volumes()
        # Some rows are given the first volumes: nobody is scored on them.
        later = np.flatnonzero(run.indices >= NUM_CALIBRATION_VOLUMES)
        count = len(later) if num_image_volumes is None else min(num_image_volumes, len(later))
        self.run = run
        self.device = "cpu" if torch.device(device).type == "mps" else device
        self.chosen = later[np.linspace(0, len(later) - 1, count).round().astype(int)]
        self.images = minmax(volumes[self.chosen])
        self.volume = minmax(volumes[[len(volumes) // 2]])[0]
        self.voxels = percent_change(volumes[:, run.mask], run.repetition_time)

    def result(
        self, volumes: np.ndarray, series: np.ndarray | None, sample_series: np.ndarray, seconds: float
    ) -> RunResult:
        """Score a prediction `[N, z, y, x]` in BOLD units."""
        run = self.run
        images = minmax(volumes[self.chosen])
        voxel_r = np.full(run.mask.shape, np.nan, np.float32)
        voxel_r[run.mask] = temporal_correlation(
            percent_change(volumes[:, run.mask], run.repetition_time), self.voxels
        )
        return RunResult(
            image=self._image_scores(images),
            series=run.regions.series(volumes, run.repetition_time) if series is None else series,
            sample_series=sample_series,
            voxel_r=voxel_r,
            volume=minmax(volumes[[len(volumes) // 2]])[0],
            seconds=np.array(seconds),
        )

    def results(self, predictor: Predictor) -> tuple[RunResult, RunResult | None]:
        """Score a predictor: the mean over its samples, and the first sample alone when there are more.

        Raises:
            RecordingError: when a prediction has another shape than the measurement, or is not finite.
        """
        started = time.perf_counter()
        prediction = predictor.predict(self.run)
        first, total, sample_series = None, np.zeros(()), []
        for sample in prediction.samples:
            self._check(sample)
            sample_series.append(self.run.regions.series(sample, self.run.repetition_time))
            if len(sample_series) == 2:
                first = total
                total = first.astype(np.float64)
            total = sample if len(sample_series) == 1 else total + sample
        num_samples = len(sample_series)
        seconds = (time.perf_counter() - started) / len(self.run.onsets)
        none = np.zeros((0, *sample_series[0].shape))
        if first is None:
            return self.result(total, prediction.series, none, seconds), None
        mean = self.result((total / num_samples).astype(np.float32), None, np.stack(sample_series), seconds)
        return mean, self.result(first, None, none, seconds / num_samples)

    def _image_scores(self, images: np.ndarray) -> np.ndarray:
        """Of the whole volumes, and of the brain alone."""
        scores = {}
        for ending, mask in (("", None), ("_brain", self.run.mask)):
            for definition in SIMILARITIES:
                scores[definition + ending] = self._similarity(images, definition, mask)
            scores[f"psnr{ending}"] = np.minimum(psnr(images, self.images, mask), HIGHEST_PSNR)
            scores[f"rmse{ending}"] = rmse(images, self.images, mask)
        return np.stack([scores[name] for name in IMAGE_SCORES])

    def _similarity(self, images: np.ndarray, definition: str, mask: np.ndarray | None) -> np.ndarray:
        """SSIM of each volume; NaN where the volumes hold no window of this definition, as a few slices do."""
        if not SSIM_DEFINITIONS[definition].fits(images.shape):
            return np.full(len(images), np.nan)
        return ssim(torch.from_numpy(images).to(self.device), self.images, definition, mask=mask)

    def _check(self, volumes: np.ndarray) -> None:
        expected = (len(self.run.onsets), *self.run.mean.shape)
        finite = bool(np.isfinite(volumes).all())
        if volumes.shape != expected or not finite:
            raise RecordingError(
                f"prediction of {self.run.name}",
                found=f"shape {volumes.shape}" + ("" if finite else " with NaN or Inf"),
                expected=f"finite volumes [N, z, y, x] = {expected}",
                remedy="A predictor must give every volume of the run.",
            )
