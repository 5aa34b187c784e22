"""Nowhere: for measuring, and for programs that only iterate."""

from __future__ import annotations

from typing import Any

from ...tasks.task import Result


class NullSink:
    """Take results and keep nothing."""

    address = "null://"
    in_callers_thread = False
    wants = "every"

    def write(self, result: Result[Any]) -> None:
        """Take one result."""

    def close(self) -> None:
        """Nothing to finish."""

    def discard(self) -> None:
        """Nothing to remove."""
