"""Which part of a stream hangs, and for how long.

Owns `Watch`. Standard library only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STUCK_S = 10.0


@dataclass(frozen=True, slots=True)
class Stuck:
    """A part of a stream that has been at one frame for too long.

    Parameters
    ----------
    part : ``prepare``, ``infer``, ``finish``, or ``write`` and the address of a sink
    seconds : since it began with the frame
    """

    part: str
    seconds: float

    @property
    def text(self) -> str:
        """One line for people."""
        name = "the session (infer)" if self.part == "infer" else self.part
        return f"{name} has been at one frame for {self.seconds:.0f} s"


class Watch:
    """Notes when each part begins and ends a frame; any thread may ask for the one that hangs.

    Examples
    --------
    >>> watch = Watch()
    >>> with watch.at("infer"):
    ...     watch.stuck(limit_s=0.0).part
    'infer'
    >>> watch.stuck() is None
    True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[object, tuple[str, float]] = {}  # a part may be at several frames at once

    @contextmanager
    def at(self, part: str) -> Iterator[None]:
        """Note that a part works on a frame."""
        visit = object()
        with self._lock:
            self._since[visit] = part, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._since.pop(visit, None)

    def stuck(self, limit_s: float = STUCK_S) -> Stuck | None:
        """Return the part that has been at its frame for the longest, if that is longer than the limit."""
        with self._lock:
            found = min(self._since.values(), key=lambda visit: visit[1], default=None)
        if found is None:
            return None
        part, since = found
        seconds = time.monotonic() - since
        return Stuck(part, seconds) if seconds >= limit_s else None
