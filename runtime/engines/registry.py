"""Engines by the name of their device.

Owns `EngineDescriptor`, the choice of an engine, and the loading of a graph on it. Each engine is one file or folder
that exports a descriptor a device, and one line in the entry points ``steadyframe.engines`` of an installed package;
it is imported only when its device is requested.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..bundle.bundle import Bundle
from ..bundle.manifest import Graph
from ..bundle.onnx_file import require_self_contained
from ..descriptors import find_descriptor, names_of
from ..errors import BackendNotInstalled, DeviceError, DeviceUnavailable
from .session import Session

GROUP = "steadyframe.engines"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDescriptor:
    """How a graph is loaded on a device.

    Parameters
    ----------
    device : name that users ask for
    open : makes a session of an ONNX file's bytes: ``open(content, graph, name=…, **options)``
    options : given to `open`
    takes_threads : whether `open` takes ``threads``, the number of processor threads of one run
    concurrent : whether several threads may run one session at the same time, each on cores of its own
    takes_address : whether the device is named as ``name://address``, and `open` takes the ``address``
    """

    device: str
    open: Callable[..., Session]
    options: Mapping[str, Any] = field(default_factory=dict)
    takes_threads: bool = False
    concurrent: bool = False
    takes_address: bool = False


def devices() -> tuple[str, ...]:
    """Names of all devices that an installed package can drive, the processor first."""
    return tuple(sorted(names_of(GROUP), key=lambda name: (name != "cpu", name)))


def device_choices() -> tuple[str, ...]:
    """Everything that `--device` takes."""
    return ("auto", *devices())


def is_remote(device: str) -> bool:
    """Whether a device is another machine, named by its address: which graph runs there is not chosen here."""
    return "://" in device


def resolve_device(device: str) -> str:
    """Resolve a device name.

    ``auto`` is ``cuda`` where it is installed and a GPU answers, else ``cpu``. Devices that cost minutes at their
    first use (TensorRT builds engines), or are faster only sometimes (OpenVINO), are selected by name.

    Raises
    ------
    DeviceUnavailable
        If there is no such device.
    """
    if is_remote(device) and device.partition("://")[0] in devices():
        return device
    if device not in device_choices():
        raise DeviceUnavailable(f"There is no device {device!r}", available=device_choices())
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


def runs_at_once(device: str, wanted: int) -> int:
    """Give the number of runs of a session that a device does at the same time: at most `wanted`, and one a core."""
    descriptor: EngineDescriptor | None = find_descriptor(GROUP, resolve_device(device).partition("://")[0])
    return min(wanted, processors()) if descriptor is not None and descriptor.concurrent else 1


def processors() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_session(
    bundle: Bundle, role: str, *, device: str = "auto", precision: str = "fp32", threads: int = 0
) -> Session:
    """Load one graph of a bundle on a device; parameters as `load_session`.

    Raises
    ------
    BackendNotInstalled, DeviceUnavailable
        If the requested device is not available; there is no silent fallback.
    BundleError
        If the graph is missing, altered, or does not match the manifest.
    """
    content = bundle.graph_bytes(role, precision)
    name = f"{bundle.manifest.name}/{role}"
    return load_session(content, bundle.manifest.graphs[role], device=device, name=name, threads=threads)


def open_sessions(
    bundle: Bundle, *, device: str = "auto", precision: str = "fp32", threads: int = 0
) -> dict[str, Session]:
    """Load every graph of a bundle; if one fails, those that were loaded are closed.

    Raises
    ------
    BackendNotInstalled, DeviceUnavailable, BundleError
        As `open_session`.
    """
    sessions: dict[str, Session] = {}
    try:
        for role in bundle.manifest.graphs:
            sessions[role] = open_session(bundle, role, device=device, precision=precision, threads=threads)
    except BaseException:
        for session in sessions.values():
            session.close()
        raise
    return sessions


def load_session(
    content: bytes, graph: Graph, *, device: str = "auto", name: str = "graph", threads: int = 0
) -> Session:
    """Load the bytes of a graph on a device.

    Parameters
    ----------
    content : ONNX file, hash already checked
    graph : its entry in the manifest
    device : ``auto`` or one of `devices`; `resolve_device` says what ``auto`` is
    name : for messages
    threads : of one run, on a processor; 0 takes every core. A GPU has no use for it

    Raises
    ------
    BackendNotInstalled, DeviceUnavailable, BundleError
        As `open_session`.
    """
    engine = resolve_device(device)
    require_self_contained(content, f"The runtime cannot load {name}")
    scheme, _, address = engine.partition("://")
    descriptor: EngineDescriptor | None = find_descriptor(GROUP, scheme)
    if descriptor is None:
        raise BackendNotInstalled(f"No installed package drives device {engine!r}", available=devices())
    options = dict(descriptor.options)
    if bool(address) != descriptor.takes_address:
        expected = f"{scheme}://host:port/name" if descriptor.takes_address else scheme
        raise DeviceUnavailable(f"Device {engine!r} is not complete", expected=expected)
    if address:
        options["address"] = address
    if threads and descriptor.takes_threads:
        options["threads"] = threads
    return descriptor.open(content, graph, name=name, **options)
