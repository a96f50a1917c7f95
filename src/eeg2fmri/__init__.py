"""EEG recordings to fMRI volumes with a conditional diffusion model, in the style of Hugging Face diffusers.

Public names are imported on first use, so that `import eeg2fmri` costs next to nothing.
"""

import importlib

from .registration import register_components

__version__ = "0.1.0"

_PUBLIC = {
    "EEG2fMRIPipeline": ".pipeline",
    "EEG2fMRIPipelineOutput": ".pipeline_outputs",
    "EEG2fMRIRegressionPipeline": ".regression_pipeline",
    "EPGModel": ".models.epg",
    "FDUNetModel": ".models.fd_unet",
    "ConditionalMeanModel": ".models.conditional_mean",
    "CNNPlusModel": ".baselines.networks.cnn_plus",
    "TAGModel": ".baselines.networks.tag",
    "BIOTModel": ".baselines.networks.biot",
    "E2fGANModel": ".baselines.networks.e2fgan",
    "CDM3DModel": ".baselines.networks.cdm_3d",
    "EEGProcessor": ".processing.eeg",
    "VolumeProcessor": ".processing.volume",
    "EEGRecording": ".recordings.eeg",
    "BOLDRun": ".recordings.bold",
    "read_eeg": ".recordings.eeg",
    "read_bold": ".recordings.bold",
    "PairedDataset": ".data.paired_dataset",
    "EEG2fMRIError": ".errors",
    "InputError": ".errors",
    "RecordingError": ".errors",
    "FileError": ".errors",
    "CheckpointError": ".errors",
}

__all__ = sorted(_PUBLIC)

register_components()


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
