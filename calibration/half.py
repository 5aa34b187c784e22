"""Mixed precision: a graph whose safe nodes compute in float16 and whose others stay in float32.

Owns the choice of nodes by kind and by measured range, and the casts between them. Imports onnx, never torch.

Why not a library: onnxconverter-common cuts large weights down to 10,000 and raises small ones to 1e-7 without
saying so, and decides by lists of kinds alone; ModelOpt's AutoCast brings PyTorch along. What is needed is small, and
must go by what real frames showed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .activation_ranges import Range, float_tensors
from .prepare import prepared

# Kinds whose float16 result is as good as its inputs. Norms, sums over many values, exponentials, logarithms,
# roots, quotients and comparisons are not here, and what is not here stays in float32.
HALF_KINDS = frozenset({
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "LeakyRelu", "PRelu", "Elu", "Sigmoid", "HardSigmoid"),
    *("HardSwish", "Tanh", "Add", "Sub", "Mul", "Clip", "Min", "Max", "Neg", "Abs", "MaxPool", "AveragePool"),
    *("Resize", "Cast"),
})  # fmt: skip
# Kinds that only move values: they stay in whatever their values come in.
MOVING_KINDS = frozenset({
    *("Concat", "Split", "Slice", "Gather", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand"),
    *("Tile", "Pad", "Identity", "DepthToSpace", "SpaceToDepth"),
})  # fmt: skip
# Inputs that the standard wants in float32 whatever the data are: roi and scales of Resize.
_ALWAYS_FLOAT = {"Resize": (1, 2)}
LARGEST = 65504 / 8  # float16's largest number, with room for frames that were not measured
LEAST = 2.0**-14  # 6.1e-5; below it float16 loses digits, and a constant that keeps a quotient finite becomes 0


def to_half(
    model: onnx.ModelProto, ranges: Mapping[str, Range], *, keep: Collection[str] = ()
) -> tuple[onnx.ModelProto, list[str]]:
    """Convert a float32 graph to mixed precision; its inputs and outputs stay as they are.

    Parameters
    ----------
    model : checked, float32
    ranges : tensor -> what real frames showed; a tensor without a range is taken as too large
    keep : names of nodes that must stay in float32

    Returns
    -------
    the new model, and the names of the nodes that compute in float32 though their kind would allow float16

    References
    ----------
    Ours; the idea of lists of kinds is that of Micikevicius et al. 2018, section 3.
    """
    model = onnx.shape_inference.infer_shapes(prepared(model), data_prop=True)
    floats = float_tensors(model) | {i.name for i in model.graph.initializer if i.data_type == TensorProto.FLOAT}
    weights = {i.name: i for i in model.graph.initializer}
    half_nodes, kept = _choose(model, floats, weights, ranges, frozenset(keep))
    _rewrite(model.graph, floats, weights, half_nodes)
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model, kept


def half_candidates(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that may compute in float16, by their kind."""
    return [node.name for node in model.graph.node if node.op_type in HALF_KINDS]


def _choose(
    model: onnx.ModelProto, floats: set[str], weights: Mapping[str, TensorProto],
    ranges: Mapping[str, Range], keep: frozenset[str],
) -> tuple[set[int], list[str]]:  # fmt: skip
    """Positions of the nodes that compute in float16, and names of those kept for their range or by wish."""
    captured = _captured(model.graph)
    chosen: set[int] = set()
    half_values: set[str] = set()
    kept = []
    for position, node in enumerate(model.graph.node):
        mine = [name for name in (*node.input, *node.output) if name in floats]
        if not mine or captured & set(node.output):
            continue
        if node.op_type in MOVING_KINDS:
            wanted = any(name in half_values for name in node.input)
        elif node.op_type in HALF_KINDS and any(name in floats for name in node.output):
            wanted = node.name not in keep and all(_fits(name, weights, ranges) for name in mine)
            if not wanted:
                kept.append(node.name)
        else:
            wanted = False
        if wanted:
            chosen.add(position)
            half_values.update(name for name in node.output if name in floats)
    return chosen, kept


def _fits(name: str, weights: Mapping[str, TensorProto], ranges: Mapping[str, Range]) -> bool:
    """Whether a tensor's values are far from the ends of float16."""
    if name in weights:
        values = np.abs(numpy_helper.to_array(weights[name]))
        largest = float(values.max()) if values.size else 0.0
        return largest == 0 or LEAST <= largest <= LARGEST
    return name in ranges and ranges[name].finite and max(-ranges[name].low, ranges[name].high) <= LARGEST


def _rewrite(graph: onnx.GraphProto, floats: set[str], weights: Mapping[str, TensorProto], chosen: set[int]) -> None:
    """Make the chosen nodes read and give float16, with a cast wherever the two kinds meet."""
    nodes: list[onnx.NodeProto] = []
    made: dict[str, str] = {}  # value -> its twin of the other type
    half_values: set[str] = set()
    outputs = {value.name for value in graph.output}

    def twin(name: str, kind: int) -> str:
        """Name of a value in the type wanted, cast once however many read it."""
        if (name in half_values) == (kind == TensorProto.FLOAT16):
            return name
        if name not in made:
            made[name] = f"{name}_{'half' if kind == TensorProto.FLOAT16 else 'float'}"
            if name in weights:
                array = numpy_helper.to_array(weights[name]).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(array, made[name]))
            else:
                nodes.append(helper.make_node("Cast", [name], [made[name]], name=f"cast_{made[name]}", to=kind))
        return made[name]

    for position, node in enumerate(graph.node):
        half = position in chosen
        kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        for place, name in enumerate(node.input):
            if name in floats and node.op_type != "Cast":
                fixed = place in _ALWAYS_FLOAT.get(node.op_type, ())
                node.input[place] = twin(name, TensorProto.FLOAT if fixed else kind)
        nodes.append(node)
        if not half:
            continue
        if node.op_type == "Cast":
            next(a for a in node.attribute if a.name == "to").i = TensorProto.FLOAT16
        for place, name in enumerate(node.output):
            if name in outputs:  # the graph's outputs keep name and type
                node.output[place] = f"{name}_half"
                nodes.append(
                    helper.make_node("Cast", [f"{name}_half"], [name], name=f"cast_{name}", to=TensorProto.FLOAT)
                )
                made[name] = f"{name}_half"  # others in the graph read it as it was made
            elif name in floats:
                half_values.add(name)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove float32 weights whose float16 twins took their place."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    used |= _captured(graph)
    left = [initializer for initializer in graph.initializer if initializer.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)


def _captured(graph: onnx.GraphProto) -> set[str]:
    """Names that inner graphs (of If, Loop, Scan) read; their types must not change."""
    names: set[str] = set()
    inner = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    while inner:
        one = inner.pop()
        for node in one.node:
            names.update(node.input)
            inner += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        names.update(value.name for value in one.output)
    return names
