"""Weights stored as float16 in a graph that computes in float32.

Owns packing (a float16 initializer, a `Cast`, and a `Mul` by a batch norm's scale, all of which an engine folds when
it loads the graph) and unpacking, which every change of precision starts with. Imports onnx, never torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SUFFIX, SCALE, PLAIN = "_float16", "_scale", "_float32"  # of an initializer, its scale, and what the cast gives
_LEAST_VALUES = 256  # smaller tensors are not worth a node
_LARGEST, _LEAST = 65504.0, 2.0**-10  # of a tensor's largest magnitude; smaller ones would lose digits


def pack_weights(model: onnx.ModelProto, scales: Mapping[str, NDArray[np.float32]] | None = None) -> None:
    """Store large float32 initializers as float16, in place; the graph computes with what they become, in float32.

    Parameters
    ----------
    scales : initializer -> (O,) factors of its first axis that folding a batch norm has multiplied it by; they are
        kept apart, so that weights which float16 held exactly before the folding still are
    """
    scales = scales or {}
    graph = model.graph
    casts, kept = [], []
    for tensor in graph.initializer:
        small = len(tensor.dims) < 2 or int(np.prod(tensor.dims)) < _LEAST_VALUES  # folding leaves no bias exact
        if tensor.data_type != TensorProto.FLOAT or small:
            kept.append(tensor)
            continue
        values = numpy_helper.to_array(tensor)
        scale = scales.get(tensor.name)
        if scale is not None and (scale == 0).any():
            scale = None
        if scale is not None:
            scale = scale.reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
            values = values / scale
        largest = float(np.abs(values).max())
        if not _LEAST <= largest <= _LARGEST:
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), tensor.name + SUFFIX))
        name, plain = tensor.name, tensor.name if scale is None else tensor.name + PLAIN
        casts.append(helper.make_node("Cast", [name + SUFFIX], [plain], name=f"unpack_{name}", to=TensorProto.FLOAT))
        if scale is not None:
            kept.append(numpy_helper.from_array(scale, name + SCALE))
            casts.append(helper.make_node("Mul", [plain, name + SCALE], [name], name=f"scale_{name}"))
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def unpack_weights(model: onnx.ModelProto) -> None:
    """Turn what `pack_weights` made into float32 initializers, in place; other graphs stay as they are."""
    graph = model.graph
    packed = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT16 and t.name.endswith(SUFFIX)}
    values: dict[str, NDArray[np.float32]] = {}  # plain ones, by the name that the graph computes with
    scales = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.name.endswith(SCALE)}
    nodes = []
    for node in graph.node:
        source = node.input[0] if node.input else ""
        if node.op_type == "Cast" and source in packed and node.name == f"unpack_{source.removesuffix(SUFFIX)}":
            values[node.output[0]] = numpy_helper.to_array(packed[source]).astype(np.float32)
        elif node.op_type == "Mul" and source in values and node.name == f"scale_{source.removesuffix(PLAIN)}":
            values[node.output[0]] = values.pop(source) * scales.pop(node.input[1])
        else:
            nodes.append(node)
    gone = set(packed) | {t.name for t in graph.initializer if t.name.endswith(SCALE)} - set(scales)
    kept = [tensor for tensor in graph.initializer if tensor.name not in gone]
    kept += [numpy_helper.from_array(value, name) for name, value in values.items()]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
