"""Whether the components of a pipeline fit together."""

from __future__ import annotations

from .errors import CheckpointError
from .pipeline_inputs import window_shape


def check_components(eeg_encoder, unet, eeg_processor, volume_processor, prior=None) -> None:
    """Refuse components that can't work together; one that is `None`, not loaded, is passed over.

    Raises:
        CheckpointError: naming the first two values that disagree.
    """
    encoder, denoiser, volume = (part and part.config for part in (eeg_encoder, unet, volume_processor))
    size = volume and tuple(volume.sample_size)
    encoded = eeg_processor and window_shape(eeg_processor)
    pairs: dict[str, tuple] = {}
    if prior is not None:
        pairs["prior's EEG window (channel, electrode, frequency, window)"] = (prior.window_shape, encoded)
        pairs["prior's volume (D, H, W)"] = (tuple(prior.config.volume_size), size)
        encoded = prior.band_power_shape
    pairs |= {
        "EEG window (electrode, frequency, window)": (encoder and tuple(encoder.sample_size), encoded and encoded[1:]),
        "EEG channels": (encoder and encoder.in_channels, encoded and encoded[0]),
        "volume (D, H, W)": (denoiser and tuple(denoiser.sample_size), size),
        "token width": (encoder and encoder.cross_attention_dim, denoiser and denoiser.cross_attention_dim),
        "volume channels": (
            denoiser and denoiser.in_channels,
            denoiser and volume and denoiser.out_channels + (volume.mode == "change"),
        ),
    }
    _check_equal(pairs)


def check_network(network, eeg_processor, volume_processor) -> None:
    """Refuse a one-pass network that its processors don't fit.

    Raises:
        CheckpointError: naming the first two values that disagree.
    """
    volume = tuple(volume_processor.config.sample_size)
    _check_equal(
        {
            "EEG window (channel, electrode, frequency, window)": (network.window_shape, window_shape(eeg_processor)),
            "volume (D, H, W)": (network.output_shape[1:], volume),
        }
    )


def _check_equal(pairs: dict[str, tuple]) -> None:
    for name, (found, expected) in pairs.items():
        if None not in (found, expected) and found != expected:
            raise CheckpointError(
                name,
                found=f"{found} in the network",
                expected=f"{expected}, as its counterpart says",
                remedy="Use components that were trained together.",
            )
