"""From the encoder's places to electrodes, and from sources in the brain to the encoder's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ...baselines.run import NotAvailable
from ...data.simulation.head import (
    BRAIN_CENTRE,
    BRAIN_SEMI_AXES,
    HEAD_RADIUS,
    MONTAGE,
    electrode_positions,
    nearest_dipoles,
    referenced_fields,
)
from ...errors import InputError
from ...pipeline import EEG2fMRIPipeline
from ...processing.eeg import EEGProcessor

SMALL_CHANGE = 0.01  # of a logarithm: in the range where normalisation is linear, far above rounding


def fields_of(electrodes: Sequence[str], reference: str, centres: np.ndarray) -> np.ndarray:
    """What activity of the cortex at each place makes at the electrodes of the template head, against the reference.

    Args:
        electrodes: names.
        reference: name of the electrode that the recording was made against.
        centres (`np.ndarray` of shape `[source, 3]`): MNI mm; the 40 nearest dipoles of the cortex act together.

    Returns:
        `np.ndarray` of shape `[source, electrode]`: unit rms.

    Raises:
        NotAvailable: when an electrode is not in the template montage.
    """
    names = (*electrodes, reference)
    try:
        fields = referenced_fields(names, np.zeros((len(names), 3)), [nearest_dipoles(place) for place in centres]).T
    except InputError as error:
        raise NotAvailable(error.subject, found=error.found, expected=error.expected, remedy=error.remedy) from error
    return fields / np.sqrt(np.mean(fields**2, axis=1, keepdims=True))


def below_electrodes(electrodes: Sequence[str]) -> np.ndarray:
    """The brain's surface under each electrode, `[electrode, 3]` in MNI mm.

    Raises:
        NotAvailable: when an electrode is not in the template montage.
    """
    try:
        directions = electrode_positions(tuple(electrodes)) / HEAD_RADIUS
    except InputError as error:
        raise NotAvailable(error.subject, found=error.found, expected=MONTAGE, remedy=error.remedy) from error
    return directions * BRAIN_SEMI_AXES + BRAIN_CENTRE


def without_reference(fields: np.ndarray) -> np.ndarray:
    """Against the mean of the electrodes, with unit norm; `[..., electrode]`."""
    centred = fields - fields.mean(axis=-1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), np.finfo(float).tiny)


def filter_patterns(pipe: EEG2fMRIPipeline, recorded: np.ndarray, normalised: np.ndarray) -> np.ndarray:
    """What the prior's virtual channels look like at the electrodes, `[band, filter, electrode]`.

    A filter says what is weighed to cancel everything else, not where its source is. Its pattern does: the covariance
    of the recorded electrodes with the virtual channel (Haufe et al. 2014, doi:10.1016/j.neuroimage.2013.10.067,
    equation 6). Taken with the recorded spectra, it is free of the recording's whitening. Every frequency counts with
    the filter's own profile, the recorded spectrum levelled.

    Args:
        pipe: with a prior.
        recorded (`np.ndarray` of shape `[column, 2, electrode, frequency]`): real and imaginary part, uV.
        normalised: the same columns as the prior reads them.
    """
    loudness = np.sqrt(np.square(recorded, dtype=np.float64).mean(axis=(0, 1, 2)))
    levelled = recorded / np.maximum(loudness, np.finfo(np.float32).tiny)
    patterns = []
    for band in pipe.prior.band_powers:
        filters = band.filters.detach().double().cpu().numpy()
        profile = torch.softmax(band.profile.detach().double(), 0).cpu().numpy()
        channels = np.einsum("se,kcef->kcsf", filters, normalised[..., band.band], optimize=True) * profile
        patterns.append(np.einsum("kcef,kcsf->se", levelled[..., band.band], channels, optimize=True))
    return np.array(patterns)


def input_maps(recorded: np.ndarray, normalised: np.ndarray) -> np.ndarray:
    """The linear map from recorded to normalised complex spectra, `[frequency, electrode, electrode]`.

    Levelling, whitening and normalisation of a recording are linear at each frequency, so that least squares over its
    columns finds their product.
    """
    maps = []
    for frequency in range(recorded.shape[-1]):
        x, y = (
            values[..., frequency].reshape(-1, recorded.shape[2]).astype(float) for values in (recorded, normalised)
        )
        maps.append(np.linalg.lstsq(x, y, rcond=None)[0].T)
    return np.array(maps)


def input_changes(
    eeg_processor: EEGProcessor, stored: np.ndarray, recorded: np.ndarray, fields: np.ndarray, columns: np.ndarray
) -> Iterator[np.ndarray]:
    """How the input changes when one source's activity grows, for every source.

    Complex spectra: the part along the source's field, as the processor passes it on, grows by the logarithm's unit.
    Powers and magnitudes: each electrode's grows by the share that the source would have in its power. All fields have
    unit length in the end, so that sources compare.

    Args:
        eeg_processor: of the model.
        stored (`np.ndarray` of shape `[column, C, electrode, frequency]`): spectra with the processor's baseline.
        recorded: the same without it.
        fields (`np.ndarray` of shape `[source, electrode]`): of [`fields_of`].
        columns (`np.ndarray` of shape `[N, window]`): of the windows.

    Yields:
        `np.ndarray` of shape `[N, C, electrode, frequency, window]`.
    """
    normalised = eeg_processor.normalise(stored)
    if eeg_processor.config.mode == "complex":
        windows = normalised[columns].transpose(0, 2, 3, 4, 1)
        for directions in np.einsum("fde,se->sdf", input_maps(recorded, normalised), fields):
            unit = directions / np.maximum(np.linalg.norm(directions, axis=0), np.finfo(float).tiny)
            yield np.einsum("ncefw,ef,df->ncdfw", windows, unit, unit, optimize=True)
        return
    logarithmic = eeg_processor.config.mode == "log_power"
    power = (np.exp(recorded) if logarithmic else np.square(recorded)).mean(axis=(0, 1), dtype=np.float64)
    for field in fields:
        share = field[:, None] ** 2 / np.maximum(power, np.finfo(np.float32).tiny)
        share *= SMALL_CHANGE / np.linalg.norm(share, axis=0)
        grown = stored + share if logarithmic else stored * (1 + share / 2)
        change = (eeg_processor.normalise(grown.astype(np.float32)) - normalised) / SMALL_CHANGE
        yield change[columns].transpose(0, 2, 3, 4, 1)
