"""The axes of every tensor, written once. Sizes in brackets are the paper's."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray"

EEGSignals: TypeAlias = Annotated[Array, "[electrode, time] volts"]
EEGSpectra: TypeAlias = Annotated[Array, "[column, channel, electrode, frequency] one column per spectrum"]
EEGWindows: TypeAlias = Annotated[Array, "[volume, channel (1), electrode (64), frequency (134), window (10)]"]
BOLDVolumes: TypeAlias = Annotated[Array, "[x, y, z, time] scanner units"]
ModelVolumes: TypeAlias = Annotated[Array, "[volume, channel (1), D = z (32), H = y (64), W = x (64)] model units"]
