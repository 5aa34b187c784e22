"""What every engine offers: a graph, loaded and ready.

Owns the `Session` protocol and the choice of an engine by device name. Each engine lives in its own file under
`engines/` and is imported only when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.manifest import Graph, TensorSpec
from ..bundle.onnx_file import require_self_contained
from ..errors import BackendNotInstalled, DeviceError, DeviceUnavailable, ShapeMismatch

Tensors = Mapping[str, NDArray[Any]]

# device name -> (module under engines/, class, its options, the line that installs it)
ENGINES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "cpu": ("onnxruntime", "OnnxRuntimeSession", {}, "pip install onnxruntime"),
    "cuda": ("onnxruntime_gpu", "OnnxRuntimeGpuSession", {"provider": "cuda"}, "pip install onnxruntime-gpu"),
    "tensorrt": ("tensorrt.run", "TensorRtSession", {"library": "tensorrt"}, "pip install 'steadyframe[tensorrt]'"),
    "tensorrt-rtx": (
        *("tensorrt.run", "TensorRtSession", {"library": "tensorrt-rtx"}),
        "pip install 'steadyframe[tensorrt-rtx]'",
    ),
    "tensorrt-ort": (
        *("onnxruntime_gpu", "OnnxRuntimeGpuSession", {"provider": "tensorrt"}),
        "pip install onnxruntime-gpu",
    ),
    "openvino": ("openvino", "OpenVinoSession", {}, "pip install 'steadyframe[openvino]'"),
    "openvino-bf16": (
        *("openvino", "OpenVinoSession", {"arithmetic": "bfloat16"}),
        "pip install 'steadyframe[openvino]'",
    ),
    "openvino-throughput": (
        *("openvino", "OpenVinoSession", {"hint": "throughput"}),
        "pip install 'steadyframe[openvino]'",
    ),
}
DEVICES = ("auto", *ENGINES)
# Devices whose runs take threads.
PROCESSORS = tuple(name for name, (module, *_) in ENGINES.items() if module in ("onnxruntime", "openvino"))


class Session(Protocol):
    """A graph that is loaded on a device. Immutable, and so shared freely between streams.

    Memory that belongs to one stream never lives here.
    """

    @property
    def device(self) -> str:
        """The device in use, never the one that was merely asked for."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph once on named arrays and return named arrays."""

    def close(self) -> None:
        """Free the engine's memory; the session is of no use afterwards."""


def resolve_device(device: str) -> str:
    """Name the device that a word stands for.

    ``auto`` is ``cuda`` where it is installed and a GPU answers, else ``cpu``. What costs minutes at its first use
    (TensorRT builds engines), or is only sometimes faster (OpenVINO), is had by its own name.

    Raises
    ------
    DeviceUnavailable
        If there is no such device.
    """
    if device not in DEVICES:
        raise DeviceUnavailable(f"There is no device {device!r}", available=DEVICES)
    if device != "auto":
        return device
    from .cuda import find_gpu
    from .onnxruntime_gpu import has_provider

    if not has_provider("cuda"):
        return "cpu"
    try:
        find_gpu()
    except DeviceError:
        return "cpu"
    return "cuda"


def open_session(
    bundle: Bundle, role: str, *, device: str = "auto", precision: str = "fp32", threads: int = 0
) -> Session:
    """Load one graph of a bundle on a device; parameters as `load_session`.

    Raises
    ------
    BackendNotInstalled, DeviceUnavailable
        If the device asked for cannot be had; there is no silent fallback.
    BundleError
        If the graph is missing, altered, or not what the manifest says.
    """
    content = bundle.graph_bytes(role, precision)
    name = f"{bundle.manifest.name}/{role}"
    return load_session(content, bundle.manifest.graphs[role], device=device, name=name, threads=threads)


def load_session(
    content: bytes, graph: Graph, *, device: str = "auto", name: str = "graph", threads: int = 0
) -> Session:
    """Load the bytes of a graph on a device.

    Parameters
    ----------
    content : ONNX file, hash already checked
    graph : what the manifest says of it
    device : ``auto`` or one of `ENGINES`; `resolve_device` says what ``auto`` is
    name : for messages
    threads : of one run, on a processor; 0 takes every core. A GPU has no use for it

    Raises
    ------
    BackendNotInstalled, DeviceUnavailable, BundleError
        As `open_session`.
    """
    engine = resolve_device(device)
    module_name, class_name, options, install = ENGINES[engine]
    require_self_contained(content, f"The runtime cannot load {name}")
    try:
        module = importlib.import_module(f"{__package__}.{module_name}")
    except ModuleNotFoundError as error:
        raise BackendNotInstalled(f"Device {engine!r} needs a library that is not installed", todo=install) from error
    if threads and engine in PROCESSORS:
        options = {**options, "threads": threads}
    session: Session = getattr(module, class_name)(content, graph, name=name, **options)
    return session


def check_feeds(feeds: Tensors, specs: tuple[TensorSpec, ...]) -> None:
    """Refuse feeds that do not fit: missing or unknown names, wrong dtype, wrong shape."""
    names = {spec.name for spec in specs}
    if set(feeds) != names:
        raise ShapeMismatch(
            "The graph has other inputs than it was given", expected=sorted(names), found=sorted(feeds)
        )
    for spec in specs:
        array = feeds[spec.name]
        sizes = array.shape
        fits = len(sizes) == len(spec.axes) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(spec.axes, sizes, strict=True)
        )
        if not fits or array.dtype != np.dtype(spec.dtype):
            raise ShapeMismatch(
                f"Input {spec.name!r} does not fit the graph",
                expected=f"{spec.dtype} {list(spec.axes)}",
                found=f"{array.dtype} {list(sizes)}",
            )
