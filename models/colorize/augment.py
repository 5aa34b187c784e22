"""How training photos are varied: crops and mirror images, and the exposure, contrast and noise of the input luma.

Owns the variation and the conversion to luma and a*, b*. Knows nothing of networks.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BLACK = 1e-4
_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.950456, 1.0, 1.088754)  # D65, as OpenCV has it


def random_crops(rgb: Tensor, side: int, *, least: float = 0.35) -> Tensor:
    """Cut a random part out of every photo, mirror half of them, and scale them to one size.

    Parameters
    ----------
    rgb : (B, 3, S, S)
    side : of the crops, pixels
    least : smallest share of the photo's area; the aspect ratio varies between 3:4 and 4:3

    Returns
    -------
    (B, 3, side, side)
    """
    count, device = len(rgb), rgb.device
    area = least + (1 - least) * torch.rand(count, device=device)
    ratio = torch.exp((2 * torch.rand(count, device=device) - 1) * 0.2877)  # log(4 / 3)
    half = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp_max(1)  # of the whole, (B, 2) x y
    center = (1 - half) * (2 * torch.rand(count, 2, device=device) - 1)
    mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    matrix = torch.zeros(count, 2, 3, device=device)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, :, 2] = half[:, 0] * mirror, half[:, 1], center
    while rgb.shape[-1] >= 3 * side:  # bilinear sampling alone would skip pixels
        rgb = torch.nn.functional.avg_pool2d(rgb, 2)
    grid = torch.nn.functional.affine_grid(matrix, [count, 3, side, side], align_corners=False)
    return torch.nn.functional.grid_sample(rgb, grid, padding_mode="reflection", align_corners=False)


def luma_of(rgb: Tensor) -> Tensor:
    """Luma of RGB in [0, 1], (B, 1, H, W), with the runtime's weights."""
    return (rgb * rgb.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def ab_of(rgb: Tensor) -> Tensor:
    """CIELAB a* and b* of sRGB in [0, 1], (B, 2, H, W)."""
    linear = torch.where(rgb > 0.04045, ((rgb.clamp_min(0) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = torch.einsum("bchw,xc->bxhw", linear, rgb.new_tensor(_TO_XYZ)) / rgb.new_tensor(_WHITE).view(1, 3, 1, 1)
    root = torch.where(xyz > 0.008856, xyz.clamp_min(0.008856) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = root.unbind(1)
    return torch.stack([500 * (x - y), 200 * (y - z)], 1)


def vary_luma(luma: Tensor) -> Tensor:
    """Vary exposure, contrast and noise of the input only: webcams differ, the colors asked for do not.

    Parameters
    ----------
    luma : (B, 1, H, W) in [0, 1]
    """
    shape, device = (len(luma), 1, 1, 1), luma.device
    gamma = torch.exp(0.25 * torch.randn(shape, device=device))
    gain = 1 + 0.1 * torch.randn(shape, device=device)
    offset = 0.05 * torch.randn(shape, device=device)
    noise = 0.03 * torch.rand(shape, device=device) * torch.randn_like(luma)
    return (gain * luma.clamp_min(_BLACK) ** gamma + offset + noise).clamp(0, 1)
