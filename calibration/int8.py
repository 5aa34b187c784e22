"""Symmetric int8 with explicit quantize and dequantize nodes.

Owns the calls of ONNX Runtime's quantizer and calibrators, with the only settings that ONNX Runtime, OpenVINO and
TensorRT all accept: int8 activations with zero point 0, int8 weights with one scale a channel, float biases. It
needs onnx, as that quantizer does.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import (
    CalibrationDataReader,
    CalibrationMethod,
    TensorData,
    TensorsData,
    create_calibrator,
)
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantType

from ..runtime.errors import CalibrationError
from .prepare import prepared

_WEIGHED = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # kinds whose constants are weights
KINDS = (*_WEIGHED, "Add", "Concat", "MaxPool", "Resize")
_METHODS: dict[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {"symmetric": True}),
    "percentile": (CalibrationMethod.Percentile, {"symmetric": True, "percentile": 99.99}),
    "entropy": (CalibrationMethod.Entropy, {"symmetric": True}),
}
_QUANTIZER = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "ForceQuantizeNoInputCheck": False,
}
Feeds = Mapping[str, NDArray[Any]]
Ranges = dict[str, tuple[float, float]]


def quantizable(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that int8 can change, in the order of the graph.

    These are products with weights, and what only hands values on from one product to the next. Not among them are

    - the last products and all behind them: what they give is the result itself, and its steps and its clipped ends
      would be seen. (OpenVINO, seen with 2026.4 on x86, also gives garbage for a matrix product there.)
    - what a logarithm reads: the steps of int8 are equal, and of small values nothing is left to take it of
    - a sum or a join with a constant: of constants, TensorRT takes only weights in int8
    """
    graph = prepared(model).graph
    constants = {initializer.name for initializer in graph.initializer}
    readers: dict[str, set[str]] = {}  # tensor -> kinds of node that it reaches, up to the next product
    names = []
    for node in reversed(graph.node):
        reached = set().union(*(readers.get(name, ()) for name in node.output))
        joins_constant = node.op_type in ("Add", "Concat") and not constants.isdisjoint(node.input)
        if node.op_type in KINDS and reached & set(_WEIGHED) and "Log" not in reached and not joins_constant:
            names.append(node.name)
        passed_on = {node.op_type} if node.op_type in _WEIGHED else {node.op_type} | reached
        for name in node.input:
            readers.setdefault(name, set()).update(passed_on)
    return names[::-1]


def collect_ranges(model: onnx.ModelProto, feeds: Iterable[Feeds], method: str) -> Ranges:
    """Run ONNX Runtime's calibrator over feeds, one at a time, so that memory does not grow with their number.

    Parameters
    ----------
    model : float32
    feeds : of real frames
    method : ``minmax``, ``percentile`` (99.99 % of the values) or ``entropy``

    Raises
    ------
    CalibrationError
        If there are no feeds.
    """
    kind, options = _METHODS[method]
    runs = 0
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder, "model.onnx")
        onnx.save(prepared(model), path)
        augmented = str(Path(folder, "augmented.onnx"))
        calibrator = create_calibrator(path, list(KINDS), augmented, kind, extra_options=options)
        for one in feeds:
            calibrator.collect_data(_OneRun(one))
            runs += 1
        if runs == 0:
            raise CalibrationError("No range can be measured without feeds", expected="at least one frame")
        found = calibrator.compute_data()
    return {name: _ends(data.range_value) for name, data in found.items()}


def to_int8(model: onnx.ModelProto, ranges: Ranges, *, keep: Collection[str] = ()) -> onnx.ModelProto:
    """Insert quantize and dequantize nodes; inputs and outputs of the graph stay as they are.

    Parameters
    ----------
    model : float32
    ranges : as `collect_ranges` gives them
    keep : names of nodes that stay in float32

    Raises
    ------
    CalibrationError
        If nothing would be left to quantize.
    """
    ready = prepared(model)
    changed = [name for name in quantizable(ready) if name not in set(keep)]
    if not changed:
        raise CalibrationError("No node is left that int8 could change", expected=" or ".join(KINDS))
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    # Processors with AVX2 alone add pairs of products in 16 bits, which overflows with weights of 8 bits; those of 7
    # bits (reduce_range) give the same result on every processor.
    per_channel, reduce_range = True, True
    with _quiet():
        quantizer = QDQQuantizer(
            onnx.shape_inference.infer_shapes(ready), per_channel, reduce_range, QuantType.QInt8, QuantType.QInt8,
            TensorsData(CalibrationMethod.MinMax, data), changed, [], list(KINDS), dict(_QUANTIZER),
        )  # fmt: skip
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    del result.graph.value_info[:]
    _check_form(result)
    onnx.checker.check_model(result, full_check=True)
    return result


def _check_form(model: onnx.ModelProto) -> None:
    """Refuse what another engine would not take: zero points other than 0, and constants that are no weights."""
    weights = {i.name: i for i in model.graph.initializer}
    constants = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in weights}
    for node in model.graph.node:
        if node.op_type not in _WEIGHED and not constants.isdisjoint(node.input):
            raise CalibrationError(
                f"Node {node.name} reads a constant in int8", expected=" or ".join(_WEIGHED), found=node.op_type
            )
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        zero = onnx.numpy_helper.to_array(weights[node.input[2]])
        if zero.dtype != np.int8 or zero.any():
            raise CalibrationError(f"Node {node.name} is not symmetric int8", expected="zero point 0", found=zero)


def _ends(values: Any) -> tuple[float, float]:
    """Least and greatest value, which the calibrators give as arrays of one number."""
    low, high = (float(np.asarray(value).item()) for value in values)
    return low, high


class _OneRun(CalibrationDataReader):
    """The feeds of one run, in the form that ONNX Runtime's calibrators read."""

    def __init__(self, feeds: Feeds) -> None:
        self._left = [dict(feeds)]

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Give the feeds, then nothing."""
        return self._left.pop() if self._left else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantizer, which advises at length on the root logger and prints to the standard output."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
