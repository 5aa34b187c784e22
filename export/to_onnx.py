"""From a PyTorch module to one clean ONNX file.

Owns the call of the exporter, the folding of batch norm, and what is checked and stripped afterwards. Knows nothing
of tasks and bundles.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ..calibration.half_weights import pack_weights
from ..runtime.errors import BundleError
from .adapt import plain_cause

OPSET = 18
_RANDOM_OPS = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    "Dropout",
}
_MAX_BYTES = 2_000_000_000  # a single ONNX file cannot be larger


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSource:
    """A module, and how it becomes a graph.

    Parameters
    ----------
    module : in eval mode; takes tensors, gives a tensor or a tuple of them
    example : input name -> tensor, in the order of the module's arguments
    outputs : names of the outputs
    dynamic : input name -> {axis: (axis name, multiple)}; axes of the same name are equal
    prove : looks at the graph before it is used, and raises if it does not hold
    scales : weight -> (O,) factors that folding has already multiplied its first axis by; see `pack_weights`
    """

    module: nn.Module
    example: Mapping[str, Tensor]
    outputs: Sequence[str]
    dynamic: Mapping[str, Mapping[int, tuple[str, int]]] = field(default_factory=dict)
    prove: Callable[[onnx.ModelProto], None] | None = None
    scales: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class FrameToTensor(nn.Module):
    """First nodes of every graph: (B, H, W, 3) uint8 BGR to (B, 3, H, W) float32 BGR in [0, 1].

    The cast comes first, because TensorRT takes 8-bit values at the border of a graph only.
    """

    def forward(self, frame: Tensor) -> Tensor:
        """Convert (B, H, W, 3) uint8 to (B, 3, H, W) float32 in [0, 1]; a mask of one channel likewise."""
        values = frame.to(torch.float32)
        if frame.shape[-1] == 1:  # the same without a transpose, behind which ONNX Runtime multiplies 20 times slower
            return values.squeeze(-1).unsqueeze(1) * (1 / 255)
        return values.permute(0, 3, 1, 2) * (1 / 255)


def export_onnx(source: GraphSource, *, half_weights: bool = False) -> onnx.ModelProto:
    """Export a module in eval mode as a checked, self-contained ONNX model.

    Batch norms are folded into the convolution or linear map before them; the exporter's stack traces, which name
    files of the exporting machine, are stripped. With `half_weights` the weights are stored as float16;
    all arithmetic stays in float32.

    Raises
    ------
    BundleError
        If the module cannot be exported, a random node remains, or the model is too large for one file.
    """
    module = copy.deepcopy(source.module).eval()
    scales = {**fold_scales(module), **source.scales}
    fold_batch_norm(module)
    dims: dict[str, Any] = {}
    shapes: dict[str, dict[int, Any] | None] = {}
    for name in source.example:
        axes = source.dynamic.get(name)
        shapes[name] = None if not axes else {axis: _dim(dims, *spec) for axis, spec in axes.items()}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module, tuple(source.example.values()), dynamo=True, opset_version=OPSET, verbose=False,
                input_names=list(source.example), output_names=list(source.outputs),
                dynamic_shapes=tuple(shapes.values()) if dims else None, optimize=True,
            )  # fmt: skip
    except Exception as error:  # torch raises many types here; the last cause says which operation it is
        raise BundleError(f"The network cannot be exported ({plain_cause(error)})") from error
    assert program is not None
    model = program.model_proto
    _name_axes(model, source)
    strip(model)
    if half_weights:
        pack_weights(model, scales)
    check(model)
    if source.prove is not None:
        source.prove(model)
    return model


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold batch norms into the layer before them, in place, where both are in one `Sequential`."""
    module.eval()
    for parent in module.modules():
        if not isinstance(parent, nn.Sequential):
            continue
        for i in range(len(parent) - 1):
            first, second = parent[i], parent[i + 1]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                parent[i], parent[i + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
            elif isinstance(first, nn.Linear) and isinstance(second, nn.BatchNorm1d):
                parent[i], parent[i + 1] = fuse_linear_bn_eval(first, second), nn.Identity()
    return module


def fold_scales(module: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Compute by what `fold_batch_norm` multiplies each weight's first axis: (C,) float32 by the weight's name."""
    scales = {}
    for path, parent in module.named_modules():
        if not isinstance(parent, nn.Sequential):
            continue
        for i in range(len(parent) - 1):
            first, second = parent[i], parent[i + 1]
            pairs = ((nn.Conv2d, nn.BatchNorm2d), (nn.Linear, nn.BatchNorm1d))
            if any(isinstance(first, a) and isinstance(second, b) for a, b in pairs):
                assert isinstance(second, nn.BatchNorm1d | nn.BatchNorm2d) and second.running_var is not None
                scale = torch.rsqrt(second.running_var + second.eps)
                if second.weight is not None:
                    scale = scale * second.weight
                scales[f"{path}.{i}.weight".lstrip(".")] = scale.detach().cpu().numpy()
    return scales


def strip(model: onnx.ModelProto) -> None:
    """Remove everything that speaks of the machine that exported: traces, doc strings, producer's paths."""
    graphs = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
            graphs += [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
        if isinstance(graph, onnx.GraphProto):
            for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
                value.doc_string = ""
                del value.metadata_props[:]
    model.doc_string = ""
    del model.metadata_props[:]
    model.graph.name = "steadyframe"


def check(model: onnx.ModelProto) -> None:
    """Check a model: valid ONNX, deterministic, one file.

    Raises
    ------
    BundleError
        If one of these does not hold.
    """
    random_nodes = sorted({node.op_type for node in model.graph.node} & _RANDOM_OPS)
    if random_nodes:
        raise BundleError(
            "The graph is not deterministic", found=f"nodes {random_nodes}", todo="Export the network in eval mode"
        )
    if model.ByteSize() > _MAX_BYTES:
        raise BundleError("The graph is too large for one file", expected=f"at most {_MAX_BYTES} bytes")
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # checker and shape inference have separate trees
        raise BundleError(f"The exported graph is not valid ONNX ({str(error)[:500]})") from error


def _dim(dims: dict[str, Any], name: str, multiple: int) -> Any:
    """Give the symbolic dimension of a name; a multiple becomes a factor on a smaller one."""
    if name not in dims:
        smallest = torch.export.Dim(f"{name}_by_{multiple}" if multiple > 1 else name, min=1, max=2048)
        dims[name] = multiple * smallest if multiple > 1 else smallest
    return dims[name]


def _name_axes(model: onnx.ModelProto, source: GraphSource) -> None:
    """Give dynamic axes readable names in place of the exporter's expressions."""
    for value in model.graph.input:
        for axis, (name, _) in source.dynamic.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    for value in model.graph.output:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param:
                dim.dim_param = f"{value.name}_{axis}"
    del model.graph.value_info[:]  # inner shapes still speak in the exporter's expressions
