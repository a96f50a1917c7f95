"""The smallest complete pipeline and recordings that fit it, made in memory."""

import numpy as np
import torch
from diffusers import DDIMScheduler

from eeg2fmri import (
    BOLDRun,
    ConditionalMeanModel,
    EEG2fMRIPipeline,
    EEGProcessor,
    EPGModel,
    FDUNetModel,
    VolumeProcessor,
)
from eeg2fmri.recordings.eeg import EEGRecording, eeg_from_array

ELECTRODES = ("Fp1", "Fp2", "C3", "Cz", "C4", "O1", "Oz", "O2")
SAMPLING_RATE = 64.0
REPETITION_TIME = 2.0
GRID = (8, 8, 6)
SAMPLE = (8, 8, 8)
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 2e-2,
    "beta_schedule": "linear",
    "timestep_spacing": "trailing",
    "clip_sample": False,
}


def signals(seed: int = 0, seconds: float = 20.0, num_electrodes: int = len(ELECTRODES)) -> np.ndarray:
    """EEG-like noise `[electrode, time]` in volts."""
    samples = round(seconds * SAMPLING_RATE)
    return 2e-5 * np.random.default_rng(seed).standard_normal((num_electrodes, samples))


def recording(seed: int = 0, seconds: float = 20.0) -> EEGRecording:
    return eeg_from_array(signals(seed, seconds), ELECTRODES, SAMPLING_RATE)


def bold(seed: int = 0, num_volumes: int = 30, gain: float = 1.0) -> BOLDRun:
    """A bright ball that flickers, `[x, y, z, time]`."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in GRID), indexing="ij")
    ball = 1000.0 * (x**2 + y**2 + z**2 < 0.9) + 20.0
    noise = 1 + 0.01 * rng.standard_normal((*GRID, num_volumes))
    affine = np.diag([6.0, 6.0, 8.0, 1.0])
    affine[:3, 3] = [-21.0, -21.0, -20.0]
    return BOLDRun((gain * ball[..., None] * noise).astype(np.float32), affine, REPETITION_TIME, "ball")


def eeg_processor(**changes) -> EEGProcessor:
    settings = {
        "electrodes": list(ELECTRODES),
        "mode": "log_power",
        "sampling_rate": SAMPLING_RATE,
        "num_frequencies": 6,
        "bins_per_frequency": 4,
        "num_windows": 4,
        "window_start": -8.0,
        "window_stop": 0.0,
        "normalization": "training",
        **changes,
    }
    processor = EEGProcessor(**settings)
    return processor.fit([(recording(seed), np.arange(8.0, 20.0, 2.0)) for seed in (10, 11)])


def complex_processor() -> EEGProcessor:
    return eeg_processor(mode="complex", bins_per_frequency=1, baseline="whitening")


def volume_processor(mode: str = "change", **changes) -> VolumeProcessor:
    processor = VolumeProcessor(
        mode=mode, sample_size=SAMPLE, grid_shape=GRID, repetition_time=REPETITION_TIME, space="mni", **changes
    )
    return processor.fit([bold(1), bold(2)])


def prior() -> ConditionalMeanModel:
    torch.manual_seed(0)
    model = ConditionalMeanModel(
        sample_size=(len(ELECTRODES), 6, 4),
        volume_size=SAMPLE,
        bands=((0, 3), (2, 6)),
        num_filters=5,
        hidden_channels=4,
        num_components=3,
    )
    torch.nn.init.normal_(model.maps)
    return model.eval()


def pipeline(mode: str = "change", scheduler=None, with_prior: bool = False, **unet_changes) -> EEG2fMRIPipeline:
    torch.manual_seed(0)
    encoder = EPGModel(
        in_channels=1,
        sample_size=(5, 2, 4) if with_prior else (len(ELECTRODES), 6, 4),
        block_out_channels=(8, 8),
        cross_attention_dim=16,
        norm_num_groups=4,
        num_spectral_attention_heads=2,
        position_embeddings=True,
    )
    settings = {
        "sample_size": SAMPLE,
        "in_channels": 2 if mode == "change" else 1,
        "block_out_channels": (8, 16),
        "interaction_levels": (1,),
        "cross_attention_dim": 16,
        "norm_num_groups": 4,
        **unet_changes,
    }
    pipe = EEG2fMRIPipeline(
        eeg_encoder=encoder.eval(),
        unet=FDUNetModel(**settings).eval(),
        scheduler=scheduler or DDIMScheduler(**SCHEDULE),
        eeg_processor=complex_processor() if with_prior else eeg_processor(),
        volume_processor=volume_processor(mode),
        prior=prior() if with_prior else None,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
