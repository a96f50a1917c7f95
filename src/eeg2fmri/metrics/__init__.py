"""Scores as pure functions of arrays or tensors: what training, baselines and evaluation share."""
