"""Jitter and lag of the paths of joints.

Owns both measures. Works on paths as arrays; knows neither networks nor steadiers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHIFTS = np.arange(-4, 4.01, 0.05)  # frames that `lag_costs` tries
_SMOOTH = np.array([0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25]) / 4  # over frames, for both paths alike
_EDGE = 5  # frames at either end of a stretch that are only looked up, by the smoothing and the shifts
_SETTLE = 8  # frames after a jump that are left out


@dataclass(frozen=True, slots=True)
class LagCosts:
    """Mismatch of two paths at each of `SHIFTS`; sums, so that clips can be added.

    Parameters
    ----------
    costs : (len(SHIFTS),) squared distances
    motion : length of the reference's paths, in units
    used, known : frames of joints that were compared, and that both paths know
    """

    costs: NDArray[np.float64]
    motion: float = 0.0
    used: int = 0
    known: int = 0

    def __add__(self, other: LagCosts) -> LagCosts:
        return LagCosts(
            self.costs + other.costs, self.motion + other.motion, self.used + other.used, self.known + other.known
        )

    @property
    def lag(self) -> float:
        """Frames by which the path is late; NaN if nothing was compared."""
        return float(SHIFTS[int(np.argmin(self.costs))]) if self.used else float("nan")


def second_differences(path: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Lengths of the second differences of a path, (T, J, 2), NaN where unknown, in thousandths of a unit."""
    second = np.linalg.norm(np.diff(path, 2, axis=0), axis=-1) / unit * 1000
    return np.asarray(second[np.isfinite(second)], np.float64)


def lag_costs(
    path: NDArray[np.float64], reference: NDArray[np.float64], unit: float, *, jump: float = 0.5
) -> LagCosts:
    """Compare a path with a reference at several shifts in time.

    Parameters
    ----------
    path, reference : (T, J, 2) in pixels, NaN where unknown
    unit : pixels, such as the width of the shoulders
    jump : step of the reference in one frame, in units, that no body makes: the network sees the joint on something
        else. Such a jump has no direction in time, yet its square would outweigh all motion, so it and the 8 frames
        after it are left out

    Returns
    -------
    LagCosts
        Who rests adds the same to every shift; the more a joint moves, the more it counts.

    References
    ----------
    Ours. Both paths go through the same symmetric window of 7 frames, because the noise of a reference that is
    sampled between two frames would be averaged away, and so favour half frames. Means are taken off, so that a
    constant offset is no lag. Between frames the reference is cubic (Catmull-Rom).
    """
    total = LagCosts(np.zeros(len(SHIFTS)))
    for joint in range(path.shape[1]):
        known = np.isfinite(path[:, joint]).all(-1) & np.isfinite(reference[:, joint]).all(-1)
        step = np.linalg.norm(np.diff(reference[:, joint], axis=0), axis=-1) / unit
        usable = known.copy()
        for at in np.flatnonzero(step > jump):
            usable[max(0, at) : at + 1 + _SETTLE] = False
        edges = np.flatnonzero(np.diff(np.concatenate(([False], usable, [False])).astype(int)))
        total += LagCosts(np.zeros(len(SHIFTS)), known=int(known.sum()))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            if end - begin > 2 * _EDGE + 3:
                total += _stretch(path[begin:end, joint] / unit, reference[begin:end, joint] / unit)
    return total


def _stretch(path: NDArray[np.float64], reference: NDArray[np.float64]) -> LagCosts:
    """Compare one joint over frames without a gap, (T, 2)."""
    smooth, goal = (
        np.stack([np.convolve(one[:, axis], _SMOOTH, "valid") for axis in (0, 1)], -1) for one in (path, reference)
    )
    room = _EDGE - len(_SMOOTH) // 2
    at = np.arange(room, len(goal) - room)  # frames that are compared at every shift
    costs = np.zeros(len(SHIFTS))
    for place, shift in enumerate(SHIFTS):
        apart = smooth[at] - _between(goal, np.asarray(at - shift, np.float64))
        costs[place] = np.square(apart - apart.mean(0)).sum()
    motion = float(np.linalg.norm(np.diff(goal[at], axis=0), axis=-1).sum())
    return LagCosts(costs, motion, len(at), 0)


def _between(values: NDArray[np.float64], at: NDArray[np.floating]) -> NDArray[np.float64]:
    """Catmull-Rom interpolation of values, (T, 2), at fractional places, (N,); the ends are repeated."""
    whole = np.floor(at).astype(int)
    part = (at - whole)[:, None]
    a, b, c, d = (values[np.clip(whole + k, 0, len(values) - 1)] for k in (-1, 0, 1, 2))
    return np.asarray(
        b + 0.5 * part * (c - a + part * (2 * a - 5 * b + 4 * c - d + part * (3 * (b - c) + d - a))), np.float64
    )
