"""A colorizer on whole photos: figures, and sheets to look at.

Owns the metrics that training, cards and benchmarks share. Results are composed by the runtime's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...runtime.bundle.manifest import Preprocess
from ...runtime.image import crcb_from_ab, luma, merge_chroma, preprocess_pixels, resize
from ..data import find_photos
from .measures import measure_photos, summarize
from .net import GLOBAL_SIZE, Colorizer

Pixels = NDArray[np.uint8]
Colorize = Callable[[Pixels], Pixels]
COLOR_PREPROCESS = Preprocess("area", short_side=192, multiple=8)
GLOBAL_PREPROCESS = Preprocess("area", size_hw=(GLOBAL_SIZE, GLOBAL_SIZE))
_SHEET_SIDE = 128


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Photos to measure on, (H, W, 3) uint8 BGR each, in their own sizes."""

    photos: tuple[Pixels, ...]

    @classmethod
    def of_folder(cls, folder: Path, *, most: int | None = None) -> PhotoSet:
        """Read the photos of a folder; with `most`, evenly spread over it."""
        paths = find_photos([folder])
        if most is not None and len(paths) > most:
            paths = [paths[round(i)] for i in np.linspace(0, len(paths) - 1, most)]
        read = (cv2.imread(str(path), cv2.IMREAD_COLOR) for path in paths)
        return cls(tuple(photo for photo in read if photo is not None))


def torch_colorizer(net: Colorizer, device: str = "cpu", *, gain: float = 1.0) -> Colorize:
    """Make a function that colors one image with a PyTorch network and the runtime's composition.

    Parameters
    ----------
    net : in eval mode
    gain : factor on the predicted a* and b*
    """

    def luma_tensor(pixels: Pixels) -> Tensor:
        weights = torch.tensor([0.114, 0.587, 0.299], device=device) / 255
        return (torch.from_numpy(pixels).to(device).float() @ weights)[None, None]

    @torch.no_grad()
    def colorize(pixels: Pixels) -> Pixels:
        small = preprocess_pixels(pixels, COLOR_PREPROCESS)
        features, _ = net.describe(luma_tensor(preprocess_pixels(pixels, GLOBAL_PREPROCESS)))
        ab = gain * net.predict_ab(luma_tensor(small), features)[0].permute(1, 2, 0)
        return compose(pixels, small, np.ascontiguousarray(ab.float().cpu().numpy()))

    return colorize


def compose(pixels: Pixels, small: Pixels, ab: NDArray[np.float32]) -> Pixels:
    """Compose an image (H, W, 3) with the (h, w, 2) a* and b* that the network predicted for its small version."""
    height, width = ab.shape[:2]
    return merge_chroma(luma(pixels), crcb_from_ab(resize(luma(small), (width, height), "area"), ab))


def measure_images(originals: Sequence[Pixels], colorize: Colorize) -> dict[str, float]:
    """Compare colorized photos, (H, W, 3) uint8 BGR, with their originals; see `measures.summarize` for the names."""
    return summarize(measure_photos(originals, colorize))


def measure(net: Colorizer, photos: PhotoSet, device: str, *, gain: float = 1.0) -> dict[str, float]:
    """Measure a PyTorch network on whole photos, by the runtime's own composition."""
    return measure_images(photos.photos, torch_colorizer(net, device, gain=gain))


def colorized_sheet(net: Colorizer, photos: PhotoSet, device: str, *, gain: float = 1.0, rows: int = 10) -> Pixels:
    """Draw a sheet (H, W, 3) uint8 BGR: triplets of grey, colorized and original, four a row."""
    return sheet(photos.photos, [torch_colorizer(net, device, gain=gain)], rows=rows)


def sheet(originals: Sequence[Pixels], colorizers: Sequence[Colorize], *, rows: int = 10, columns: int = 4) -> Pixels:
    """Draw a sheet (H, W, 3) uint8 BGR: grey, each colorizer's image, and the original, for evenly spaced photos."""
    count = min(rows * columns, len(originals))
    chosen = [originals[round(i)] for i in np.linspace(0, len(originals) - 1, count)]
    groups = []
    for original in chosen:
        grey = cv2.cvtColor(luma(original), cv2.COLOR_GRAY2BGR)
        images = [grey, *(colorize(original) for colorize in colorizers), original]
        groups.append(np.hstack([_thumbnail(image) for image in images] + [_gap()]))
    groups += [np.zeros_like(groups[0])] * (-len(groups) % columns)
    return np.vstack([np.hstack(groups[i : i + columns]) for i in range(0, len(groups), columns)])


def _thumbnail(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    crop = pixels[y : y + side, x : x + side]
    return np.asarray(cv2.resize(crop, (_SHEET_SIDE, _SHEET_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _gap() -> Pixels:
    return np.full((_SHEET_SIDE, 6, 3), 255, np.uint8)
