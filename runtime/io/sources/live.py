"""Live sources: what comes at its own time and may stop.

Owns `LiveSource`: capture stamps, honest loss of signal, the way back, and the notice of a frozen image. What is
read, and how, is a `Feed`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import SignalLost, SourceError, SourceNotFound
from ...frame import Frame
from ...planes import Planes
from ..address import redact
from ..failures import Failure
from ..info import Media, SourceInfo
from ..live.signal import Signal, SignalLog

# Waits between attempts to reconnect; after the last one the signal counts as lost for good (62 s in all).
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_MAX_FPS = 240  # what drivers and containers say beyond is a time base, not a rate
_FROZEN_NS = 5_000_000_000
_LOOK = 16  # every so many pixels are compared to see whether the image stands still


@dataclass(frozen=True, slots=True)
class Taken:
    """One frame of a feed: planes or (H, W, 3) BGR, and when it was captured, on the monotonic clock."""

    image: Planes | NDArray[np.uint8]
    captured_ns: int


class Feed(Protocol):
    """One connection to a live source; its iteration ends, or raises a `SourceError`, when nothing comes any more."""

    @property
    def fps(self) -> float | None:
        """Frames a second, as far as it is known."""

    @property
    def media(self) -> Media | None:
        """What the stream says of itself."""

    def __iter__(self) -> Iterator[Taken]:
        """Take the frames as they come."""

    def close(self) -> None:
        """Hang up."""


class LiveSource:
    """A camera or a network stream that delivers at its own pace.

    When frames stop, the state is `Signal.NO_SIGNAL`, no frame is made up, and the source is opened again after
    growing waits, which begin anew only after a frame. When the last attempt fails, `SignalLost` is raised. When
    every frame is the same for five seconds, the state is `Signal.FROZEN`.

    Parameters
    ----------
    address : as given; shown without credentials
    connect : opens a feed, or raises `SourceNotFound`
    first : a feed that is open already
    backoff_s : waits between attempts

    Raises
    ------
    SourceNotFound
        If it cannot be opened the first time.
    """

    def __init__(
        self,
        address: str,
        connect: Callable[[], Feed],
        *,
        first: Feed | None = None,
        backoff_s: tuple[float, ...] = BACKOFF_S,
    ) -> None:
        self._feed: Feed | None = first if first is not None else connect()
        self._connect = connect
        self._backoff_s = backoff_s
        self._stop = threading.Event()
        self._still = _Stillness()
        self._was_frozen = False
        self.signal_log = SignalLog()
        self.reconnects = 0
        fps = self._feed.fps
        self.info = SourceInfo(
            address=redact(address),
            live=True,
            fps=fps if fps is not None and 0 < fps <= _MAX_FPS else None,
            media=self._feed.media,
        )

    @property
    def signal(self) -> Signal:
        """State right now."""
        return self.signal_log.signal

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether the image stood still."""
        return ("the image stood still for more than 5 s: is the camera frozen?",) if self._was_frozen else ()

    def __iter__(self) -> Iterator[Frame]:
        """Deliver frames until `stop`.

        Raises
        ------
        SignalLost
            If the source stays silent through every attempt to open it again.
        """
        index = attempts = 0
        while not self._stop.is_set():
            try:
                for taken in self._feed or ():
                    if self._stop.is_set():
                        break
                    attempts = 0
                    self.signal_log.change(Signal.LIVE)
                    self._was_frozen |= self._still.since(taken)
                    yield Frame(
                        taken.image, index, taken.captured_ns, self.info.address, taken.captured_ns, independent=False
                    )
                    index += 1
            except SourceError:
                pass  # told below, if it does not come back
            if not self._stop.is_set():
                attempts = self._reconnect(index, attempts)
        self.signal_log.change(Signal.ENDED)

    def _reconnect(self, delivered: int, attempts: int) -> int:
        """Open the source again, with growing waits; returns how many attempts were made since the last frame."""
        self.signal_log.change(Signal.NO_SIGNAL, Failure.LOST)
        self.close()
        reason = ""
        for wait_s in self._backoff_s[attempts:]:
            attempts += 1
            if self._stop.wait(wait_s):
                return attempts
            try:
                self._feed = self._connect()
            except SourceNotFound as error:
                reason = error.problem
                continue
            self.reconnects += 1
            return attempts
        self.signal_log.change(Signal.ENDED)
        raise SignalLost(
            f"{self.info.address} stopped delivering and did not come back",
            found=f"{delivered} frames, then {len(self._backoff_s)} failed attempts to open it again"
            + (f"; the last: {reason}" if reason else ""),
            todo="See the cable, the power and the network, then start again",
            kind="LOST",
        )

    def stop(self) -> None:
        """Ask the iteration to end; wakes it from waiting between attempts."""
        self._stop.set()

    def close(self) -> None:
        """Close the device."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None


class _Stillness:
    """Notices that every frame is the same."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._since_ns = 0

    def since(self, taken: Taken) -> bool:
        """Whether nothing has changed for too long; a real sensor's noise changes every frame."""
        image = taken.image.y if isinstance(taken.image, Planes) else taken.image[..., 1]
        look = image[::_LOOK, ::_LOOK]
        if self._last is None or not np.array_equal(look, self._last):
            self._last = look.copy()
            self._since_ns = taken.captured_ns
        return taken.captured_ns - self._since_ns > _FROZEN_NS


def now_ns() -> int:
    """Read the clock of capture stamps."""
    return time.monotonic_ns()
