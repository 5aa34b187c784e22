"""What values flow through a graph when real frames do.

Owns the run of a graph with all its inner tensors as outputs. Imports onnx and ONNX Runtime, never torch. One run is
in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto

from ..runtime.errors import CalibrationError

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True, slots=True)
class Range:
    """Least and greatest finite value of a tensor, and whether all of them were finite."""

    low: float
    high: float
    finite: bool = True

    def __or__(self, other: Range) -> Range:
        """Range of both."""
        return Range(min(self.low, other.low), max(self.high, other.high), self.finite and other.finite)


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all float tensors that flow (weights do not), as shape inference sees them."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    weights = {initializer.name for initializer in graph.initializer}
    return {v.name for v in values if v.type.tensor_type.elem_type in _FLOATS} - weights


def watched(model: onnx.ModelProto) -> ort.InferenceSession:
    """Open a graph with every inner float tensor as an output, computed as it is written: nothing is fused."""
    copy = onnx.shape_inference.infer_shapes(model)
    there = {value.name for value in copy.graph.output}
    inner = [v for v in copy.graph.value_info if v.type.tensor_type.elem_type in _FLOATS and v.name not in there]
    copy.graph.output.extend(inner)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])


def scan(model: onnx.ModelProto, feeds: Iterable[Mapping[str, NDArray[Any]]]) -> dict[str, Range]:
    """Measure the range of every float tensor of a graph over feeds, named arrays in the shapes of its inputs.

    Raises
    ------
    CalibrationError
        If there are no feeds.
    """
    session = watched(model)
    names = [output.name for output in session.get_outputs()]
    ranges: dict[str, Range] = {}
    runs = 0
    for one in feeds:
        runs += 1
        outputs = zip(names, session.run(names, dict(one)), strict=True)
        for name, value in (*outputs, *one.items()):
            if value.size and value.dtype.kind == "f":
                found = _range_of(value)
                ranges[name] = ranges[name] | found if name in ranges else found
    if runs == 0:
        raise CalibrationError("No range can be measured without feeds", expected="at least one frame")
    return ranges


def refuse_not_finite(ranges: Mapping[str, Range], what: str) -> None:
    """Refuse a graph in which NaN or infinity appeared; the text names the tensors, in the order of the graph.

    Raises
    ------
    CalibrationError
        If any tensor was not finite.
    """
    wrong = [name for name, found in ranges.items() if not found.finite]
    if wrong:
        raise CalibrationError(
            f"{what} gives NaN or infinity", expected="finite values", found="tensors " + ", ".join(wrong[:5])
        )


def _range_of(value: NDArray[Any]) -> Range:
    """Range of one array; where nothing is finite, (0, 0)."""
    low, high = float(value.min()), float(value.max())
    if np.isfinite(low) and np.isfinite(high):
        return Range(low, high)
    good = value[np.isfinite(value)]
    return Range(float(good.min()), float(good.max()), False) if good.size else Range(0.0, 0.0, False)
