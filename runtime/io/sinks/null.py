"""Nowhere: for measuring, and for programs that only iterate."""

from __future__ import annotations

from ...tasks.task import Result


class NullSink:
    """Take results and keep nothing."""

    address = "null://"
    in_callers_thread = False
    notes = ()

    def write(self, result: Result) -> None:
        """Take one result."""

    def close(self) -> None:
        """Nothing to finish."""

    def discard(self) -> None:
        """Nothing to remove."""
