"""A tiny graph that shows whether a device really works.

Owns the graph, written as protobuf, since the runtime has no onnx library, and the judgement of its answer.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from ..bundle import protobuf
from ..bundle.manifest import Graph, GraphFile, TensorSpec
from ..errors import BackendNotInstalled, DeviceUnavailable, SteadyframeError
from .registry import load_session

_SIDE = 128
_RUNS = 30
_WARM_UP = 5
_FLOAT = 1  # TensorProto.DataType


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of running the tiny graph on a device.

    Parameters
    ----------
    device : requested
    works : it ran there, and the answer was right
    latency_ms : median of `runs` runs
    problem : why it does not work
    absent : nothing is broken; the library or the hardware is not there
    """

    device: str
    works: bool
    latency_ms: float = float("nan")
    runs: int = 0
    problem: str = ""
    absent: bool = False


def probe(device: str) -> Probe:
    """Run ``relu(x @ x)`` on a device, compare it with numpy, and time it."""
    graph = _described()
    x = np.random.default_rng(0).standard_normal((_SIDE, _SIDE), np.float32)
    tolerance = 0.5 if device.endswith("-bf16") else 1e-3  # sums of 128 products, each with 8 bits
    try:
        session = load_session(probe_graph(), graph, device=device, name="probe")
    except (BackendNotInstalled, DeviceUnavailable) as error:
        return Probe(device, works=False, problem=str(error), absent=True)
    except SteadyframeError as error:
        return Probe(device, works=False, problem=str(error))
    try:
        spent_ms = []
        for _ in range(_WARM_UP + _RUNS):
            started = time.perf_counter_ns()
            y = session.run({"x": x})["y"]
            spent_ms.append((time.perf_counter_ns() - started) / 1e6)
    finally:
        session.close()
    if not np.allclose(y, np.maximum(x @ x, 0), atol=tolerance):
        return Probe(device, works=False, problem="it ran, and the answer was wrong")
    return Probe(device, works=True, latency_ms=statistics.median(spent_ms[_WARM_UP:]), runs=_RUNS)


def probe_engine() -> tuple[bytes, float]:
    """Build an engine of the tiny graph with TensorRT-RTX, which needs no GPU for that.

    Returns
    -------
    The plan, and how many seconds it took, the start of a process included.

    Raises
    ------
    BackendNotInstalled, BundleError
        If the library is not there, or cannot build.
    """
    from .shape_range import shape_ranges_of
    from .tensorrt.plan import build_plan

    started = time.monotonic()
    plan = build_plan(
        probe_graph(), shape_ranges_of(_described()), library="tensorrt-rtx", name="probe", timeout_s=60
    )
    return plan, time.monotonic() - started


def _described() -> Graph:
    """Say what a manifest would of the tiny graph."""
    x, y = (TensorSpec(name, "float32", (_SIDE, _SIDE)) for name in ("x", "y"))
    return Graph(files={"fp32": GraphFile("probe.onnx", "0" * 64)}, inputs=(x,), outputs=(y,))


def probe_graph() -> bytes:
    """Serialise ``y = relu(x @ x)`` on (128, 128) float32 as an ONNX model.

    References
    ----------
    Field numbers of onnx.proto3, opset 13.
    """
    nodes = (
        protobuf.text(1, "x") + protobuf.text(1, "x") + protobuf.text(2, "product") + protobuf.text(4, "MatMul"),
        protobuf.text(1, "product") + protobuf.text(2, "y") + protobuf.text(4, "Relu"),
    )
    dimensions = protobuf.message(1, protobuf.number(1, _SIDE)) * 2
    tensor_type = protobuf.number(1, _FLOAT) + protobuf.message(2, dimensions)
    value_type = protobuf.message(2, protobuf.message(1, tensor_type))
    values = {name: protobuf.text(1, name) + value_type for name in ("x", "y")}
    graph = b"".join(protobuf.message(1, node) for node in nodes) + protobuf.text(2, "probe")
    graph += protobuf.message(11, values["x"]) + protobuf.message(12, values["y"])
    return protobuf.number(1, 7) + protobuf.message(7, graph) + protobuf.message(8, protobuf.number(2, 13))
