"""What happens to a live stream, told on stderr as it happens.

Owns `LiveLines`: losses and returns of the signal, a part that hangs, and a load that was lowered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from ..io.failures import Failure
from ..io.live.signal import Signal, SignalEvent
from ..stream.stream import Stream

_LOOK_S = 0.5


class LiveLines:
    """Tells each change once; used in a `with`.

    Parameters
    ----------
    stream : running
    tell : called with a line
    """

    def __init__(self, stream: Stream, tell: Callable[[str], None]) -> None:
        self._stream = stream
        self._tell = tell
        self._ended = threading.Event()
        self._lost_s: float | None = None
        self._cause: Failure | None = None
        self._thread = threading.Thread(target=self._look, name="steadyframe tell", daemon=True)

    def __enter__(self) -> LiveLines:
        log = self._stream.signal_log
        if log is not None:
            log.subscribe(self._hear)
            self._hear(log.event)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _hear(self, event: SignalEvent) -> None:
        """Tell a loss, another cause of it, and the return."""
        if event.signal is Signal.LIVE:
            if self._lost_s is not None:
                self._tell(f"the signal is back after {time.monotonic() - self._lost_s:.1f} s")
            elif event.detail:
                self._tell(event.detail)
            self._lost_s = self._cause = None
        elif event.signal in (Signal.NO_SIGNAL, Signal.CONNECTING) and event.cause not in (None, self._cause):
            self._cause = event.cause
            if event.signal is Signal.NO_SIGNAL and self._lost_s is None:
                self._lost_s = time.monotonic()
            self._tell(event.text)

    def _look(self) -> None:
        """Tell what nobody calls us for."""
        stuck_part, lowered = "", ""
        while not self._ended.wait(_LOOK_S):
            stuck, now_lowered = self._stream.stuck, self._stream.lowered
            if stuck is not None and stuck.part != stuck_part:
                self._tell(stuck.text)
            stuck_part = "" if stuck is None else stuck.part
            if now_lowered != lowered:
                lowered = now_lowered
                self._tell(f"to keep the age: {lowered}" if lowered else "the age is low again: the usual load")
