"""A room: one live source, the network that works on it, and the newest result, which clients look at.

Owns `Room` and `Shown`. The server's source has one room that all share; a browser's camera has one of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ..errors import SteadyframeError, UsageError
from ..io.info import Source
from ..io.live.signal import Signal
from ..processor import Processor
from ..stream.stream import Stream
from ..tasks.task import Result
from .figures import Figures
from .networks import Choice, Networks

_AGAIN_S = 1.0  # after a stream that failed
_FIRST_RESULT_S = 3.0  # a switch is acknowledged after this time even if the source gives nothing


@dataclass(slots=True)
class Shown:
    """The newest result of a room, and the JPEGs that were made of it.

    Parameters
    ----------
    number : counts the results of the room
    result : the result
    bundle : of the network that made it
    jpegs : by size and kind; each is made once, however many clients want it
    """

    number: int
    result: Result[Any]
    bundle: str
    jpegs: dict[Any, Future[bytes]] = field(default_factory=dict)


@dataclass(slots=True)
class _Next:
    """What a room shall run from now on."""

    choice: Choice
    processor: Processor
    shown: threading.Event = field(default_factory=threading.Event)


class Room:
    """Run one stream after the other in a thread, on the same source.

    Parameters
    ----------
    networks : to choose from
    choice : what is run at first; it is opened before the room opens
    source : makes the source of a stream, which the stream closes
    on_result : called in the room's thread when there is something new to show

    Raises
    ------
    SteadyframeError
        If the first choice cannot be opened.
    """

    def __init__(
        self, networks: Networks, choice: Choice, source: Callable[[], Source], on_result: Callable[[], None]
    ) -> None:
        self.choice = choice
        self.figures = Figures()
        self.newest: Shown | None = None
        self.device = ""
        self.trouble = ""
        self.dropped = self.switches = 0
        self._dropped_before = 0
        self._networks = networks
        self._make_source = source
        self._on_result = on_result
        self._next: _Next | None = _Next(choice, networks.processor(choice))
        self._source: Source | None = None
        self._stream: Stream | None = None
        self._lock = threading.Lock()
        self._switching = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steadyframe room", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def signal(self) -> Signal:
        """State of the source."""
        source = self._source
        return Signal.NO_SIGNAL if source is None else source.signal

    def switch(self, choice: Choice) -> float:
        """Run another network or steady mode on the same source.

        The old one works on until the new one is loaded. Blocks until the first new result is there, or three
        seconds if the source gives nothing.

        Returns
        -------
        float
            Milliseconds from the call to the first new result.

        Raises
        ------
        UsageError
            If there is no such choice, or another switch is under way.
        BundleError, DeviceError
            If it cannot be opened; the old one works on.
        """
        started = time.monotonic()
        self._networks.check(choice)
        if not self._switching.acquire(blocking=False):
            raise UsageError("Another switch is under way", todo="Try again when it is done")
        try:
            coming = _Next(choice, self._networks.processor(choice))
            with self._lock:
                self._next = coming
                if self._source is not None:
                    self._source.stop()
            coming.shown.wait(_FIRST_RESULT_S)
            self.switches += 1
        finally:
            self._switching.release()
        return (time.monotonic() - started) * 1000

    def close(self) -> None:
        """End the stream and the thread."""
        self._closed.set()
        with self._lock:
            if self._source is not None:
                self._source.stop()
        if self._thread.ident is not None:
            self._thread.join(10.0)
        if self._next is not None:
            self._next.processor.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                coming, self._next = self._next, None
                self._source = self._make_source()
            try:
                if coming is None:  # the stream before ended by itself
                    coming = _Next(self.choice, self._networks.processor(self.choice))
                self._run_one(coming, self._source)
                self.trouble = ""
            except SteadyframeError as error:
                self.trouble = str(error)
                if self._next is None:
                    self._closed.wait(_AGAIN_S)
            except Exception as error:  # a fault of ours in one stream ends no other one, nor the server
                self.trouble = f"{type(error).__name__}: {error}"
                if self._next is None:
                    self._closed.wait(_AGAIN_S)
            finally:
                self._dropped_before = self.dropped

    def _run_one(self, coming: _Next, source: Source) -> None:
        """Run one stream to its end."""
        self.choice, self.device = coming.choice, coming.processor.task.device
        self.figures.restart()
        stream = Stream(source, coming.processor)
        with stream:
            if self._closed.is_set():
                return
            for result in stream:
                self.figures.record(result)
                self.trouble = ""
                self.dropped = self._dropped_before + stream.snapshot().dropped
                number = self.newest.number + 1 if self.newest is not None else 1
                self.newest = Shown(number, result, coming.choice.bundle)
                coming.shown.set()
                self._on_result()
