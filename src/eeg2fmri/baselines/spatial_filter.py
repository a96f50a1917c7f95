"""Power after a spatial filter: beamformers from a template lead field undo the mixing of the scalp before the power.

Power spectra of single electrodes can't be unmixed afterwards, so this needs complex spectra.
"""

from __future__ import annotations

import functools

import mne
import numpy as np

from .features import log_band_power
from .run import NotAvailable, Run

# Centres of the main cortical networks, MNI mm: the grid is coarse because 16 to 64 electrodes resolve no more.
SOURCES = (
    (-10, -90, 2), (10, -90, 2), (-42, -74, 0), (42, -74, 0),
    (-40, -24, 55), (40, -24, 55), (0, -5, 62), (-54, -8, 30), (54, -8, 30), (-52, -20, 8), (52, -20, 8),
    (0, -54, 28), (0, 52, 4), (-46, -67, 34), (46, -67, 34),
    (-27, -5, 54), (27, -5, 54), (-25, -62, 54), (25, -62, 54),
    (-44, 33, 24), (44, 33, 24), (-46, -52, 48), (46, -52, 48),
    (0, 22, 35), (-36, 18, 3), (36, 18, 3),
)  # fmt: skip
MONTAGE = "easycap-M1"
REGULARISATION = 0.05


def source_features(run: Run) -> np.ndarray:
    """Log band power of every source, band and window, `[N, window * source * band]`.

    Each run's beamformer (linearly constrained minimum variance, orientation of most power) comes from the run's own
    covariance over all frequencies.

    Raises:
        NotAvailable: when the spectra aren't complex, or an electrode isn't in the template montage.
    """
    processor = run.eeg_processor
    if processor.config.mode != "complex":
        raise NotAvailable(
            "spatial filter",
            found=f"spectra of the mode {processor.config.mode!r}, whose phase is lost",
            expected="the mode 'complex'",
            remedy="Prepare the dataset with it to have this row.",
        )
    real, imaginary = np.moveaxis(run.spectra().astype(np.float64), 1, 0)
    amplitudes = real + 1j * imaginary
    amplitudes -= amplitudes.mean(axis=1, keepdims=True)  # average reference
    covariance = np.einsum("cef,cgf->eg", amplitudes, amplitudes.conj(), optimize=True).real
    filters = _beamformer(tuple(processor.config.electrodes), covariance / amplitudes[:, 0].size)
    power = np.abs(np.einsum("se,cef->csf", filters, amplitudes, optimize=True)) ** 2
    # The unit is the filters' own: the scale is lost in the standardised logarithm.
    bands = log_band_power(power / power.mean(), processor.frequencies)
    return bands[run.columns].reshape(len(run.columns), -1)


def _beamformer(electrodes: tuple[str, ...], covariance: np.ndarray) -> np.ndarray:
    """Filters `[source, electrode]`."""
    info, forward = _lead_field(electrodes)
    data = mne.Covariance(covariance, info.ch_names, bads=[], projs=info["projs"], nfree=1, verbose="ERROR")
    filters = mne.beamformer.make_lcmv(
        info,
        forward,
        data,
        reg=REGULARISATION,
        pick_ori="max-power",
        weight_norm="unit-noise-gain",
        reduce_rank=False,
        rank={"eeg": len(electrodes) - 1},
        verbose="ERROR",
    )
    return filters["weights"]


@functools.lru_cache(maxsize=4)
def _lead_field(electrodes: tuple[str, ...]) -> tuple[mne.Info, mne.Forward]:
    """A sphere fitted to the template montage, with a dipole of each direction at every source."""
    montage = mne.channels.make_standard_montage(MONTAGE)
    unknown = [name for name in electrodes if name not in montage.ch_names]
    if unknown:
        raise NotAvailable(
            "electrodes",
            found=", ".join(unknown),
            expected=f"names of the montage {MONTAGE}",
            remedy="Prepare the dataset without them to have this row.",
        )
    info = mne.create_info(list(electrodes), 1.0, "eeg", verbose="ERROR")
    info.set_montage(montage, verbose="ERROR")
    info = (
        mne.io.RawArray(np.zeros((len(electrodes), 1)), info, verbose="ERROR")
        .set_eeg_reference(projection=True, verbose="ERROR")
        .info
    )
    full = mne.create_info(montage.ch_names, 1.0, "eeg", verbose="ERROR")
    full.set_montage(montage, verbose="ERROR")
    sphere = mne.make_sphere_model("auto", "auto", full, verbose="ERROR")
    head = mne.transforms.apply_trans(mne.transforms.invert_transform(_head_to_mni()), np.array(SOURCES) / 1000)
    centre, radius = sphere["r0"], sphere["layers"][0]["rad"]
    distance = np.linalg.norm(head - centre, axis=1, keepdims=True)
    head = centre + (head - centre) * np.minimum(1, 0.95 * radius / distance)
    normals = (head - centre) / np.linalg.norm(head - centre, axis=1, keepdims=True)
    sources = mne.setup_volume_source_space(pos={"rr": head, "nn": normals}, sphere=sphere, mindist=0, verbose="ERROR")
    return info, mne.make_forward_solution(info, None, sources, sphere, meg=False, mindist=0, verbose="ERROR")


def _head_to_mni() -> mne.transforms.Transform:
    """The template head's coordinates to MNI, as MNE ships them with its fsaverage."""
    folder = mne.__path__[0]
    return mne.read_trans(f"{folder}/data/fsaverage/fsaverage-trans.fif", verbose="ERROR")
