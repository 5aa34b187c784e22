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
    the node, or None where every output of the graph is good: then the difference is before or after the graph,
    or between the trained network and the written graph
    """
    model = prepared(onnx.load_from_string(bundle.graph_bytes(role, "fp32")))
    suspect = _Suspect(bundle, role, device, precision, feeds)
    search = _Search(model, feeds, suspect, LIMITS[precision] if limit is None else limit)
    name = search.first_bad()
    if name is None:
        return None
    node = search.maker[name]
    before = max((search.error(source) for source in search.sources(name)), default=0.0)
    return Divergence(role, node.name, node.op_type, name, search.error(name), before, search.limit)


class _Search:
    """The written graph, the values that should flow in it, and the errors that were measured so far.

    Attributes
    ----------
    maker : tensor -> the node that makes it
    limit : relative error above which a tensor is bad
    """

    def __init__(self, model: onnx.ModelProto, feeds: Arrays, suspect: _Suspect, limit: float) -> None:
        session = watched(model)
        names = [output.name for output in session.get_outputs()]
        self._truth = dict(zip(names, session.run(names, dict(feeds)), strict=True))
        self._suspect = suspect
        self._errors: dict[str, float] = {}
        self._outputs = [output.name for output in model.graph.output]
        self.limit = limit
        self.maker = {name: node for node in model.graph.node for name in node.output}
        self._order = [name for name in self.maker if self._comparable(name)]

    def error(self, name: str) -> float:
        """Measure how far a tensor is from what it should be, once."""
        if name not in self._errors:
            self._errors[name] = _relative(self._truth[name], self._suspect.value(name))
        return self._errors[name]

    def first_bad(self) -> str | None:
        """Find the first bad tensor whose sources are good; None where every output of the graph is good."""
        name = next((one for one in self._outputs if one in self._order and self._is_bad(one)), None)
        if name is None:
            return None
        low, high = -1, self._order.index(name)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._is_bad(self._order[middle]) else (middle, high)
        name = self._order[high]
        while bad := [source for source in self.sources(name) if self._is_bad(source)]:
            name = bad[0]
        return name

    def sources(self, name: str) -> list[str]:
        """Tensors that can be measured and that a tensor is made of, looking through those that cannot."""
        found: list[str] = []
        waiting = list(self.maker[name].input)
        while waiting:
            one = waiting.pop(0)
            if one in self._order:
                found.append(one)
            elif one in self.maker:
                waiting += self.maker[one].input
        return found

    def _comparable(self, name: str) -> bool:
        return name in self._truth and self._truth[name].dtype.kind == "f" and name in self._suspect.types

    def _is_bad(self, name: str) -> bool:
        return not self.error(name) <= self.limit  # NaN is bad


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


def _relative(expected: NDArray[Any], found: NDArray[Any] | None) -> float:
    """Root mean square error over root mean square size; 0 where nothing was measured."""
    if found is None:
        return 0.0
    if found.shape != expected.shape:
        return float("inf")
    reference = expected.astype(np.float64)
    size = float(np.sqrt(np.square(reference).mean())) or 1.0
    return float(np.sqrt(np.square(found.astype(np.float64) - reference).mean())) / size
