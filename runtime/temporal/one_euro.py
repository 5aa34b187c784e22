"""The One-Euro filter on the real time step: strong for slow values, weak for fast ones.

Owns `OneEuro`. Used for keypoints; knows nothing of people or frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch, UsageError


@dataclass(frozen=True, slots=True)
class OneEuroOptions:
    """Strength of the filter.

    Parameters
    ----------
    min_cutoff_hz : cutoff at rest; lower is steadier
    beta : cutoff gained per unit of speed (1/s of the values' unit); higher lags less in motion
    derivative_cutoff_hz : cutoff of the speed's own low-pass
    """

    min_cutoff_hz: float = 1.0
    beta: float = 0.02
    derivative_cutoff_hz: float = 1.0

    def __post_init__(self) -> None:
        if self.min_cutoff_hz <= 0 or self.derivative_cutoff_hz <= 0 or self.beta < 0:
            raise UsageError("The filter's cutoffs are positive and beta is not negative", found=self)


class OneEuro:
    """Filter an array of independent values over time.

    Values that are NaN are unknown: they stay NaN, and when one comes back its filter starts anew, so that a joint
    that was lost does not glide in from where it was last seen.

    References
    ----------
    Casiez, Roussel, Vogel 2012, "1 Euro Filter", equations 1-6. Irregular time steps as there; NaN rule is ours.

    Examples
    --------
    >>> smooth = OneEuro()
    >>> smooth(np.array([1.0], np.float32), 0)
    array([1.], dtype=float32)
    """

    def __init__(self, options: OneEuroOptions | None = None) -> None:
        self.options = options or OneEuroOptions()
        self.reset()

    def reset(self) -> None:
        """Forget all earlier values."""
        self._value: NDArray[np.float32] | None = None
        self._speed = np.zeros((), np.float32)
        self._at_ns = 0

    def __call__(self, value: NDArray[np.float32], at_ns: int) -> NDArray[np.float32]:
        """Filter the values measured at a time.

        Parameters
        ----------
        value : any shape, the same at every call since `reset`
        at_ns : capture clock in nanoseconds; a time that is not later than the last one changes nothing

        Returns
        -------
        float32 array like `value`
        """
        value = np.asarray(value, np.float32)
        if self._value is None:
            self._value, self._speed, self._at_ns = value, np.zeros_like(value), at_ns
            return value
        if value.shape != self._value.shape:
            raise ShapeMismatch("The filter's values changed shape", expected=self._value.shape, found=value.shape)
        step_s = (at_ns - self._at_ns) * 1e-9
        if step_s <= 0:
            return self._value
        fresh = np.isnan(self._value)
        last = np.where(fresh, value, self._value)
        raw_speed = (value - last) / np.float32(step_s)
        speed = self._speed + _gain(self.options.derivative_cutoff_hz, step_s) * (raw_speed - self._speed)
        # A value that comes back, or is unknown now, has no speed.
        speed = np.where(fresh | np.isnan(speed), np.float32(0), speed)
        cutoff_hz = self.options.min_cutoff_hz + self.options.beta * np.abs(speed)
        self._value = np.asarray(last + _gain(cutoff_hz, step_s) * (value - last), np.float32)
        self._speed, self._at_ns = np.asarray(speed, np.float32), at_ns
        return self._value


def _gain(cutoff_hz: float | NDArray[np.float32], step_s: float) -> float | NDArray[np.float32]:
    """Weight of a new value in a first-order low-pass over one time step."""
    turn = 2 * np.pi * cutoff_hz * step_s
    return turn / (turn + 1)
