"""What a model could reach that knew the coupling: simulated data only."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .run import NotAvailable, Prediction, Run


class Oracle:
    """The run's own mean, changed by the part of BOLD that the EEG truly drives."""

    def fit(self, runs: Iterable[Run]) -> Oracle:
        return self

    def predict(self, run: Run) -> Prediction:
        """Predict with the truth.

        Raises:
            NotAvailable: for measured data.
        """
        truth = run.truth
        if truth is None:
            raise NotAvailable(
                "oracle", found="measured data", expected="a simulation", remedy="Nobody knows what the EEG drives."
            )
        change = np.einsum("nk,kzyx->nzyx", truth.change, truth.maps, optimize=True)
        return Prediction([(run.own_mean * (1 + change / 100)).astype(np.float32)])
