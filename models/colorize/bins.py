"""Colors as a distribution: bins of a* and b*, how rare each is, and the color that a distribution stands for.

Owns the grid of bins and its arithmetic. Knows no network and no loss.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
from torch import Tensor

BIN_STEP = 10  # CIELAB units between the centers of neighboring bins
BIN_REACH = 90  # the outermost centers; 19 x 19 bins
SIDE = 2 * BIN_REACH // BIN_STEP + 1


@functools.cache
def in_gamut() -> Tensor:
    """Bins that some sRGB color falls into, as (Q,) int64 indices into the flat 19 x 19 grid."""
    steps = np.linspace(0, 1, 33, dtype=np.float32)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    ab = cv2.cvtColor(cube, cv2.COLOR_BGR2LAB)[0, :, 1:]
    mass = _grid(torch.from_numpy(np.ascontiguousarray(ab.T))[None, :, None]).sum((0, 2, 3))
    return torch.nonzero(mass > 0)[:, 0]


def num_bins() -> int:
    """Count the bins in use."""
    return len(in_gamut())


def bin_centers() -> Tensor:
    """Centers of the bins in use, (Q, 2) in CIELAB a* and b*."""
    line = torch.arange(-BIN_REACH, BIN_REACH + 1, BIN_STEP, dtype=torch.float32)
    return torch.cartesian_prod(line, line)[in_gamut()]


def soft_bins(ab: Tensor) -> Tensor:
    """Spread colors bilinearly over the four bins around them, so that the mean of the bins is the color.

    Parameters
    ----------
    ab : (B, 2, H, W), CIELAB units; what lies beyond the grid is moved to its rim

    Returns
    -------
    (B, Q, H, W), non-negative, sums to 1 over Q
    """
    mass = _grid(ab)[:, in_gamut().to(ab.device)]
    return mass / mass.sum(1, keepdim=True)  # a color at the rim may lean on a bin that is not in use


def corner_bins(ab: Tensor) -> tuple[Tensor, Tensor]:
    """Say the same as `soft_bins` in 4 numbers a pixel instead of Q.

    Parameters
    ----------
    ab : (B, 2, H, W), CIELAB units

    Returns
    -------
    (B, 4, H, W) int64 bins; (B, 4, H, W) their shares, which sum to 1
    """
    places = torch.zeros(SIDE * SIDE, dtype=torch.int64)
    used = torch.zeros(SIDE * SIDE)
    places[in_gamut()], used[in_gamut()] = torch.arange(num_bins()), 1.0
    places, used = places.to(ab.device), used.to(ab.device)
    position = ((ab + BIN_REACH) / BIN_STEP).clamp(0, SIDE - 1)
    low = position.floor().clamp_max(SIDE - 2)
    part = position - low  # (B, 2, H, W)
    a, b = low.long().unbind(1)
    part_a, part_b = part.unbind(1)
    cells, shares = [], []
    for step_a, step_b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cells.append((a + step_a) * SIDE + b + step_b)
        shares.append((part_a if step_a else 1 - part_a) * (part_b if step_b else 1 - part_b))
    cell, share = torch.stack(cells, 1), torch.stack(shares, 1)
    share = share * used[cell]
    return places[cell], share / share.sum(1, keepdim=True)


def rarity(frequency: Tensor, *, mix: float = 0.5, most: float = 10.0) -> Tensor:
    """Weights of the bins, so that rare and vivid colors count beside the many dull ones.

    Parameters
    ----------
    frequency : (Q,) share of each bin in the training photos
    mix : share of the uniform distribution in what is inverted; 1 gives equal weights
    most : largest weight, relative to the mean weight of a training pixel

    Returns
    -------
    (Q,) with mean 1 over training pixels

    References
    ----------
    Class rebalancing of Zhang et al. 2016; the cap is ours: without it a handful of neon pixels steer the training.
    """
    frequency = frequency / frequency.sum()
    weights = 1 / ((1 - mix) * frequency + mix / len(frequency))
    weights = weights / (weights * frequency).sum()
    weights = weights.clamp_max(most)
    return weights / (weights * frequency).sum()


def annealed_mean(logits: Tensor, centers: Tensor, temperature: float) -> Tensor:
    """Mean color of a sharpened distribution: vivid where it is sure, neutral where colors contradict each other.

    Parameters
    ----------
    logits : (B, Q, H, W)
    centers : (Q, 2), CIELAB units
    temperature : 1 gives the plain mean, towards 0 the most likely bin

    Returns
    -------
    (B, 2, H, W), CIELAB units

    References
    ----------
    Zhang, Isola and Efros 2016, equation 5.
    """
    if temperature != 1:
        logits = logits / temperature
    # Runtimes do a softmax over channels by way of two transpositions; this is the same in half of the time.
    powers = (logits - logits.amax(1, keepdim=True)).exp()
    sums = torch.cat([centers.t(), torch.ones_like(centers[:, :1]).t()])[:, :, None, None]  # (3, Q, 1, 1)
    a, b, total = torch.nn.functional.conv2d(powers, sums).split(1, dim=1)
    return torch.cat([a, b], dim=1) / total


def _grid(ab: Tensor) -> Tensor:
    """Bilinear shares of all bins of the square grid, (B, 361, H, W)."""
    position = ((ab + BIN_REACH) / BIN_STEP).clamp(0, SIDE - 1)
    steps = torch.arange(SIDE, device=ab.device, dtype=position.dtype).view(1, -1, 1, 1)
    along_a = (1 - (position[:, :1] - steps).abs()).clamp_min(0)
    along_b = (1 - (position[:, 1:] - steps).abs()).clamp_min(0)
    return (along_a[:, :, None] * along_b[:, None]).flatten(1, 2)
