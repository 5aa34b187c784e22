"""Batches of short moving scenes: made anew each time, or out of a pool that was made once.

Owns the mixing of photo and clip sequences, and the pool on disk, which keeps the teacher's images as well: on a
CPU a teacher costs more than all the rest of a training step.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ..data import BatchSource, PhotoCrops, prefix_weights
from ..shards import ShardSet, ShardSource, is_shards
from .clips import ClipSource, clip_cache
from .motion import Sequence, synthesize
from .targets import StyleTarget

PREFIXES = {"ccp": 0.3, "clothing": 0.3, "grocery": 0.3, "houses": 0.3}  # photos that repeat themselves
_PARTS = ("frames", "flows", "masks")
_VERSION = 2  # of the pool's content


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """What scenes are made of.

    Parameters
    ----------
    photos : folders of photos, or of shards of them, that a synthetic camera moves over
    clips : real clips; may be none
    cache : folder for decoded photos, clips and pools
    batch_size, num_clips : sequences a batch, and how many of them are real
    size : side of the frames in pixels, a multiple of 8
    clip_frames : frames to use of each clip
    """

    photos: tuple[Path, ...]
    clips: tuple[Path, ...]
    cache: Path
    batch_size: int = 16
    num_clips: int = 6
    size: int = 256
    clip_frames: int = 48


class Scenes(Protocol):
    """Gives batches."""

    longest: int

    def draw(self, length: int) -> tuple[Sequence, Tensor | None]:
        """Draw a batch of `length` frames, and the images (B, 3, H, W) its last frames should become, if known."""


def _photos(options: SceneOptions, count: int, device: str, seed: int) -> tuple[BatchSource | ShardSource, str]:
    """Open the photos, of folders or of shards, and give a name that changes with them."""
    if all(is_shards(folder) for folder in options.photos):
        sets = [ShardSet.of_folder(folder) for folder in options.photos]
        stamp = " ".join(f"{path.name}{path.stat().st_size}" for one in sets for path in one.shards)
        return ShardSource(sets, side=256, batch_size=count, device=device, seed=seed), stamp
    crops = PhotoCrops.of_folders(options.photos, side=256, cache=options.cache)
    weights = prefix_weights(crops.names, PREFIXES)
    source = BatchSource(crops.pixels, batch_size=count, device=device, seed=seed, weights=weights)
    return source, crops.path.name


class LiveScenes:
    """Scenes that are made anew for every batch."""

    longest = 64

    def __init__(self, options: SceneOptions, *, device: str, seed: int) -> None:
        self.options, self.device = options, device
        self.num_clips = options.num_clips if options.clips else 0
        self.photos, self.stamp = _photos(options, options.batch_size - self.num_clips, device, seed)
        if self.num_clips:
            cache = clip_cache(options.clips, frames=options.clip_frames, cache=options.cache)
            self.clips = ClipSource(cache, device=device, seed=seed)
            self.stamp += " ".join(cache.starts)

    @torch.no_grad()
    def draw(self, length: int) -> tuple[Sequence, None]:
        """Move cameras over photos, and cut pieces out of clips."""
        with torch.autocast(torch.device(self.device).type, enabled=False):
            rgb, _ = self.photos.draw()
            moved = synthesize(rgb.flip(1), length, self.options.size)
            if not self.num_clips:
                return moved, None
            real = self.clips.draw(self.num_clips, length, self.options.size)
            pairs = ((moved.frames, real.frames), (moved.flows, real.flows), (moved.masks, real.masks))
            return Sequence(*(torch.cat(pair, 1) for pair in pairs)), None


class ScenePool:
    """A fixed number of scenes with their last frames' images, in files that are memory-mapped.

    Parameters
    ----------
    live : makes the scenes
    target, name : whose images are kept, and under which name
    count : how many
    length : frames of each; the network is never unrolled further
    """

    def __init__(
        self, live: LiveScenes, target: StyleTarget, *, name: str, count: int, length: int, seed: int
    ) -> None:
        options = live.options
        key = f"{live.stamp} {count} {length} {options.size} {options.num_clips}/{options.batch_size} {_VERSION}"
        folder = options.cache / f"scenes-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        if not folder.exists():
            _fill_scenes(folder, live, count, length)
        self._arrays = [np.load(folder / f"{part}.npy", mmap_mode="r") for part in _PARTS]
        self._images = self._load_images(folder / f"images-{name}.npy", target)
        self._random = np.random.default_rng(seed)
        self._batch, self._device, self.longest = options.batch_size, live.device, length

    def draw(self, length: int) -> tuple[Sequence, Tensor | None]:
        """Draw scenes, their last `length` frames, and the images (B, 3, H, W) to become, if known."""
        chosen = np.sort(self._random.choice(len(self._arrays[0]), self._batch, replace=False))
        late = slice(self.longest - length, None)
        frames, flows, masks = (array[chosen][:, late] for array in self._arrays)
        size = frames.shape[2:4]
        moved = self._tensor(frames).permute(1, 0, 4, 2, 3).float() / 255
        motion = (
            self._tensor(flows).float().permute(1, 0, 4, 2, 3),
            self._tensor(masks).float().transpose(0, 1)[:, :, None] / 255,
        )
        grown = (F.interpolate(part.flatten(0, 1), size, mode="bilinear") for part in motion)
        sequence = Sequence(moved, *(part.unflatten(0, (length - 1, -1)) for part in grown))
        if self._images is None:
            return sequence, None
        return sequence, self._tensor(self._images[chosen]).permute(0, 3, 1, 2).float() / 255

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _load_images(self, path: Path, target: StyleTarget) -> NDArray[np.uint8] | None:
        """Read the target's images of all last frames, painted once."""
        if not path.exists():
            last = self._arrays[0][:, -1]

            def painted(start: int) -> Tensor | None:
                frames = torch.from_numpy(np.array(last[start : start + 8])).permute(0, 3, 1, 2).float() / 255
                return target.image(frames)

            if painted(0) is None:  # a painting: nobody to ask
                return None
            images = []
            for start in track(range(0, len(last), 8), "asking the teacher", console=Console(stderr=True)):
                image = painted(start)
                assert image is not None
                images.append((image * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())
            temporary = path.with_suffix(f".{os.getpid()}.tmp.npy")
            np.save(temporary, np.concatenate(images))
            temporary.replace(path)
        images_on_disk: NDArray[np.uint8] = np.load(path, mmap_mode="r")
        return images_on_disk


def _fill_scenes(folder: Path, live: LiveScenes, count: int, length: int) -> None:
    """Make scenes in a folder beside, then move it to its place."""
    size, half = live.options.size, live.options.size // 2
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    shapes: Many[tuple[tuple[int, ...], type]] = (
        ((count, length, size, size, 3), np.uint8),
        ((count, length - 1, half, half, 2), np.float16),
        ((count, length - 1, half, half), np.uint8),
    )
    files = [
        np.lib.format.open_memmap(temporary / f"{part}.npy", mode="w+", dtype=kind, shape=shape)
        for part, (shape, kind) in zip(_PARTS, shapes, strict=True)
    ]
    batch = live.options.batch_size
    for start in track(range(0, count, batch), "making scenes", console=Console(stderr=True)):
        scenes, _ = live.draw(length)
        # Motion is smooth and masks are eroded: half the resolution keeps all they say.
        flows, masks = (
            F.avg_pool2d(part.flatten(0, 1), 2).unflatten(0, part.shape[:2]) for part in (scenes.flows, scenes.masks)
        )
        arrays = (
            (scenes.frames * 255).round().byte().permute(1, 0, 3, 4, 2),
            flows.half().permute(1, 0, 3, 4, 2),
            (masks * 255).byte()[:, :, 0].transpose(0, 1),
        )
        for file, array in zip(files, arrays, strict=True):
            file[start : start + batch] = array[: count - start].cpu().numpy()
    for file in files:
        file.flush()
    try:
        temporary.rename(folder)
    except OSError:  # another run was faster; its pool is as good
        for path in temporary.iterdir():
            path.unlink()
        temporary.rmdir()
