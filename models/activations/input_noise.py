"""Noise on the input, h(x + s): NANI, NANIS and NANIL as pure functions, and their means.

Everything random comes in as an argument, as in `functions`. A line clipped at -T and T has a mean in closed
form under Gaussian noise; under NANIL's, whose size depends on |xi| itself, it has not, and is summed instead.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .functions import HardFunction

TINY = 1e-10  # keeps p |v| / |xi| finite where a draw is exactly zero; the authors' figure
SMALLEST_SIGMA = 1e-6  # below it the mean is h(x) to the last bit of float32, and 1 / sigma must stay finite


def input_noise(
    x: Tensor, noise: Tensor, *, function: HardFunction, sigma: Tensor | float, saturated_only: bool
) -> Tensor:
    """Compute h(x + sigma xi), any shape: everywhere (NANI), or only from |x| = `function.onset` on (NANIS).

    Parameters
    ----------
    x, noise : same shape; `noise` standard normal
    sigma : standard deviation of the shift, in units of x

    References
    ----------
    Gulcehre et al. 2016, section 5; thresholds of the authors' code (nunits.py).
    """
    shift = sigma * noise
    if saturated_only:
        shift = torch.where(x.abs() >= function.onset, shift, torch.zeros_like(shift))
    return function(x + shift)


def input_noise_mean(x: Tensor, *, function: HardFunction, sigma: Tensor, saturated_only: bool) -> Tensor:
    """Compute the mean of `input_noise` over its noise, any shape, in closed form.

    h(x) = low + slope ((x + T)+ - (x - T)+), and for a normal xi E[(y + sigma xi)+] = sigma psi(y / sigma) with
    psi(z) = z Phi(z) + phi(z). With A = (x + T) / (sigma sqrt 2), B = (x - T) / (sigma sqrt 2) and
    F(z) = sqrt(pi) z erf(z) + exp(-z^2) this becomes middle + slope sigma / sqrt(2 pi) (F(A) - F(B)).

    References
    ----------
    Ours, from the mean of a rectified Gaussian; the authors' code tests with h(x) instead.
    """
    sigma = sigma.clamp_min(SMALLEST_SIGMA)
    half_width = (function.high - function.low) / (2 * function.slope)
    middle = (function.high + function.low) / 2
    to_z = 1 / (math.sqrt(2) * sigma)
    border = half_width * to_z
    # Ten deviations outside the mean is saturated, and the difference of F(A) and F(B) would only lose digits.
    reach = half_width + 10 * sigma
    z = torch.minimum(torch.maximum(x, -reach), reach) * to_z
    # Both ends in one tensor would be half the nodes, but a third slower in ONNX Runtime, and no longer one fused
    # kernel where an engine fuses what works element by element.
    mean = (_rectified(z + border) - _rectified(z - border)) * (function.slope / math.sqrt(2 * math.pi) * sigma)
    if middle:
        mean = mean + middle
    if not saturated_only:
        return mean
    # A mask and not `where`, which takes ONNX Runtime seven times as long as all of the above.
    saturated, hard = (x.abs() >= function.onset).to(x.dtype), function(x)
    return hard + saturated * (mean - hard)


def _rectified(z: Tensor) -> Tensor:
    """F(z) of `input_noise_mean`."""
    return (math.sqrt(math.pi) * z) * torch.erf(z) + torch.exp(-(z * z))


def learned_shift(v: Tensor, noise: Tensor, *, p: Tensor, c: Tensor | float) -> Tensor:
    """Compute NANIL's shift s = c softplus(p |v| / |xi|) xi of the input, any shape.

    References
    ----------
    The authors' NTanhPInp and NSigmoidPInp (nunits.py). In the linear zone it is c ln(2) xi; far into the saturated
    zone it tends to c p |v| sgn(xi) where p is positive, and dies out where p is negative.
    """
    # In this order all that does not depend on v is a constant of an exported graph.
    return functional.softplus(p / (noise.abs() + TINY) * v.abs()) * (c * noise)


def learned_input_noise(x: Tensor, noise: Tensor, *, function: HardFunction, p: Tensor, c: Tensor | float) -> Tensor:
    """Evaluate NANIL, h(x + s(x, xi)), with standard normal `noise`."""
    line = function.line(x)
    v = line.clamp(function.low, function.high) - line
    # u(x + s) = u(x) + slope s
    return (line + learned_shift(v, noise, p=p, c=c * function.slope)).clamp(function.low, function.high)


def learned_input_noise_mean(
    x: Tensor, *, function: HardFunction, p: Tensor, c: Tensor | float, points: int = 16
) -> Tensor:
    """Compute the mean of `learned_input_noise`, any shape, by a fixed sum over |xi| with both signs.

    Unlike the other variants' this mean has no closed form in the saturated zone: the truncated mean of the shift
    |xi| softplus(p |v| / |xi|) is no elementary function. The sum is off by less than 0.002 c at 16 points and c up
    to 1, which `tests/models/test_activations.py` holds it to.

    Parameters
    ----------
    points : of the quadrature; time and memory are 2 * `points` those of a plain activation

    References
    ----------
    Ours. The authors' code drops the noise when testing, which gives h(x) and is not the mean.
    """
    line = function.line(x)
    v = line.clamp(function.low, function.high) - line
    sizes, weights = half_normal_rule(points)
    # The points lie along a new first axis, so that p and c broadcast as ever.
    axes = (2 * points, *(1,) * x.ndim)
    noise = torch.tensor(sizes + tuple(-size for size in sizes), dtype=x.dtype, device=x.device).view(axes)
    share = torch.tensor(weights * 2, dtype=x.dtype, device=x.device).view(axes) / 2
    shifted = line + learned_shift(v, noise, p=p, c=c * function.slope)
    return (share * shifted.clamp(function.low, function.high)).sum(0)


@cache
def half_normal_rule(points: int, reach: float = 5.0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give places and weights for the mean over |xi|: Gauss-Legendre on (0, `reach`), weights summing to 1."""
    nodes, widths = np.polynomial.legendre.leggauss(points)
    places = (nodes + 1) * reach / 2
    weights = widths * np.exp(-(places**2) / 2)
    return tuple(places.tolist()), tuple((weights / weights.sum()).tolist())
