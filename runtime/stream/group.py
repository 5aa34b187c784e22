"""Several inputs in one process, on the same sessions.

Owns `StreamGroup`. Each input is a stream of its own, with its own threads and memory, so one that is dead or frozen
holds up no other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from ..tasks.task import Result
from .stream import Stream

_FILE_DEPTH = 8


class StreamGroup:
    """Streams that run at the same time; iterated over, it gives the results of all of them as they come.

    Of a live input only the newest result waits; of a file every one does.

    Parameters
    ----------
    open_stream : makes the stream of an input, given its place and a sink for its results
    count : of inputs
    close_shared : closes what the streams share, at the end

    Attributes
    ----------
    streams : by the place of their input
    errors : place -> what ended that stream; the others go on

    Raises
    ------
    SteadyframeError
        When all streams have ended, the first error of any.
    """

    def __init__(
        self, open_stream: Callable[[int, _Outlet], Stream], count: int, *, close_shared: Callable[[], None]
    ) -> None:
        self.errors: dict[int, BaseException] = {}
        self._changed = threading.Condition()
        self._close_shared = close_shared
        self._outlets = [_Outlet(self._changed) for _ in range(count)]
        opened: list[Stream] = []
        try:
            for place, outlet in enumerate(self._outlets):
                opened.append(open_stream(place, outlet))
                outlet.keep_all = not opened[-1].source.info.live
        except BaseException:
            for stream in opened:
                stream.close(keep=False)
            close_shared()
            raise
        self.streams: Sequence[Stream] = tuple(opened)
        self._closed = False

    def __iter__(self) -> Iterator[tuple[int, Result[Any]]]:
        """Give the place of an input and a result of it, until every stream has ended."""
        for place, stream in enumerate(self.streams):
            stream.start()
            threading.Thread(
                target=self._await_end, args=(place, stream), name=f"steadyframe group {place}", daemon=True
            ).start()
        try:
            turn = 0
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: any(one.waiting for one in self._outlets) or self._all_ended())
                    places = [place for place, one in enumerate(self._outlets) if one.waiting]
                    if not places:
                        break
                    # Each in turn, so that a fast input does not crowd out a slow one.
                    place = next((one for one in places if one >= turn), places[0])
                    result = self._outlets[place].take()
                    turn = (place + 1) % len(self._outlets)
                yield place, result
        finally:
            self.close()
        if self.errors:
            raise self.errors[min(self.errors)]

    def close(self) -> None:
        """Close every stream, then what they share; does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        for outlet in self._outlets:
            outlet.discard()
        for stream in self.streams:
            stream.source.stop()
        failed: BaseException | None = None
        for stream in self.streams:
            try:
                stream.close()
            except Exception as error:
                failed = failed or error
        self._close_shared()
        if failed is not None:
            raise failed

    def __enter__(self) -> StreamGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _all_ended(self) -> bool:
        return all(outlet.ended for outlet in self._outlets)

    def _await_end(self, place: int, stream: Stream) -> None:
        """Note when a stream has ended, and why."""
        try:
            stream.wait()
        except BaseException as error:
            self.errors[place] = error
        with self._changed:
            self._outlets[place].ended = True
            self._changed.notify_all()


class _Outlet:
    """The sink of one stream, from which the group takes."""

    in_callers_thread = False
    wants = "newest"
    address = "group"

    def __init__(self, changed: threading.Condition) -> None:
        self.keep_all = False
        self.ended = False
        self._changed = changed
        self._results: deque[Result[Any]] = deque()
        self._discarded = False

    @property
    def waiting(self) -> bool:
        """Whether a result can be taken; the caller holds the condition."""
        return bool(self._results)

    def take(self) -> Result[Any]:
        """Take the oldest result; the caller holds the condition."""
        self._changed.notify_all()
        return self._results.popleft()

    def write(self, result: Result[Any]) -> None:
        """Put a result; of a file, wait for room."""
        with self._changed:
            if self.keep_all:
                self._changed.wait_for(lambda: len(self._results) < _FILE_DEPTH or self._discarded)
            else:
                self._results.clear()
            self._results.append(result)
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing is held open."""

    def discard(self) -> None:
        """Take no more."""
        with self._changed:
            self._discarded = True
            self._changed.notify_all()
