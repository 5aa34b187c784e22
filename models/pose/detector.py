"""The paper's part detector: the same window slid over two or three sizes of the image.

Owns the network of section 3.1 with its own geometry and widths; `edge` holds the one for real time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .contrast import LocalContrast

WINDOW = 64  # pixels that one heat-map cell of a bank sees
PAD = 30  # on every side, so that the map covers the image: (image + 60 - 64) / 4 + 1 = image / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOptions:
    """Widths of the paper's detector.

    Parameters
    ----------
    joints : heat-maps; banks : 1, 2 or 3, each at half the size of the one before
    features : of the three convolutions; window : of the 9 x 9 one that closes the window; head : of the 1 x 1 layer
    """

    joints: int = 7
    banks: int = 2
    features: int = 128
    window: int = 512
    head: int = 256

    def plain(self) -> dict[str, Any]:
        """Give values that JSON and a checkpoint can hold."""
        return asdict(self)


class Bank(nn.Module):
    """5x5 convolution, pool, 5x5, pool, 5x5, then 9x9: a 64 x 64 window becomes one cell.

    Valid convolutions: 64 -> 60 -> 30 -> 26 -> 13 -> 9 -> 1, and so 420 x 300 -> 98 x 68 -> 90 x 60.
    """

    def __init__(self, options: PaperOptions) -> None:
        super().__init__()
        f = options.features
        self.contrast = LocalContrast()
        self.stages = nn.Sequential(
            nn.Conv2d(3, f, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(f, f, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(f, f, 5), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.close = nn.Conv2d(f, options.window, 9)

    def forward(self, image: Tensor) -> Tensor:
        """Turn (B, 3, H, W) into (B, window, H/4, W/4)."""
        padded = F.pad(self.contrast(image), (PAD, PAD, PAD, PAD))
        return F.relu(self.close(self.stages(padded)))


class PaperDetector(nn.Module):
    """Two banks, the second on the half-size image, point-wise upscaled and summed, then 1 x 1 layers.

    Input (B, 3, H, W) BGR in [0, 1], H and W multiples of 4 * 2^(banks - 1); output a dictionary with `maps`
    (B, J, H/4, W/4).

    Notes
    -----
    The figure prints 9 x 9 for the layers after the sum; 1 x 1 is what sliding the 64-pixel window means and is taken
    here. No batch norm, as in the paper; weights start as He et al. 2015 have it.

    References
    ----------
    Tompson et al. 2014, section 3.1 and figure 2.
    """

    def __init__(self, options: PaperOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or PaperOptions()
        self.banks = nn.ModuleList(Bank(options) for _ in range(options.banks))
        self.head = nn.Sequential(nn.Conv2d(options.window, options.head, 1), nn.ReLU(inplace=True))
        self.maps = nn.Conv2d(options.head, options.joints, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.maps.weight, std=0.001)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Detect in (B, 3, H, W); see the class for the outputs."""
        total = self.banks[0](image)
        for level, bank in enumerate(self.banks[1:], start=1):
            small = bank(F.avg_pool2d(image, 2**level))
            total = total + F.interpolate(small, scale_factor=float(2**level), mode="nearest")
        return {"maps": self.maps(self.head(total))}
