"""The form of a graph that every change of precision starts from.

Owns no decision: every node has a name, constants and weights are initializers in their own type, functions are
inlined. Imports onnx only.
"""

from __future__ import annotations

import onnx
import onnx.inliner

from .half_weights import unpack_weights


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model into that form; results and existing names stay the same."""
    copy = onnx.inliner.inline_local_functions(model) if model.functions else onnx.ModelProto.FromString(
        model.SerializeToString()
    )  # fmt: skip
    unpack_weights(copy)
    nodes = []
    for position, node in enumerate(copy.graph.node):
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            value.name = node.output[0]
            copy.graph.initializer.append(value)
            continue
        node.name = node.name or f"node_{position}"
        nodes.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
