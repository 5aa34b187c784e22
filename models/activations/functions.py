"""The two hard functions and the noise formulas, as pure functions of tensors.

Everything random comes in as an argument, so that a formula can be tested with the noise of one's choice.
The modules that draw the noise are in `modules`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

HALF_NORMAL_MEAN = math.sqrt(2 / math.pi)


@dataclass(frozen=True, slots=True)
class HardFunction:
    """A line that is clipped where the soft function would saturate.

    Parameters
    ----------
    slope, offset : of the line `u(x) = slope * x + offset`
    low, high : `h(x) = clip(u(x), low, high)`
    onset : |x| from which NANIS adds its noise; the authors' value, a hair outside the linear zone for tanh

    References
    ----------
    Gulcehre et al. 2016, section 2; the constants are those of the authors' code (`nunits.py`).
    """

    name: str
    slope: float
    offset: float
    low: float
    high: float
    onset: float

    def line(self, x: Tensor) -> Tensor:
        """Compute the first-order expansion u(x) around 0, any shape, which is not clipped."""
        scaled = x if self.slope == 1 else x * self.slope
        return scaled if self.offset == 0 else scaled + self.offset

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate the hard function h(x)."""
        return self.line(x).clamp(self.low, self.high)


HARD_SIGMOID = HardFunction("hard-sigmoid", slope=0.25, offset=0.5, low=0.0, high=1.0, onset=2.0)
HARD_TANH = HardFunction("hard-tanh", slope=1.0, offset=0.0, low=-1.0, high=1.0, onset=1.001)


def output_noise_scale(v: Tensor, p: Tensor, c: Tensor | float) -> Tensor:
    """Compute sigma = c * (sigmoid(p v) - 1/2)^2 for `v` of any shape: at most c / 4, and exactly 0 where v = 0.

    References
    ----------
    Gulcehre et al. 2016, section 4: the scale grows with the distance v into the saturated zone.
    """
    return c * (torch.sigmoid(p * v) - 0.5).square()


def output_noise(
    x: Tensor, noise: Tensor, *, function: HardFunction, p: Tensor, c: Tensor | float, alpha: float
) -> Tensor:
    """Compute alpha h + (1 - alpha) u + d sigma noise, any shape: noise on the output, only where the unit saturates.

    Parameters
    ----------
    x, noise : same shape; `noise` is standard normal (NAN) or its absolute value (NAH)
    p : broadcastable to `x`; learned, how fast the noise grows with saturation
    c : scale of the noise
    alpha : above 1 the saturated part bends back towards the linear zone, below 1 it leaks outwards

    References
    ----------
    Gulcehre et al. 2016, section 4.2. At alpha = 1, where the formula's d = -sgn(x) sgn(1 - alpha) would
    erase the noise, d = -sgn(x) as in the authors' code.
    """
    line = function.line(x)
    # u + alpha (h - u) and not alpha h + (1 - alpha) u: in the linear zone this is u to the last bit.
    v = line.clamp(function.low, function.high) - line
    direction = torch.sign(x) if alpha > 1 else -torch.sign(x)
    return line + alpha * v + direction * output_noise_scale(v, p, c) * noise


def output_noise_mean(
    x: Tensor, *, function: HardFunction, p: Tensor, c: Tensor | float, alpha: float, half_normal: bool
) -> Tensor:
    """Compute the mean of `output_noise` over its noise, any shape, in as few operations as possible.

    The half-normal term is t |t| with t = tanh(|p| v / 2), since sigmoid(a) - 1/2 = tanh(a / 2) / 2 and v has
    the sign opposite to x.

    References
    ----------
    Gulcehre et al. 2016, section 4.2: the mean of |xi| is sqrt(2 / pi), that of xi 0. The tanh form is ours.
    """
    line = function.line(x)
    v = line.clamp(function.low, function.high) - line
    mean = line + alpha * v
    if not half_normal:
        return mean
    t = torch.tanh((0.5 * p.abs()) * v)
    weight = c * (HALF_NORMAL_MEAN / 4 if alpha <= 1 else -HALF_NORMAL_MEAN / 4)
    return mean + weight * (t * t.abs())
