"""Real clips with their optical flow, decoded and computed once into files that are memory-mapped.

Owns the clip cache. The flow and the masks are the runtime's own, so that training sees what a stream will see.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence as Many
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.progress import track

from ...runtime.errors import SourceNotFound
from ...runtime.motion.flow import FlowEstimator
from ...runtime.tasks.stylize import Stylize
from ...runtime.temporal.scene_change import MotionAnalysisOptions, analyze_motion
from .motion import Sequence

SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")
SIZE_WH = (640, 480)
FLOW_WH = (320, 240)  # what the runtime measures the flow of styles on at this size
_GRID = 8  # crops start and end at multiples of this, where pixels of flow and frame begin together
_VERSION = 3  # of the cache's content


@dataclass(frozen=True, slots=True)
class ClipCache:
    """Frames of many clips, one after the other.

    Parameters
    ----------
    frames : (N, 480, 640, 3) uint8 BGR
    flows : (N, 240, 320, 2) float16, pixels at that resolution: frame n -> frame n - 1; zero for a clip's first
    masks : (N, 240, 320) uint8, 255 where the flow may be trusted; zero for a clip's first
    starts : clip name -> (first frame, one past its last)
    """

    frames: NDArray[np.uint8]
    flows: NDArray[np.float16]
    masks: NDArray[np.uint8]
    starts: dict[str, tuple[int, int]]


def find_clips(folders: Many[Path]) -> list[Path]:
    """List the clips below some folders, sorted; none is not an error here."""
    return sorted(p for folder in folders for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)


def clip_cache(clips: Many[Path], *, frames: int, cache: Path) -> ClipCache:
    """Decode the middle of each clip and compute its flow, or open what an earlier run left.

    Raises
    ------
    SourceNotFound
        If none of the clips can be decoded.
    """
    stamp = "".join(f"{p.name}{p.stat().st_size}{p.stat().st_mtime_ns}" for p in clips) + f"{frames}/{_VERSION}"
    folder = cache / f"clips-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    if not folder.exists():
        _fill(folder, clips, frames)
    names = (folder / "clips.txt").read_text().splitlines()
    starts = {name: (int(a), int(b)) for name, a, b in (line.rsplit(" ", 2) for line in names)}
    arrays = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("frames", "flows", "masks"))
    return ClipCache(*arrays, starts=starts)


def _fill(folder: Path, clips: Many[Path], count: int) -> None:
    """Write a cache beside its place, then move it there."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = pool.map(lambda clip: _read(clip, count), clips)
        parts = list(track(jobs, "decoding clips", total=len(clips), transient=True))
    found = [(clip.stem, part) for clip, part in zip(clips, parts, strict=True) if part is not None]
    if not found:
        raise SourceNotFound("None of the clips could be decoded", found=f"{len(clips)} files")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    lines, start = [], 0
    for name, (frames, _, _) in found:
        lines.append(f"{name} {start} {start + len(frames)}")
        start += len(frames)
    for index, part_name in enumerate(("frames", "flows", "masks")):
        np.save(temporary / f"{part_name}.npy", np.concatenate([part[index] for _, part in found]))
    (temporary / "clips.txt").write_text("\n".join(lines) + "\n")
    try:
        temporary.rename(folder)
    except OSError:  # another run was faster; its cache is the same
        for file in temporary.iterdir():
            file.unlink()
        temporary.rmdir()


def _read(clip: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.uint8]] | None:
    """Frames, flows and masks of the middle of a clip; none if it gives fewer than two frames."""
    capture = cv2.VideoCapture(str(clip))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    for _ in range(max(0, (total - count) // 2)):
        capture.grab()
    frames: list[NDArray[np.uint8]] = []
    while len(frames) < count:
        there, pixels = capture.read()
        if not there:
            break
        frames.append(_fit(pixels))
    capture.release()
    if len(frames) < 2:
        return None
    width, height = FLOW_WH
    flows = np.zeros((len(frames), height, width, 2), np.float16)
    masks = np.zeros((len(frames), height, width), np.uint8)
    estimator = FlowEstimator(Stylize.propagated.flow)
    for n, pixels in enumerate(frames):
        analysis = analyze_motion(estimator.step(pixels), MotionAnalysisOptions())
        if analysis.pair is not None and analysis.reliability is not None:
            flows[n], masks[n] = analysis.pair.backward.vectors, np.round(255 * analysis.reliability)
    return np.stack(frames), flows, masks


def _fit(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale a frame to cover 640x480 and cut its middle out."""
    height, width = pixels.shape[:2]
    scale = max(SIZE_WH[0] / width, SIZE_WH[1] / height)
    if scale != 1:
        kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=kernel)
    top, left = (pixels.shape[0] - SIZE_WH[1]) // 2, (pixels.shape[1] - SIZE_WH[0]) // 2
    return pixels[top : top + SIZE_WH[1], left : left + SIZE_WH[0]]


class ClipSource:
    """Random crops of real clips with their flow, on a device.

    Parameters
    ----------
    cache : where they come from; moved to the device if that is a GPU
    """

    def __init__(self, cache: ClipCache, *, device: str, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._device = device
        self._spans = list(cache.starts.values())
        arrays = (cache.frames, cache.flows, cache.masks)
        if device == "cpu":
            self._arrays = tuple(torch.from_numpy(np.array(array)) for array in arrays)
        else:
            self._arrays = tuple(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays)

    def draw(self, batch: int, length: int, size: int) -> Sequence:
        """Cut a batch of `length` frames of size x size; a clip shorter than that is not drawn."""
        spans = [(a, b) for a, b in self._spans if b - a >= length]
        picks = []
        for index in self._random.integers(len(spans), size=batch):
            first = int(self._random.integers(spans[index][0], spans[index][1] - length + 1))
            y, x = (_GRID * int(self._random.integers((side - size) // _GRID + 1)) for side in SIZE_WH[::-1])
            picks.append(self.cut(first, length, (y, x), size))
        parts = (torch.stack(part, 1) for part in zip(*picks, strict=True))
        return Sequence(*parts)

    def cut(
        self, first: int, length: int, corner: tuple[int, int], size: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Cut one sequence: (T, 3, size, size), (T - 1, 2, size, size), (T - 1, 1, size, size)."""
        frames, flows, masks = self._arrays
        (y, x), ratio = corner, SIZE_WH[0] / FLOW_WH[0]
        rows, columns = (slice(round(at / ratio), round((at + size) / ratio)) for at in (y, x))
        pixels = frames[first : first + length, y : y + size, x : x + size].to(self._device)
        later = slice(first + 1, first + length)
        flow = flows[later, rows, columns].to(self._device).permute(0, 3, 1, 2).float() * ratio
        mask = masks[later, rows, columns].to(self._device)[:, None].float() / 255
        flow, mask = (F.interpolate(part, (size, size), mode="bilinear") for part in (flow, mask))
        return pixels.permute(0, 3, 1, 2).float() / 255, flow, mask * _inside(flow)


def _inside(flow: torch.Tensor) -> torch.Tensor:
    """Where a flow stays within the crop, (T, 1, size, size)."""
    size = flow.shape[-1]
    axis = torch.arange(size, device=flow.device)
    x, y = axis + flow[:, 0], axis[:, None] + flow[:, 1]
    return ((x >= 0) & (x <= size - 1) & (y >= 0) & (y <= size - 1))[:, None]
