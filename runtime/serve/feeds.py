"""Where a room's frames come from: the server's own source, shared by whoever taps it, or a browser's camera.

Owns `Feed`, `Tap` and `Upload`. A stream that ends closes its tap, never the camera behind it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from ..errors import SourceError, UsageError
from ..frame import Frame
from ..image_file import Kind, sniff
from ..image_file.header import announced_wh
from ..image_file.read import decode_image
from ..io.info import Source, SourceInfo
from ..io.live.policy import LivePolicy
from ..io.live.signal import Signal, SignalLog
from ..io.sources import open_source
from ..stream.channel import Channel, Ended

_AGAIN_S = 1.0  # a source that ended in trouble is opened again after this wait
_DEFAULT_FPS = 30.0
_STAMPS = 64  # uploads whose time the browser may still ask for


class Tap:
    """A live source that ends without closing what it is fed from; holds the newest item only."""

    notes = ()

    def __init__(self, info: SourceInfo, origin: Feed | None = None) -> None:
        self.info = info
        self._origin = origin
        self._newest: Channel[Frame] = Channel(1, newest=True)

    @property
    def signal(self) -> Signal:
        """State of the source behind it."""
        return Signal.ENDED if self._origin is None else self._origin.signal

    @property
    def signal_log(self) -> SignalLog | None:
        """Events of the source behind it."""
        return None if self._origin is None else self._origin.signal_log

    def put(self, frame: Frame) -> None:
        """Hand in the next frame."""
        self._newest.put(frame)

    def __iter__(self) -> Iterator[Frame]:
        """Give the newest frame, again and again, until `stop`."""
        try:
            while True:
                yield self._newest.get()
        except Ended:
            return

    def stop(self) -> None:
        """End the iteration."""
        self._newest.abort()

    def close(self) -> None:
        """Take it off its source."""
        self._newest.abort()
        if self._origin is not None:
            self._origin.remove(self)


class Feed:
    """A source that runs for as long as the server does.

    A file or a synthetic source is played at its own rate, again and again, as a camera would show it. A source that
    ends in trouble is opened again every second; `trouble` says what is wrong.

    Parameters
    ----------
    address : as of `open_source`
    wait : for a live source that is not there yet

    Raises
    ------
    SourceError
        If it cannot be opened the first time.
    UsageError
        If it is a world that waits for actions.
    """

    def __init__(self, address: str, *, wait: bool = False) -> None:
        self._address = address
        self._policy = LivePolicy(wait=wait)
        self._source: Source = self._open()
        if hasattr(self._source, "react"):
            self._source.close()
            raise UsageError(
                "A game waits for its player and cannot be served", expected="a camera, a stream, a clip"
            )
        self.info = replace(self._source.info, live=True, independent=False)
        self.trouble = ""
        self._taps: tuple[Tap, ...] = ()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steadyframe feed", daemon=True)
        self._thread.start()

    @property
    def signal(self) -> Signal:
        """State of the source."""
        if self.trouble:
            return Signal.NO_SIGNAL
        # Between two rounds of a clip nothing is wrong.
        return self._source.signal if self._source.info.live else Signal.LIVE

    @property
    def signal_log(self) -> SignalLog | None:
        """Events of the source, with causes; None for files."""
        found: SignalLog | None = getattr(self._source, "signal_log", None)
        return found

    @property
    def reason(self) -> str:
        """Why there is no signal, in words; empty while there is one."""
        log = self.signal_log
        if self.trouble or log is None or log.signal is Signal.LIVE:
            return self.trouble
        return log.event.detail or (log.event.cause.value if log.event.cause is not None else "")

    def tap(self) -> Tap:
        """Give everything that comes from now on to another reader."""
        tap = Tap(self.info, self)
        with self._lock:
            self._taps = (*self._taps, tap)
        return tap

    def remove(self, tap: Tap) -> None:
        """Forget a reader."""
        with self._lock:
            self._taps = tuple(each for each in self._taps if each is not tap)

    def close(self) -> None:
        """End the thread and close the source."""
        self._stopped.set()
        self._source.stop()
        self._thread.join(5.0)

    def _open(self) -> Source:
        return open_source(self._address, sequence=True, policy=self._policy)

    def _run(self) -> None:
        index = 0
        while not self._stopped.is_set():
            try:
                for frame in self._paced():
                    self.trouble = ""
                    numbered = replace(frame, index=index)
                    index += 1
                    for tap in self._taps:
                        tap.put(numbered)
            except SourceError as error:
                self.trouble = str(error)
            self._source.close()
            if self._stopped.is_set() or not self._reopen():
                return

    def _reopen(self) -> bool:
        """Open the source again, however long it takes; False when the server ends."""
        failed = bool(self.trouble) or self.info.count is None
        while not self._stopped.is_set():
            if failed and self._stopped.wait(_AGAIN_S):
                return False
            try:
                self._source = self._open()
            except SourceError as error:
                self.trouble, failed = str(error), True
                continue
            if self._stopped.is_set():
                self._source.close()
                return False
            return True
        return False

    def _paced(self) -> Iterator[Frame]:
        """Frames of a camera as they come; those of a file when they are due, the first of each round a new scene."""
        if self._source.info.live:
            yield from self._source
            return
        period_ns = round(1e9 / (self._source.info.fps or _DEFAULT_FPS))
        due_ns = time.monotonic_ns()
        for number, frame in enumerate(self._source):
            if self._stopped.wait(max(0, due_ns - time.monotonic_ns()) / 1e9):
                return
            due_ns = max(due_ns + period_ns, time.monotonic_ns() - period_ns)
            now_ns = time.monotonic_ns()
            yield replace(frame, captured_ns=now_ns, time_ns=now_ns, wall_ns=time.time_ns(), independent=number == 0)


class Upload:
    """A live source whose frames a browser sends as JPEG.

    `put` is called by the event loop, the iteration in the stream's own thread, which decodes. What is no JPEG, or
    larger than `most_pixels`, is counted in `refused` and left out.

    Parameters
    ----------
    most_pixels : width times height of an accepted image
    """

    notes = ()

    def __init__(self, most_pixels: int) -> None:
        self.info = SourceInfo(address="browser", live=True)
        self.signal = Signal.LIVE
        self.refused = 0
        self.reason = ""
        self._most_pixels = most_pixels
        self._newest: Channel[tuple[bytes, float, int]] = Channel(1, newest=True)
        self._stamps: deque[tuple[int, float]] = deque(maxlen=_STAMPS)
        self._index = 0

    def put(self, jpeg: bytes, stamp_ms: float) -> None:
        """Hand in an image and the browser's own time of its capture."""
        self._newest.put((jpeg, stamp_ms, time.monotonic_ns()))

    def stamp_of(self, index: int) -> float | None:
        """Look up when a frame was captured, on the browser's clock in milliseconds."""
        return next((stamp for number, stamp in reversed(self._stamps) if number == index), None)

    def __iter__(self) -> Iterator[Frame]:
        """Decode the newest image, again and again, until `stop`."""
        try:
            while True:
                jpeg, stamp_ms, arrived_ns = self._newest.get()
                frame = self._decode(jpeg, arrived_ns)
                if frame is not None:
                    self._stamps.append((frame.index, stamp_ms))
                    yield frame
        except Ended:
            self.signal = Signal.ENDED

    def _decode(self, jpeg: bytes, arrived_ns: int) -> Frame | None:
        size = announced_wh(Kind.JPEG, jpeg) if sniff(jpeg[:64]) is Kind.JPEG else None
        if size is None or not 0 < size[0] * size[1] <= self._most_pixels:
            what = "no JPEG image" if size is None else f"{size[0]}x{size[1]} pixels"
            self._refuse(f"{what}; a JPEG of at most {self._most_pixels} pixels is taken")
            return None
        try:
            pixels = decode_image(jpeg, "the browser's image")
        except SourceError as error:
            self._refuse(error.problem)
            return None
        self._index += 1
        return Frame(pixels, self._index, arrived_ns, self.info.address)

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        self.reason = reason

    def stop(self) -> None:
        """End the iteration."""
        self._newest.abort()

    def close(self) -> None:
        """Nothing is held open."""
        self._newest.abort()
