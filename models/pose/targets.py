"""Heat-map targets from joints, and joints from heat-maps.

Owns the one convention of both directions: cell (i, j) of a map of stride s is centred on input pixel
(s * j + (s - 1) / 2, s * i + (s - 1) / 2), pixels counted from the middle of the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SIGMA = 1.5  # cells; a part's target has fallen to 0.6 there
SMOOTHING = 3  # times that 3 x 3 cells are averaged before the highest is looked for: sigma 1.4, about a target's own
WINDOW = 2  # cells to each side of the highest one that the sub-pixel place is taken from


def to_cells(joints: Tensor, stride: int) -> Tensor:
    """Convert input pixels, (..., 2), to cells of a map."""
    return (joints - (stride - 1) / 2) / stride


def to_pixels(cells: Tensor, stride: int) -> Tensor:
    """Convert cells of a map, (..., 2), to input pixels."""
    return cells * stride + (stride - 1) / 2


def gaussians(cells: Tensor, size_hw: tuple[int, int], sigma: float = SIGMA) -> Tensor:
    """Draw a Gaussian of height 1 at each place, (B, J, 2) in cells -> (B, J, H, W)."""
    height, width = size_hw
    x = torch.arange(width, device=cells.device, dtype=cells.dtype)
    y = torch.arange(height, device=cells.device, dtype=cells.dtype)
    gx = torch.exp(-((x - cells[..., 0:1]) ** 2) / (2 * sigma**2))  # (B, J, W)
    gy = torch.exp(-((y - cells[..., 1:2]) ** 2) / (2 * sigma**2))  # (B, J, H)
    return gy.unsqueeze(-1) * gx.unsqueeze(-2)


TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


def torso_cells(cells: Tensor, shown: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Find the middle of the torso: of shoulders and hips, where all four are shown.

    Parameters
    ----------
    cells : (B, J, 2); shown : (B, J) bool; names : of the joints

    Returns
    -------
    (B, 1, 2) and (B, 1) bool
    """
    places = [list(names).index(name) for name in TORSO]
    return cells[:, places].mean(1, keepdim=True), shown[:, places].all(1, keepdim=True)


def torso_maps(cells: Tensor, shown: Tensor, names: Sequence[str], size_hw: tuple[int, int]) -> Tensor:
    """Draw the true torso, (B, 1, H, W); an empty map where it is not shown. Arguments as of `torso_cells`."""
    place, known = torso_cells(cells, shown, names)
    return gaussians(place, size_hw) * known[..., None, None]


def decode(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Find each map's peak to a fraction of a cell.

    The highest cell of the smoothed map, because the best guess is where most of a map lies within reach, not its
    sharpest cell; then the centre of mass of the positive part of a 5 x 5 window of the map itself around it. Fixed
    shapes and no branch, so it exports as a handful of plain operations.

    Parameters
    ----------
    maps : (B, J, H, W)

    Returns
    -------
    cells : (B, J, 2), x and y
    peaks : (B, J), height of the highest cell, smoothed: half of what it was for a clear peak

    References
    ----------
    Ours.
    """
    batch, joints, height, width = maps.shape
    smooth = maps
    for _ in range(SMOOTHING):
        smooth = F.avg_pool2d(smooth, 3, 1, 1, count_include_pad=False)
    flat = maps.flatten(2)
    peaks, best = smooth.flatten(2).max(-1)
    row, column = torch.div(best, width, rounding_mode="floor"), best % width
    span = torch.arange(-WINDOW, WINDOW + 1, device=maps.device)
    rows, columns = row.unsqueeze(-1) + span, column.unsqueeze(-1) + span  # (B, J, 5)
    inside_y, inside_x = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    place = rows.clamp(0, height - 1).unsqueeze(-1) * width + columns.clamp(0, width - 1).unsqueeze(
        -2
    )  # (B, J, 5, 5)
    window = flat.gather(2, place.flatten(2)).view(batch, joints, span.numel(), span.numel())
    inside = (inside_y.unsqueeze(-1) & inside_x.unsqueeze(-2)).to(maps.dtype)
    mass = F.relu(window) * inside + 1e-9 * inside
    total = mass.sum((2, 3))
    x = (mass.sum(2) * columns).sum(-1) / total
    y = (mass.sum(3) * rows).sum(-1) / total
    return torch.stack((x, y), -1), peaks
