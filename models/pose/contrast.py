"""Local contrast normalisation, the paper's first step.

Owns that one operation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalContrast(nn.Module):
    """Subtract the weighted mean of each pixel's surroundings and divide by their spread.

    The spread is taken over all colors, and never smaller than the image's own mean spread, so that flat regions
    stay flat instead of becoming noise.

    Parameters
    ----------
    radius : of the Gaussian window, pixels; its standard deviation is half of that

    References
    ----------
    Tompson et al. 2014, section 3.1, which gives no window: the size is ours. The floor of the divisor follows
    Jarrett et al. 2009, section 2.
    """

    window: Tensor

    def __init__(self, radius: int = 4) -> None:
        super().__init__()
        steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
        bell = torch.exp(-(steps**2) / (2 * (radius / 2) ** 2))
        self.radius = radius
        self.register_buffer("window", bell / bell.sum())

    def _smooth(self, x: Tensor) -> Tensor:
        """Gaussian mean of (B, 1, H, W), borders repeated."""
        r = self.radius
        x = F.conv2d(F.pad(x, (r, r, 0, 0), mode="replicate"), self.window.view(1, 1, 1, -1))
        return F.conv2d(F.pad(x, (0, 0, r, r), mode="replicate"), self.window.view(1, 1, -1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Normalise (B, 3, H, W); the result has about zero mean and unit spread."""
        centred = image - self._smooth(image.mean(1, keepdim=True))
        spread = self._smooth((centred**2).mean(1, keepdim=True)).clamp(min=1e-10).sqrt()
        floor = spread.mean((2, 3), keepdim=True).clamp(min=1e-3)
        return centred / torch.maximum(spread, floor)
