"""The networks: `epg` encodes EEG into tokens, `fd_unet` denoises fMRI volumes under their guidance."""
