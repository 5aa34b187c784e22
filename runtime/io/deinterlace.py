"""Full frames from interlaced ones, by libavfilter's bwdif.

Owns `Deinterlacer`. Imports PyAV.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any


class Deinterlacer:
    """Passes frames through bwdif, which looks one frame ahead; progressive frames among them stay as they are."""

    def __init__(self, frame: Any, time_base: Fraction) -> None:
        import av

        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format.name, time_base=time_base
        )
        bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        sink = graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        graph.configure()
        self._graph, self._source, self._sink = graph, source, sink
        self._made_for = (frame.width, frame.height, frame.format.name)

    def fits(self, frame: Any) -> bool:
        """Whether a frame has the size and format of those before it."""
        return (frame.width, frame.height, frame.format.name) == self._made_for

    def push(self, frame: Any | None) -> list[Any]:
        """Give a frame, or None at the end, and take those that are ready."""
        import av

        self._source.push(frame)
        ready = []
        while True:
            try:
                ready.append(self._sink.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return ready
