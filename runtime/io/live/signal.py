"""The state of a source, why it has it, and what happened before.

Owns `Signal`, `SignalEvent` and `SignalLog`. Standard library and the failures only.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..failures import Failure

HOUR_S = 3600.0
_KEPT_EVENTS = 256  # the last ones; an endless stream must not grow


class Signal(Enum):
    """State of a source."""

    CONNECTING = "connecting"  # opened for the first time, no frame yet
    LIVE = "live"  # frames are coming; also the state of a file that is being read
    NO_SIGNAL = "no_signal"  # frames stopped, or all of them are the same; the cause says which
    RECONNECTING = "reconnecting"  # being opened again
    ENDED = "ended"  # no frame will come any more


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalEvent:
    """One change of a source's state.

    Parameters
    ----------
    signal : the new state
    cause : why there is no signal; None for states that need no reason
    detail : in words, without credentials; may be empty
    attempt : number of the attempt to open the source since its last frame, from 1; 0 where none is made
    at_ns : when, on the monotonic clock
    wall_ns : when, on the UNIX clock

    Examples
    --------
    >>> SignalEvent(signal=Signal.NO_SIGNAL, cause=Failure.STALLED, detail="no frame for 2.0 s").text
    'NO SIGNAL (stalled): no frame for 2.0 s'
    """

    signal: Signal
    cause: Failure | None = None
    detail: str = ""
    attempt: int = 0
    at_ns: int = field(default_factory=time.monotonic_ns)
    wall_ns: int = field(default_factory=time.time_ns)

    @property
    def text(self) -> str:
        """One line for people."""
        name = self.signal.name.replace("_", " ")
        if self.cause is not None:
            name += f" ({self.cause.value})"
        return f"{name}: {self.detail}" if self.detail else name

    def as_json(self) -> dict[str, Any]:
        """Give every field, ready for JSON."""
        return {
            "signal": self.signal.value,
            "cause": None if self.cause is None else self.cause.name,
            "detail": self.detail,
            "attempt": self.attempt,
            "wall_ns": self.wall_ns,
        }


class SignalLog:
    """The states of one source over time. One thread changes it; any thread may read.

    Examples
    --------
    >>> log = SignalLog()
    >>> _ = log.change(Signal.LIVE)
    >>> _ = log.change(Signal.NO_SIGNAL, Failure.STALLED)
    >>> log.signal.name, log.event.cause.name, log.stalls, log.reconnects
    ('NO_SIGNAL', 'STALLED', 1, 0)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = SignalEvent(signal=Signal.CONNECTING)
        self._events: deque[SignalEvent] = deque([self._event], maxlen=_KEPT_EVENTS)
        self._stalled_ns: deque[int] = deque()
        self._reconnected_ns: deque[int] = deque()
        self._listeners: list[Callable[[SignalEvent], None]] = []
        self._was_live = False

    @property
    def signal(self) -> Signal:
        """The current state."""
        return self._event.signal

    @property
    def event(self) -> SignalEvent:
        """The change that led to the current state."""
        return self._event

    @property
    def events(self) -> tuple[SignalEvent, ...]:
        """The last changes, oldest first, 256 at most."""
        with self._lock:
            return tuple(self._events)

    @property
    def stalls(self) -> int:
        """Losses of the signal in the last hour."""
        return self._count(self._stalled_ns)

    @property
    def reconnects(self) -> int:
        """Returns of the signal in the last hour."""
        return self._count(self._reconnected_ns)

    def subscribe(self, listener: Callable[[SignalEvent], None]) -> None:
        """Call a function with every change from now on, in the thread of the source; it must not wait."""
        with self._lock:
            self._listeners.append(listener)

    def change(
        self, signal: Signal, cause: Failure | None = None, detail: str = "", *, attempt: int = 0
    ) -> SignalEvent:
        """Note a new state; what is the same as before is noted once."""
        event = SignalEvent(signal=signal, cause=cause, detail=detail, attempt=attempt)
        with self._lock:
            before = self._event
            if (before.signal, before.cause, before.detail, before.attempt) == (signal, cause, detail, attempt):
                return before
            self._event = event
            self._events.append(event)
            if before.signal is Signal.LIVE and signal is Signal.NO_SIGNAL:
                self._stalled_ns.append(event.at_ns)
            if signal is Signal.LIVE and before.signal is not Signal.LIVE:
                if self._was_live:
                    self._reconnected_ns.append(event.at_ns)
                self._was_live = True
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(event)
        return event

    def _count(self, times_ns: deque[int]) -> int:
        """Count what lies within the last hour, and forget the rest."""
        with self._lock:
            oldest = time.monotonic_ns() - round(HOUR_S * 1e9)
            while times_ns and times_ns[0] < oldest:
                times_ns.popleft()
            return len(times_ns)
