"""What a stylizer is trained towards: the images of a per-frame teacher, or the style of a painting.

Owns the targets of a batch. The distances are in `losses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import torch
from torch import Tensor

from ...runtime.errors import SourceNotFound
from ..training import half_is_fast
from .backbone import Backbone, Teacher
from .losses import gram


@dataclass(frozen=True, slots=True)
class Target:
    """What one batch is compared with; without a teacher there is no image."""

    layers: dict[str, Tensor]
    grams: dict[str, Tensor]
    image: Tensor | None


class StyleTarget(Protocol):
    """Says what frames should become."""

    content: Sequence[str]

    def image(self, frames: Tensor) -> Tensor | None:
        """Give the images that (B, 3, H, W) frames should become, if they are known."""

    def target(self, frames: Tensor, image: Tensor | None = None) -> Target:
        """Compute what (B, 3, H, W) frames are compared with; pass `image` if it is known from before."""


class TeacherTarget:
    """Paint like a per-frame network does."""

    content: Sequence[str] = ("t7", "t14", "t27")

    def __init__(self, teacher: Teacher, backbone: Backbone) -> None:
        self.teacher, self.backbone = teacher, backbone

    @torch.no_grad()
    def image(self, frames: Tensor) -> Tensor:
        """Compute the teacher's images of (B, 3, H, W) frames.

        In bfloat16, where it is fast, they differ from float32's by 0.2 to 0.3 grey levels on average, at half the
        time.
        """
        device = frames.device.type
        with torch.autocast(device, torch.bfloat16, enabled=half_is_fast(device)):
            return self.teacher(frames.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def target(self, frames: Tensor, image: Tensor | None = None) -> Target:
        """Give the teacher's images of (B, 3, H, W) frames, and what the backbone sees in them."""
        image = self.image(frames) if image is None else image
        layers = self.backbone(image)
        return Target(layers, {name: gram(layers[name]) for name in self.backbone.style}, image)


class PaintingTarget:
    """Show what the frame shows, with the correlations of a painting.

    References
    ----------
    Gatys et al. 2016; Johnson et al. 2016.
    """

    def __init__(self, painting: Tensor, backbone: Backbone) -> None:
        self.backbone, self.content = backbone, backbone.content
        with torch.no_grad():
            layers = backbone(painting)
        self.grams = {name: gram(layers[name]) for name in backbone.style}

    def image(self, frames: Tensor) -> None:
        """Return None: for (B, 3, H, W) frames and a painting there is no image to compare with."""

    @torch.no_grad()
    def target(self, frames: Tensor, image: Tensor | None = None) -> Target:
        """Compute the content of (B, 3, H, W) frames and the style of the painting."""
        return Target(self.backbone(frames), self.grams, None)


def load_target(style: Path, backbone: Backbone, device: str, *, style_size: int) -> StyleTarget:
    """Open a teacher (.onnx) or a painting (any image).

    Raises
    ------
    SourceNotFound
        If it is neither.
    """
    if style.suffix == ".onnx":
        return TeacherTarget(Teacher(style).to(device, memory_format=torch.channels_last), backbone)
    return PaintingTarget(read_painting(style, style_size).to(device), backbone)


def read_painting(path: Path, size: int) -> Tensor:
    """Read an image as (1, 3, H, W) BGR in [0, 1], its longer side scaled to `size` pixels.

    Raises
    ------
    SourceNotFound
        If it is no image.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SourceNotFound(f"{path} is no image", expected="a painting, or a teacher's .onnx file")
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels = cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=kernel)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
