"""How a kind of sink is opened.

Owns `SinkDescriptor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..info import SourceInfo
from .sink import Sink
from .video_options import VideoOptions


class OpenSink(Protocol):
    """Opens a sink by its address."""

    def __call__(self, address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> Sink:
        """Open it for the results of a source, made by a task; `video` is for sinks that write video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkDescriptor:
    """A kind of sink; its entry points are named by the schemes and by the endings of its addresses.

    Parameters
    ----------
    open : opens an address
    """

    open: OpenSink
