from eeg2fmri import EEG2fMRIPipeline  # noqa: F401
