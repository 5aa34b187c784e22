"""JPEGs of results, made once for all clients, and how large a client gets them.

Owns `Encoder` and `Pace`. Encoding happens in threads; the event loop only waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError
from ..tasks.task import Result
from .room import Shown


class Level(NamedTuple):
    """How an image is sent: its longest side in pixels at most, and the quality of the JPEG."""

    side: int
    quality: int


# Each level takes about 0.6 times the bytes of the one before it.
LEVELS = (
    Level(1280, 85),
    Level(960, 80),
    Level(800, 75),
    Level(640, 70),
    Level(512, 62),
    Level(400, 55),
    Level(304, 48),
    Level(224, 42),
    Level(160, 36),
)
_FIRST_LEVEL = 4
_SLOW_MS, _VERY_SLOW_MS, _QUICK_MS = 140.0, 280.0, 60.0
_SMALL_BYTES = 10_000  # an image below this that still takes long waits for the client, not for its line
_PATIENCE = 12  # quick images in a row before a larger one is tried


@dataclass(slots=True)
class _Sent:
    number: int
    captured_ns: int
    sent_ns: int
    size_bytes: int


class Pace:
    """Which image a client gets next, and how large, from what it has acknowledged.

    At most two images are on their way to a client, one where its line is slow, so that no queue builds up. The
    next level down is taken when an image takes long to be acknowledged, the next level up after some quick ones.
    """

    def __init__(self) -> None:
        self.level = _FIRST_LEVEL
        self.age_ms: float | None = None  # of the last image when its acknowledgement came: no more than that
        self._on_their_way: deque[_Sent] = deque()
        self._quick = _PATIENCE // 2
        self._slow = False
        self._changed_after = 0

    @property
    def ready(self) -> bool:
        """Whether another image may be sent."""
        return len(self._on_their_way) < (1 if self._slow else 2)

    def sent(self, shown: Shown, size_bytes: int, now_ns: int) -> None:
        """Note an image that is on its way."""
        self._on_their_way.append(_Sent(shown.number, shown.result.frame.captured_ns, now_ns, size_bytes))

    def acknowledged(self, number: int, now_ns: int) -> float | None:
        """Take the client's word that an image is on its screen; returns the image's age in ms, None if unknown."""
        found = None
        while self._on_their_way and self._on_their_way[0].number <= number:
            found = self._on_their_way.popleft()
        if found is None or found.number != number:
            return None
        self.age_ms = (now_ns - found.captured_ns) / 1e6
        if number > self._changed_after:  # what was sent before the last change says nothing about it
            self._judge((now_ns - found.sent_ns) / 1e6, found)
        return self.age_ms

    def _judge(self, took_ms: float, image: _Sent) -> None:
        self._slow = took_ms > _SLOW_MS
        if took_ms > _SLOW_MS:
            self._quick = 0
            if image.size_bytes > _SMALL_BYTES:
                self._change(2 if took_ms > _VERY_SLOW_MS else 1, image.number)
        elif took_ms < _QUICK_MS:
            self._quick += 1
            if self._quick >= _PATIENCE:
                self._quick = 0
                self._change(-1, image.number)
        else:
            self._quick = 0

    def _change(self, by: int, number: int) -> None:
        self.level = min(max(self.level + by, 0), len(LEVELS) - 1)
        self._changed_after = self._on_their_way[-1].number if self._on_their_way else number


class Encoder:
    """Encode results for clients.

    Parameters
    ----------
    threads : that encode
    """

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="steadyframe jpeg")

    async def jpeg(self, shown: Shown, level: Level, *, before: bool = False) -> bytes:
        """Give the JPEG of a result, or of the frame it was made from."""
        key = (level, before)
        future = shown.jpegs.get(key)
        if future is None:
            future = shown.jpegs[key] = self._pool.submit(_encode, shown.result, level, before)
        return await asyncio.shield(asyncio.wrap_future(future))  # a client that goes takes nobody's image along

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _encode(result: Result[Any], level: Level, before: bool) -> bytes:
    return encode_jpeg(_before(result) if before else result.draw(), level)


def _before(result: Result[Any]) -> NDArray[np.uint8]:
    """Return the frame as it came; where the network only adds color, its grey (H, W), which is all that it sees."""
    pixels = result.frame.pixels
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8) if "crcb" in result.outputs else pixels


def encode_jpeg(pixels: NDArray[np.uint8], level: Level) -> bytes:
    """Reduce an image to a level's side, if it is larger, and encode it.

    Parameters
    ----------
    pixels : (H, W, 3) uint8 BGR, or (H, W) uint8 grey
    level : side and quality

    Raises
    ------
    SinkError
        If the image cannot be encoded.
    """
    height, width = pixels.shape[:2]
    scale = level.side / max(height, width)
    if scale < 1:
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    good, encoded = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, level.quality))
    if not good:
        raise SinkError("An image cannot be encoded as JPEG", found=f"{pixels.shape}")
    return encoded.tobytes()
