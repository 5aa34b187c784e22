"""Any folder of photos, decoded once into crops that a training step can index.

Owns finding, decoding and caching of photos. Knows nothing of color spaces or losses.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ..runtime.errors import SourceNotFound

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_MEMORY_SHARE = 1 / 3
_LONG = 1.25  # a photo longer than this gives two crops, one from each end


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


@dataclass(frozen=True, slots=True)
class PhotoCrops:
    """Photos as crops, decoded once, in a file that is memory-mapped.

    Parameters
    ----------
    pixels : (N, side, side, 3) uint8 BGR, read-only
    names : the photo of each crop, as `folder/file`
    path : the file they lie in; its name changes with the photos
    """

    pixels: NDArray[np.uint8]
    names: tuple[str, ...]
    path: Path

    @classmethod
    def of_folders(cls, folders: Sequence[Path], *, side: int, cache: Path) -> PhotoCrops:
        """Decode every photo below some folders, or read what an earlier run has decoded.

        Parameters
        ----------
        folders : any folders of photos
        side : pixels; the short side of each photo is scaled to it, long photos give a crop from each end
        cache : folder of the cache

        Raises
        ------
        SourceNotFound
            If there are no photos, or none can be decoded.
        """
        photos = find_photos(folders)
        stamp = "".join(f"{p.name}{p.stat().st_size}{p.stat().st_mtime_ns}" for p in photos)
        path = cache / f"crops-{side}-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.npy"
        names_path = path.with_suffix(".txt")
        if not path.exists():
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                jobs = pool.map(lambda photo: photo_crops(photo, side), photos)
                found = list(track(jobs, "decoding photos", total=len(photos), console=Console(stderr=True)))
            crops = [crop for group in found for crop in group]
            if not crops:
                raise SourceNotFound("None of the photos could be decoded", found=f"{len(photos)} files")
            cache.mkdir(parents=True, exist_ok=True)
            names = [
                f"{photo.parent.name}/{photo.name}" for photo, group in zip(photos, found, strict=True) for _ in group
            ]
            names_path.write_text("\n".join(names), encoding="utf-8")
            temporary = path.with_suffix(f".{os.getpid()}.tmp.npy")
            np.save(temporary, np.stack(crops))
            temporary.replace(path)
        return cls(np.load(path, mmap_mode="r"), tuple(names_path.read_text(encoding="utf-8").split("\n")), path)


def photo_crops(path: Path, side: int) -> list[NDArray[np.uint8]]:
    """Cut one or two crops, (side, side, 3) uint8 BGR, of a photo; none if it cannot be decoded."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        return []
    return crops_of(np.asarray(pixels, np.uint8), side)


def crops_of(pixels: NDArray[np.uint8], side: int) -> list[NDArray[np.uint8]]:
    """Cut one or two crops, (side, side, 3), of a decoded photo, (H, W, 3) uint8 BGR."""
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    if scale != 1:
        size_wh = (max(side, round(width * scale)), max(side, round(height * scale)))
        kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(pixels, size_wh, interpolation=kernel), np.uint8)
    height, width = pixels.shape[:2]
    spare_y, spare_x = height - side, width - side
    ends = (0, 1) if max(height, width) > _LONG * side else (0.5,)
    corners = [(round(spare_y * end), round(spare_x * end)) for end in ends]
    return [pixels[y : y + side, x : x + side] for y, x in corners]


def prefix_weights(names: Sequence[str], factors: Mapping[str, float]) -> NDArray[np.float64]:
    """Compute sampling weights, (len(names),), by how the file name of a photo begins; 1 where no prefix fits."""
    files = (name.rpartition("/")[2] for name in names)
    fitting = ([f for prefix, f in factors.items() if file.startswith(prefix)] for file in files)
    return np.array([found[0] if found else 1.0 for found in fitting])


class BatchSource:
    """Random batches out of a stack of crops, as tensors on a device.

    On a GPU the whole stack is moved there once. On a CPU it is held in memory if it takes less than a third of it,
    else it stays memory-mapped; the next batch is fetched while the present one is trained on.

    Parameters
    ----------
    pixels : (N, side, side, 3) uint8 BGR
    batch_size : crops a batch
    device : torch device
    weights : (N,) sampling weights; None is uniform, 0 leaves a crop out
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        *,
        batch_size: int,
        device: str,
        seed: int = 0,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        # Random reads from disk cost more than the training step on a slow disk: what fits well is held in memory.
        fits = pixels.nbytes < _MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._pixels = np.array(pixels) if fits and device == "cpu" else pixels
        self._on_device = torch.from_numpy(np.array(pixels)).to(device) if device != "cpu" else None
        self._random = np.random.default_rng(seed)
        self._chances = None if weights is None else np.cumsum(weights / weights.sum())
        self._size, self._device = batch_size, device
        self._reader = ThreadPoolExecutor(1)
        self._next = self._reader.submit(self._read)

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Give a batch, (B, 3, side, side) float32 **RGB** in [0, 1], and the (B,) indices drawn."""
        batch, indices = self._next.result()
        self._next = self._reader.submit(self._read)
        return batch.flip(-1).permute(0, 3, 1, 2).float().div(255), indices

    def _read(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw indices and fetch their crops, (B, side, side, 3) uint8 BGR."""
        if self._chances is None:
            chosen = self._random.integers(0, len(self._pixels), self._size)
        else:
            chosen = np.searchsorted(self._chances, self._random.random(self._size)).clip(0, len(self._chances) - 1)
        indices = torch.from_numpy(chosen).to(self._device, non_blocking=True)
        batch = torch.from_numpy(self._pixels[chosen]) if self._on_device is None else self._on_device[indices]
        return batch, indices
