"""Sources, sinks, and the stream that joins them with a task."""

from .sinks import Sink, StopStream, open_sink
from .sources import Signal, Source, SourceInfo, open_source
from .stats import Spread, Stats
from .stream import Stream
from .temporal import AheadSteadier, Fresh, Motion, Steadier

__all__ = [
    "AheadSteadier",
    "Fresh",
    "Motion",
    "Signal",
    "Sink",
    "Source",
    "SourceInfo",
    "Spread",
    "Stats",
    "Steadier",
    "StopStream",
    "Stream",
    "open_sink",
    "open_source",
]
