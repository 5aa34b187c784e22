"""Inside a graph: the first node whose result is another one than it should be.

Owns the search. What should be is the fp32 graph as it is written, computed node by node without any fusion. What is
under test is asked for one inner tensor at a time, so that an engine fuses everything else as it always does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...calibration.activation_ranges import watched
from ...calibration.prepare import prepared
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import Graph, TensorSpec
from ...runtime.engines.registry import load_session
from ...runtime.errors import SteadyframeError

# Relative error (root mean square) of an inner tensor above which a node counts as diverging. fp16 rounds to 1e-3
# and int8 to about 1e-2 of a tensor's range; errors of the nodes before add up.
LIMITS = {"fp32": 1e-4, "fp16": 2e-2, "int8": 2e-1}
_DTYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.FLOAT16: "float16"}
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Divergence:
    """A node, and how far its result is from what it should be.

    Parameters
    ----------
    role, node, kind, tensor : graph, name and operator of the node, and its output
    error : relative, root mean square
    error_before : the largest among its own inputs
    limit : above which it counts
    """

    role: str
    node: str
    kind: str
    tensor: str
    error: float
    error_before: float
    limit: float

    def __str__(self) -> str:
        return (
            f"{self.role}/{self.node} ({self.kind}): relative error {self.error:.3g} of {self.tensor!r}, "
            f"{self.error_before:.3g} of its inputs, limit {self.limit:g}"
        )


def first_diverging_node(
    bundle: Bundle, role: str, feeds: Arrays, *, device: str = "cpu", precision: str = "fp32",
    limit: float | None = None,
) -> Divergence | None:  # fmt: skip
    """Search a graph, as a device runs it, for the first node that leaves the written fp32 graph.

    The nodes are halved in the graph's order until a good one stands before a bad one; from there the search climbs
    while an input of the bad node is bad itself.

    Parameters
    ----------
    bundle, role, device, precision : what is under test
    feeds : of one run
    limit : relative error that counts; the precision's own if None

    Returns
    -------
    the node, or None where every output of the graph is good: then the difference lies before or behind the graph,
    or between the trained network and the written graph
    """
    model = prepared(onnx.load_from_string(bundle.graph_bytes(role, "fp32")))
    suspect = _Suspect(bundle, role, device, precision, feeds)
    least = LIMITS[precision] if limit is None else limit
    session = watched(model)
    names = [output.name for output in session.get_outputs()]
    truth = dict(zip(names, session.run(names, dict(feeds)), strict=True))
    maker = {name: node for node in model.graph.node for name in node.output}
    order = [name for name in maker if name in truth and truth[name].dtype.kind == "f" and name in suspect.types]
    errors: dict[str, float] = {}

    def error(name: str) -> float:
        if name not in errors:
            errors[name] = _relative(truth[name], suspect.value(name))
        return errors[name]

    bad = next((o.name for o in model.graph.output if o.name in order and not error(o.name) <= least), None)
    if bad is None:
        return None
    low, high = -1, order.index(bad)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if not error(order[middle]) <= least else (middle, high)
    name = order[high]
    while worse := [i for i in _inputs(name, maker, order) if not error(i) <= least]:
        name = worse[0]
    before = max((error(i) for i in _inputs(name, maker, order)), default=0.0)
    node = maker[name]
    return Divergence(role, node.name, node.op_type, name, error(name), before, least)


class _Suspect:
    """The graph under test, which shows one inner tensor at a time."""

    def __init__(self, bundle: Bundle, role: str, device: str, precision: str, feeds: Arrays) -> None:
        content = bundle.graph_bytes(role, precision)
        self._model = onnx.load_from_string(content)
        self._spec: Graph = bundle.manifest.graphs[role]
        self._device, self._feeds = device, feeds
        graph = onnx.shape_inference.infer_shapes(self._model).graph
        self._infos = {value.name: value for value in (*graph.value_info, *graph.output)}
        self.types = {
            name: _DTYPES[value.type.tensor_type.elem_type]
            for name, value in self._infos.items() if value.type.tensor_type.elem_type in _DTYPES
        }  # fmt: skip

    def value(self, name: str) -> NDArray[Any] | None:
        """Run with this tensor as one more output; None where the device cannot."""
        model, spec = onnx.ModelProto.FromString(self._model.SerializeToString()), self._spec
        if name not in {output.name for output in spec.outputs}:
            info = self._infos[name]
            model.graph.output.append(info)
            dims = info.type.tensor_type.shape.dim
            axes = tuple(dim.dim_value or dim.dim_param or f"axis_{i}" for i, dim in enumerate(dims))
            extra = TensorSpec(name, self.types[name], axes)
            spec = dataclasses.replace(spec, outputs=(*spec.outputs, extra))
        try:
            session = load_session(model.SerializeToString(), spec, device=self._device, name=name)
        except SteadyframeError:
            return None  # an engine may refuse an output in the middle of what it fuses
        try:
            return session.run(dict(self._feeds))[name]
        finally:
            session.close()


def _inputs(name: str, maker: Mapping[str, onnx.NodeProto], order: list[str]) -> list[str]:
    """Tensors that can be measured and that a tensor is made of, looking through those that cannot."""
    found: list[str] = []
    waiting = list(maker[name].input)
    while waiting:
        one = waiting.pop(0)
        if one in order:
            found.append(one)
        elif one in maker:
            waiting += maker[one].input
    return found


def _relative(expected: NDArray[Any], found: NDArray[Any] | None) -> float:
    """Root mean square error over root mean square size; 0 where nothing was measured."""
    if found is None:
        return 0.0
    if found.shape != expected.shape:
        return float("inf")
    reference = expected.astype(np.float64)
    size = float(np.sqrt(np.square(reference).mean())) or 1.0
    return float(np.sqrt(np.square(found.astype(np.float64) - reference).mean())) / size
