"""Image sheets for the eye: skeletons on crops, their heat-maps, and scenes with the people that were found.

Owns drawing for training; the overlay of the runtime is the task's.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...runtime.bundle.manifest import Skeleton
from .edge import CENTRE_STRIDE, STRIDE
from .scenes import BOX_UNIT
from .targets import decode, to_pixels

_LEFT, _RIGHT, _MIDDLE = (90, 220, 60), (60, 120, 255), (255, 210, 80)


def to_images(image: Tensor) -> list[NDArray[np.uint8]]:
    """Turn (B, 3, H, W) BGR in [0, 1] into images."""
    pixels = image.float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [np.ascontiguousarray(one) for one in pixels]


def draw_skeleton(
    image: NDArray[np.uint8],
    joints: NDArray[np.float32],
    scores: NDArray[np.float32],
    skeleton: Skeleton,
    least: float,
) -> None:
    """Draw bones and joints, (J, 2), whose score, (J,), is at least `least`, into an image (H, W, 3)."""
    for a, b in skeleton.bones:
        if min(scores[a], scores[b]) >= least:
            name = skeleton.joints[b]
            color = _LEFT if name.startswith("left") else _RIGHT if name.startswith("right") else _MIDDLE
            cv2.line(image, *(tuple(round(float(v)) for v in joints[i]) for i in (a, b)), color, 2, cv2.LINE_AA)
    for i in range(len(joints)):
        if scores[i] >= least:
            cv2.circle(image, tuple(round(float(v)) for v in joints[i]), 2, (255, 255, 255), -1, cv2.LINE_AA)


def crop_sheet(
    image: Tensor, maps: Tensor, skeleton: Skeleton, *, least: float = 0.15, columns: int = 8
) -> NDArray[np.uint8]:
    """Draw crops (B, 3, S, S) with the decoded skeleton, and below each the maximum of its heat-maps (B, J, h, w)."""
    cells, peaks = decode(maps.float())
    joints, scores = to_pixels(cells, STRIDE).cpu().numpy(), peaks.cpu().numpy()
    size = image.shape[-1]
    tiles = []
    for shown, at, score, heat in zip(
        to_images(image), joints, scores, maps.float().amax(1).cpu().numpy(), strict=True
    ):
        grey = cv2.resize((np.clip(heat, 0, 1) * 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
        draw_skeleton(shown, at, score, skeleton, least)
        tiles.append(np.vstack((shown, cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO))))
    return tile(tiles, columns)


def scene_sheet(
    image: Tensor, centre: Tensor, box: Tensor, *, least: float = 0.3, columns: int = 8
) -> NDArray[np.uint8]:
    """Draw scenes (B, 3, S, S) with the boxes of the people found; brighter boxes have higher scores."""
    heat = torch.sigmoid(centre.float())
    peak = (heat == torch.nn.functional.max_pool2d(heat, 3, 1, 1)) & (heat >= least)
    tiles = to_images(image)
    for index, _, row, column in peak.nonzero().tolist():
        log_side, dx, dy = box[index, :, row, column].float().tolist()
        half = BOX_UNIT * float(np.exp(log_side)) / 2
        x, y = (float(to_pixels(torch.tensor(v), CENTRE_STRIDE)) for v in (column + dx, row + dy))
        corners = [(round(x - half), round(y - half)), (round(x + half), round(y + half))]
        score = float(heat[index, 0, row, column])
        cv2.rectangle(tiles[index], *corners, (0, int(255 * score), 255), 2)
        cv2.putText(tiles[index], f"{score:.2f}", (round(x) - 12, round(y)), 0, 0.4, (0, 255, 255), 1, cv2.LINE_AA)
    return tile(tiles, columns)


def tile(tiles: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Arrange images of one size (h, w, 3) in rows; the last row is filled with black."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
