"""Nowhere: for measuring, and for programs that only iterate."""

from __future__ import annotations

from typing import Any

from ...tasks.task import Result
from ..info import SourceInfo
from .descriptor import SinkDescriptor
from .video_options import VideoOptions


class NullSink:
    """Take results and keep nothing."""

    address = "null://"
    in_callers_thread = False
    wants = "every"
    instant = True
    notes = ()

    def write(self, result: Result[Any]) -> None:
        """Take one result."""

    def close(self) -> None:
        """Nothing to finish."""

    def discard(self) -> None:
        """Nothing to remove."""


def open_null(address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> NullSink:
    """Open it; there is nothing to check."""
    del address, info, task, video
    return NullSink()


descriptor = SinkDescriptor(open=open_null)
