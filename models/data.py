"""Any folder of photos, decoded once into squares that a training step can index.

Owns finding, decoding and caching of photos. Knows nothing of colour spaces or losses.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from ..runtime.errors import SourceNotFound

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_LONG = 1.25  # a photo longer than this gives two squares, one from each end


def find_photos(folders: Sequence[Path]) -> list[Path]:
    """List the photos below some folders, sorted.

    Raises
    ------
    SourceNotFound
        If a folder is missing or holds no photo.
    """
    photos: list[Path] = []
    for folder in folders:
        found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise SourceNotFound(f"There are no photos in {folder}", expected="files ending in " + " ".join(SUFFIXES))
        photos += found
    return photos


def square_cache(folders: Sequence[Path], *, side: int, cache: Path) -> NDArray[np.uint8]:
    """Decode photos into squares, once, in a file that is memory-mapped.

    Parameters
    ----------
    folders : any folders of photos
    side : pixels; the short side of each photo is scaled to it, long photos give a square from each end
    cache : folder of the cache; the file's name depends on the photos' names, sizes and dates

    Returns
    -------
    (N, side, side, 3) uint8 BGR, read-only
    """
    photos = find_photos(folders)
    stamp = "".join(f"{p.name}{p.stat().st_size}{p.stat().st_mtime_ns}" for p in photos)
    path = cache / f"squares-{side}-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = pool.map(lambda photo: _squares(photo, side), photos)
            squares = [s for found in track(jobs, "decoding photos", total=len(photos), transient=True) for s in found]
        if not squares:
            raise SourceNotFound("None of the photos could be decoded", found=f"{len(photos)} files")
        cache.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp.npy")
        np.save(temporary, np.stack(squares))
        temporary.replace(path)
    squares_on_disk: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return squares_on_disk


def _squares(path: Path, side: int) -> list[NDArray[np.uint8]]:
    """One or two squares of a photo; none if it cannot be decoded."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        return []
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    if scale != 1:
        size_wh = (max(side, round(width * scale)), max(side, round(height * scale)))
        pixels = cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    height, width = pixels.shape[:2]
    spare_y, spare_x = height - side, width - side
    ends = (0, 1) if max(height, width) > _LONG * side else (0.5,)
    corners = [(round(spare_y * end), round(spare_x * end)) for end in ends]
    return [pixels[y : y + side, x : x + side] for y, x in corners]


class BatchSource:
    """Random batches out of a square cache, as tensors on a device.

    On a GPU the whole cache is moved there once; on a CPU it stays memory-mapped.

    Parameters
    ----------
    squares : (N, side, side, 3) uint8 BGR
    batch_size : squares a batch
    device : torch device
    weights : (N,) sampling weights, or None for uniform
    """

    def __init__(
        self,
        squares: NDArray[np.uint8],
        *,
        batch_size: int,
        device: str,
        seed: int = 0,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self._squares = squares
        self._on_device = torch.from_numpy(np.ascontiguousarray(squares)).to(device) if device != "cpu" else None
        self._random = np.random.default_rng(seed)
        self._weights = None if weights is None else weights / weights.sum()
        self._size, self._device = batch_size, device

    def draw(self) -> torch.Tensor:
        """Give a batch, (B, 3, side, side) float32 in [0, 1], **RGB**."""
        chosen = self._random.choice(len(self._squares), self._size, p=self._weights)
        if self._on_device is not None:
            batch = self._on_device[torch.from_numpy(chosen).to(self._device)]
        else:
            batch = torch.from_numpy(self._squares[np.sort(chosen)])
        return batch.flip(-1).permute(0, 3, 1, 2).float().div(255)
