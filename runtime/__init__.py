"""Run exported networks on camera streams: frames, bundles, sessions, steadying, sources and sinks.

Stands on numpy, OpenCV and the standard library; engines are imported lazily, each in its own file. Never imports
torch, onnx, or another layer.
"""

if __name__ != "steadyframe.runtime":
    raise ImportError(
        "This is a layer of the namespace 'steadyframe': write 'import steadyframe.runtime'. "
        "From a checkout, install it first with 'make .venv' or 'pip install -e .'"
    )

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bundle import Bundle, shipped_bundles
    from .errors import SteadyframeError
    from .frame import Frame
    from .pictures import read_picture
    from .session import Session, open_session
    from .streaming import Stream, open_sink, open_source
    from .task import Picture, StreamResult, Task
    from .tasks import open_task

__all__ = [
    "Bundle",
    "Frame",
    "Picture",
    "Session",
    "SteadyframeError",
    "Stream",
    "StreamResult",
    "Task",
    "open_session",
    "open_sink",
    "open_source",
    "open_task",
    "read_picture",
    "shipped_bundles",
]

# Public name -> module. Each is imported at its first use, so that importing the layer costs nothing.
_HOMES = {
    "Bundle": "bundle",
    "Frame": "frame",
    "Picture": "task",
    "Session": "session",
    "SteadyframeError": "errors",
    "Stream": "streaming",
    "StreamResult": "task",
    "Task": "task",
    "open_session": "session",
    "open_sink": "streaming",
    "open_source": "streaming",
    "open_task": "tasks",
    "read_picture": "pictures",
    "shipped_bundles": "bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
