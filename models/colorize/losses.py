"""What the colorizer minimises, and the re-weighting that keeps it from painting everything brown.

Owns the soft color bins, the rarity of colors, and the sum of the losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .net import ab_from_chroma

CLASS_WEIGHT = 1 / 300  # Iizuka et al. 2016, section 3.6
BIN_STEP = 20  # CIELAB units between bin centres
BIN_REACH = 100


def bin_centres() -> Tensor:
    """Centres of the color bins, (Q, 2) in CIELAB a* and b*: a square grid, all of it."""
    line = torch.arange(-BIN_REACH, BIN_REACH + 1, BIN_STEP, dtype=torch.float32)
    return torch.cartesian_prod(line, line)


def soft_bins(ab: Tensor) -> Tensor:
    """Spread colors bilinearly over the four bins around them.

    Parameters
    ----------
    ab : (B, 2, H, W), CIELAB units

    Returns
    -------
    (B, Q, H, W), non-negative, sums to 1 over Q
    """
    side = 2 * BIN_REACH // BIN_STEP + 1
    position = ((ab + BIN_REACH) / BIN_STEP).clamp(0, side - 1)
    steps = torch.arange(side, device=ab.device, dtype=position.dtype).view(1, -1, 1, 1)
    along_a = (1 - (position[:, :1] - steps).abs()).clamp_min(0)
    along_b = (1 - (position[:, 1:] - steps).abs()).clamp_min(0)
    return (along_a[:, :, None] * along_b[:, None]).flatten(1, 2)


def look_up(table: Tensor, ab: Tensor) -> Tensor:
    """Read a table over the bins at given colors, bilinearly: the mean of `table` under `soft_bins`.

    Parameters
    ----------
    table : (Q,)
    ab : (B, 2, H, W), CIELAB units

    Returns
    -------
    (B, H, W)
    """
    side = 2 * BIN_REACH // BIN_STEP + 1
    grid = (ab / BIN_REACH).flip(1).permute(0, 2, 3, 1)  # grid_sample wants x (b*) first, in [-1, 1]
    tables = table.view(1, 1, side, side).expand(len(ab), -1, -1, -1)
    return F.grid_sample(tables, grid, padding_mode="border", align_corners=True)[:, 0]


def rarity(frequency: Tensor, *, mix: float = 0.5, most: float = 5.0) -> Tensor:
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


@dataclass(frozen=True, slots=True)
class ColorLoss:
    """Weighted squared error on chroma, soft-bin cross-entropy, and the paper's classification term.

    Parameters
    ----------
    weights : (Q,) from `rarity`, or None for the paper's plain squared error
    bin_weight : factor of the auxiliary cross-entropy
    class_weight : alpha of the paper
    """

    weights: Tensor | None = None
    bin_weight: float = 0.003
    class_weight: float = CLASS_WEIGHT

    def __call__(self, found: dict[str, Tensor], chroma: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Parameters
        ----------
        found : output of `Colorizer.forward`
        chroma : (B, 2, H/2, W/2) target in [0, 1]
        labels : (B, N) soft labels, or None

        Returns
        -------
        dict with `loss` and its parts
        """
        error = (found["chroma"].float() - chroma).square().mean(1)  # (B, H/2, W/2)
        parts = {"mse": error.mean()}
        total = parts["mse"]
        if self.weights is not None:
            ab = ab_from_chroma(chroma)
            pixel_weights = look_up(self.weights, ab)
            total = (error * pixel_weights).mean()
            if "bins" in found:
                target = soft_bins(F.avg_pool2d(ab, 2))
                entropy = -(target * found["bins"].float().log_softmax(1)).sum(1)
                parts["bins"] = (entropy * F.avg_pool2d(pixel_weights[:, None], 2)[:, 0]).mean()
                total = total + self.bin_weight * parts["bins"]
        if labels is not None and "classes" in found:
            parts["classes"] = -(labels * found["classes"].float().log_softmax(1)).sum(1).mean()
            total = total + self.class_weight * parts["classes"]
        return {"loss": total, **parts}
