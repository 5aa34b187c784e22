"""What the height of a peak is worth: the chance that the joint is where the network says.

Owns the fit of two figures, slope and offset of a logistic curve over the peak's logarithm, which the exporter writes
into the graph, so that scores can be compared with a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .evaluate import Evaluation

RADIUS = 0.2  # torsos within which a joint counts as right
_STEPS = 50
_RIDGE = 1e-3  # keeps the fit finite where the peaks separate right from wrong perfectly


def fit_calibration(evaluations: Sequence[Evaluation], absent: Sequence[NDArray[np.bool_]]) -> tuple[float, float]:
    """Fit slope and offset over all joints whose place is known, and those that are known to be outside.

    Parameters
    ----------
    evaluations : of some sets of people
    absent : for each set (N, J) bool, joints outside the image: whatever was found there is wrong

    Returns
    -------
    slope, offset
        score = 1 / (1 + exp(-(slope * log(peak) + offset)))

    References
    ----------
    Platt 1999, on the logarithm of the peak instead of a margin.
    """
    peaks, right = [], []
    for seen, outside in zip(evaluations, absent, strict=True):
        known = np.isfinite(seen.errors)
        peaks += [seen.peaks[known], seen.peaks[outside & ~known]]
        right += [seen.errors[known] <= RADIUS, np.zeros(int((outside & ~known).sum()), bool)]
    return _logistic(np.log(np.maximum(np.concatenate(peaks), 1e-4)), np.concatenate(right))


def scores_of(peaks: NDArray[np.float32], calibration: tuple[float, float]) -> NDArray[np.float64]:
    """Convert peaks of any shape to scores, as the exported graph does."""
    slope, offset = calibration
    return np.asarray(1 / (1 + np.exp(-(slope * np.log(np.maximum(peaks, 1e-4)) + offset))), np.float64)


def expected_calibration_error(scores: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float:
    """Compute the mean gap between score and share of right joints, both (N,), over bins weighted by size."""
    place = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = [
        (place == i).mean() * abs(scores[place == i].mean() - right[place == i].mean())
        for i in range(bins)
        if (place == i).any()
    ]
    return float(sum(gaps))


def _logistic(x: NDArray[np.floating], y: NDArray[np.bool_]) -> tuple[float, float]:
    """Newton's method for one slope and one offset."""
    design = np.column_stack((x, np.ones_like(x))).astype(np.float64)
    weights = np.zeros(2)
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-(design @ weights)))
        gradient = design.T @ (chance - y) / len(y) + _RIDGE * weights
        curve = (design * (chance * (1 - chance))[:, None]).T @ design / len(y) + _RIDGE * np.eye(2)
        step = np.linalg.solve(curve, gradient)
        weights -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return float(weights[0]), float(weights[1])
