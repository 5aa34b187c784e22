"""Noise on the input, h(x + s): NANI, NANIS and NANIL as pure functions, and their means.

Everything random comes in as an argument, as in `functions`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .functions import HardFunction

TINY = 1e-10  # keeps p |v| / |xi| finite where a draw is exactly zero; the authors' figure


def learned_shift(v: Tensor, noise: Tensor, *, p: Tensor, c: Tensor | float) -> Tensor:
    """Give NANIL's shift s = c softplus(p |v| / |xi|) xi of the input.

    References
    ----------
    The authors' NTanhPInp and NSigmoidPInp (nunits.py). In the linear zone it is c ln(2) xi; far into the saturated
    zone it tends to c p |v| sgn(xi) where p is positive, and dies out where p is negative.
    """
    return c * functional.softplus(p * v.abs() / (noise.abs() + TINY)) * noise


def learned_input_noise(x: Tensor, noise: Tensor, *, function: HardFunction, p: Tensor, c: Tensor | float) -> Tensor:
    """Evaluate NANIL, h(x + s(x, xi)), with standard normal `noise`."""
    line = function.line(x)
    v = line.clamp(function.low, function.high) - line
    return function(x + learned_shift(v, noise, p=p, c=c))


def learned_input_noise_mean(
    x: Tensor, *, function: HardFunction, p: Tensor, c: Tensor | float, points: int = 16
) -> Tensor:
    """Evaluate the mean of `learned_input_noise` over its noise, by a fixed sum.

    Unlike the other variants' this mean has no closed form in the saturated zone: the truncated mean of the shift
    |xi| softplus(p |v| / |xi|) is no elementary function. So |xi| runs over `points` quantiles of the half-normal
    distribution, each with both signs.

    References
    ----------
    Ours; the authors' code drops the noise when testing, which gives h(x) and is not the mean.
    """
    line = function.line(x)
    v = line.clamp(function.low, function.high) - line
    # The quantiles lie along a new first axis, so that p and c broadcast as ever.
    quantiles = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    sizes = math.sqrt(2) * torch.erfinv(quantiles)  # of |xi|
    sizes = sizes.to(x.dtype).to(x.device).view(-1, *(1,) * x.ndim)
    shift = learned_shift(v, sizes, p=p, c=c)
    return 0.5 * (function(x + shift) + function(x - shift)).mean(0)
