"""A function of the caller's as a sink.

Owns `CallbackSink`. A stream gives it a queue and a thread of its own, so a slow function never stalls the capture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...tasks.task import Result


class CallbackSink:
    """Calls a function with each result, in a thread of its own.

    Of a live source, results that no longer fit into the queue are dropped and counted: `stats.sink_dropped`. An
    error of the function ends the stream, and is raised to whoever runs it, iterates over it or waits for it.

    Parameters
    ----------
    function : called with a `Result`
    wants : of a live stream, ``every`` result that fits into a queue of 64, or only the ``newest``
    """

    in_callers_thread = False
    notes = ()

    def __init__(self, function: Callable[[Result[Any]], object], *, wants: str = "every") -> None:
        self.address = f"callback {getattr(function, '__name__', type(function).__name__)}"
        self.wants = wants
        self._function = function

    def write(self, result: Result[Any]) -> None:
        """Call the function."""
        self._function(result)

    def close(self) -> None:
        """Nothing is held open."""

    def discard(self) -> None:
        """Nothing was written."""
