"""The thread that reads one connection.

Owns `Reader`. A driver or a library may hang in a call that Python cannot interrupt: opening an RTSP address, or
waiting for a camera. So each connection is opened, read and closed in a daemon thread of its own, and whoever waits
for its frames waits on a condition. A thread that hangs is abandoned: it closes its connection when its call
returns, which for network streams is after FFmpeg's own time limit at the latest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .feed import Feed, Taken


class Reader:
    """Opens a feed, keeps its newest frame, and closes it, in one thread.

    Parameters
    ----------
    connect : opens the feed
    changed : notified with every frame, and at the end
    name : of the source, for the thread's name

    Attributes
    ----------
    feed : once it is open
    error : that ended it
    ended : nothing more will come
    opened_ns, last_ns : when it was opened, and when the last frame came, on the monotonic clock; 0 until then
    """

    def __init__(self, connect: Callable[[], Feed], changed: threading.Condition, name: str) -> None:
        self.feed: Feed | None = None
        self.error: BaseException | None = None
        self.ended = False
        self.opened_ns = 0
        self.last_ns = 0
        self._connect = connect
        self._changed = changed
        self._newest: Taken | None = None
        self._skipped = 0  # frames that came since the last one was taken out, and were replaced
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name=f"steadyframe read {name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread has not ended."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> bool:
        """Whether a frame is there to be taken; the caller holds the condition."""
        return self._newest is not None

    def take(self) -> tuple[Taken, int] | None:
        """Take the newest frame, and the number of frames before it that it replaced; never waits."""
        with self._changed:
            if self._newest is None:
                return None
            found = (self._newest, self._skipped)
            self._newest, self._skipped = None, 0
            return found

    def abandon(self) -> None:
        """Ask the thread to end; does not wait for it."""
        with self._changed:
            self._abandoned = True
            self._newest = None
            feed = self.feed
        cancel = getattr(feed, "cancel", None)
        if cancel is not None and not self.ended:
            cancel()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread, but not for ever."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        feed: Feed | None = None
        try:
            feed = self._connect()
            with self._changed:
                self.feed = feed
                self.opened_ns = time.monotonic_ns()
                self._changed.notify_all()
                if self._abandoned:
                    return
            for taken in feed:
                if not self._put(taken):
                    return
        except BaseException as error:  # whoever takes the frames decides what it means
            self.error = error
        finally:
            if feed is not None:
                feed.close()
            with self._changed:
                self.ended = True
                self._changed.notify_all()

    def _put(self, taken: Taken) -> bool:
        """Replace the newest frame; False if nobody wants any."""
        with self._changed:
            if self._abandoned:
                return False
            self._skipped += self._newest is not None
            self._newest = taken
            self.last_ns = time.monotonic_ns()
            self._changed.notify_all()
            return True
