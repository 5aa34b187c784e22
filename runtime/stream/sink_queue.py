"""One bounded queue and one thread a sink.

Owns `SinkQueue`, which keeps a slow sink from holding up the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..io.sinks.sink import Sink
from ..tasks.task import Result
from .channel import Channel, Ended
from .watch import Watch

_DEPTH = 8  # results that wait for a sink: of a file, so many frames of memory
_LIVE_DEPTH = 64  # of a live source: two seconds in which a disk may stall


class SinkQueue:
    """Passes results to one sink, in a thread of its own.

    Of a file every result is written, and a full queue makes the stream wait. A live source does not wait: a sink
    whose `wants` is ``every`` loses what no longer fits into its queue, one whose `wants` is ``newest`` all but the
    newest; both are counted in `dropped`, and no other sink notices.

    Parameters
    ----------
    sink : open
    live : whether the source is live
    on_written : called with the milliseconds that each write took
    watch : notes how long one takes
    """

    def __init__(
        self, sink: Sink, *, live: bool, on_written: Callable[[float], None], watch: Watch | None = None
    ) -> None:
        self.sink = sink
        self.address: str = getattr(sink, "address", type(sink).__name__)
        self.dropped = 0
        self._on_written = on_written
        self._watch = watch or Watch()
        self._live = live
        newest = live and getattr(sink, "wants", "every") == "newest"
        self._channel: Channel[Result[Any]] = Channel(1 if newest else _LIVE_DEPTH if live else _DEPTH, newest=newest)
        self._newest = newest
        self._instant = not live and getattr(sink, "instant", False)
        self._ended = threading.Event()

    def narrow(self, depth: int) -> None:
        """Let fewer results wait from now on, the one that is being written among them."""
        self._channel.narrow(depth, counts_taken=True)

    def put(self, result: Result[Any]) -> None:
        """Put a result into the queue; waits for room only if the source is a file."""
        if self._instant:
            self._write(result)
            return
        if self._live and not self._newest:
            self.dropped += not self._channel.offer(result)
            return
        self._channel.put(result)
        if self._newest:
            self.dropped = self._channel.dropped

    def run(self) -> None:
        """Write until the queue is closed; the body of the sink's thread."""
        try:
            while True:
                result = self._channel.get()
                self._write(result)
                del result  # a large frame is not kept while the next one is awaited
        except Ended:
            return
        finally:
            self._channel.abort()
            self._ended.set()

    def _write(self, result: Result[Any]) -> None:
        started = time.perf_counter_ns()
        with self._watch.at(f"write {self.address}"):
            self.sink.write(result)
        self._on_written((time.perf_counter_ns() - started) / 1e6)

    def finish(self) -> None:
        """Close the queue: nothing more will be put."""
        self._channel.finish()

    def wait(self) -> None:
        """Wait until everything was written, or the sink failed."""
        self._ended.wait()

    def abort(self) -> None:
        """Discard the waiting results."""
        self._channel.abort()
