"""Export PyTorch vision networks once; run them on any camera, steady from frame to frame.

The public interface, imported lazily: ``import steadyframe`` costs nothing, and no name loads PyTorch but `export`
and `compare`. The layers behind it are `steadyframe.runtime`, `steadyframe.models`, `steadyframe.calibration` and
`steadyframe.export`.

Examples
--------
>>> import steadyframe as sf
>>> with sf.open_stream("colorize", "test://?size=160x120&frames=2") as stream:
...     [result.output.pixels.shape for result in stream]
[(120, 160, 3), (120, 160, 3)]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .export.front import compare, export
    from .runtime import testing
    from .runtime.bundle.bundle import Bundle, shipped_bundles
    from .runtime.errors import (
        BackendNotInstalled,
        BundleError,
        CalibrationError,
        DeviceError,
        DeviceUnavailable,
        NothingYoungEnough,
        ParityError,
        ShapeMismatch,
        SignalLost,
        SinkError,
        SourceError,
        SourceNotFound,
        SteadyframeError,
        UsageError,
    )
    from .runtime.frame import Frame
    from .runtime.image_file import read_image
    from .runtime.io.failures import Failure
    from .runtime.io.live.policy import LivePolicy
    from .runtime.io.live.signal import Signal, SignalEvent, SignalLog
    from .runtime.io.sinks import open_sink
    from .runtime.io.sources import open_source
    from .runtime.opening import open_processor, open_stream, open_streams, open_task
    from .runtime.processor import Processor
    from .runtime.stream.group import StreamGroup
    from .runtime.stream.stats import Stats
    from .runtime.stream.stream import Stream
    from .runtime.tasks.custom import NamedArrays
    from .runtime.tasks.pose.people import People, Person
    from .runtime.tasks.task import Image, Result, Task
    from .runtime.temporal.options import SteadyOptions

    __version__: str

__all__ = [
    "BackendNotInstalled",
    "Bundle",
    "BundleError",
    "CalibrationError",
    "DeviceError",
    "DeviceUnavailable",
    "Failure",
    "Frame",
    "Image",
    "LivePolicy",
    "NamedArrays",
    "NothingYoungEnough",
    "ParityError",
    "People",
    "Person",
    "Processor",
    "Result",
    "ShapeMismatch",
    "Signal",
    "SignalEvent",
    "SignalLog",
    "SignalLost",
    "SinkError",
    "SourceError",
    "SourceNotFound",
    "Stats",
    "SteadyOptions",
    "SteadyframeError",
    "Stream",
    "StreamGroup",
    "Task",
    "UsageError",
    "__version__",
    "compare",
    "export",
    "open_processor",
    "open_sink",
    "open_source",
    "open_stream",
    "open_streams",
    "open_task",
    "read_image",
    "shipped_bundles",
    "testing",
]

# Module -> its public names. `export` and `compare` need the extra [export], all else only the base installation.
_HOMES = {
    "export.front": ("compare",),
    "runtime.bundle.bundle": ("Bundle", "shipped_bundles"),
    "runtime.errors": (
        *("BackendNotInstalled", "BundleError", "CalibrationError", "DeviceError", "DeviceUnavailable"),
        *("NothingYoungEnough", "ParityError", "ShapeMismatch", "SignalLost", "SinkError", "SourceError"),
        *("SourceNotFound", "SteadyframeError", "UsageError"),
    ),
    "runtime.frame": ("Frame",),
    "runtime.image_file": ("read_image",),
    "runtime.io.failures": ("Failure",),
    "runtime.io.live.policy": ("LivePolicy",),
    "runtime.io.live.signal": ("Signal", "SignalEvent", "SignalLog"),
    "runtime.io.sinks": ("open_sink",),
    "runtime.io.sources": ("open_source",),
    "runtime.opening": ("open_processor", "open_stream", "open_streams", "open_task"),
    "runtime.processor": ("Processor",),
    "runtime.stream.group": ("StreamGroup",),
    "runtime.stream.stats": ("Stats",),
    "runtime.stream.stream": ("Stream",),
    "runtime.tasks.custom": ("NamedArrays",),
    "runtime.tasks.pose.people": ("People", "Person"),
    "runtime.tasks.task": ("Image", "Result", "Task"),
    "runtime.temporal.options": ("SteadyOptions",),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("steadyframe")
    if name == "export":
        return importlib.import_module(".export", __name__)  # the layer, which can be called
    if name == "testing":
        return importlib.import_module(".runtime.testing", __name__)  # fakes for users' own tests
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
