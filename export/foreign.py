"""Somebody else's ONNX file as a bundle: what it wants to see is told, and goes into the graph.

Owns `ForeignNetwork` and `export_foreign`. Knows no torch module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..runtime.bundle.bundle import Bundle
from ..runtime.bundle.manifest import Preprocess
from ..runtime.errors import BundleError, UsageError
from ..runtime.tasks.custom import IMAGE, ROLE
from .adapt import plain_cause
from .bundle import BundleFacts, write_models
from .graphs import TaskGraphs
from .to_onnx import OPSET, check, strip

_FLOATS = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.UINT8: "uint8"}
_PREFIX = "steadyframe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignNetwork:
    """What an ONNX file wants to see and gives.

    Parameters
    ----------
    layout : ``nchw`` or ``nhwc``; empty where the shape of its input says it
    rgb : its color order is RGB, not BGR
    mean, std : of each channel in its order; it sees (pixels / 255 - mean) / std
    image : name of the output that is an image, empty if there is none
    image_range : value of white in that output, 1 or 255
    short_side, multiple : of the frame it sees, where its input takes any size
    """

    layout: str = ""
    rgb: bool = True
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    image: str = ""
    image_range: float = 1.0
    short_side: int = 256
    multiple: int = 32

    def __post_init__(self) -> None:
        if self.layout not in ("", "nchw", "nhwc"):
            raise UsageError("There is no such layout", found=self.layout, available=("nchw", "nhwc"))
        if not all(self.std) or self.image_range <= 0:
            raise UsageError("std and image_range divide: they cannot be 0", found=(self.std, self.image_range))


def export_foreign(path: Path, network: ForeignNetwork, folder: Path, facts: BundleFacts) -> Bundle:
    """Make a bundle of an ONNX file, which then runs, is calibrated and compared like ours.

    Raises
    ------
    BundleError
        If the file is no ONNX, cannot be brought to today's opset, or is no network of one image.
    UsageError
        If the description does not fit the file.
    """
    model = _loaded(path)
    given = _only_input(model)
    layout, sides = _layout_and_sides(given, network)
    _prepend(model, given, layout, network, sides)
    if network.image:
        _append_image(model, layout, network)
    strip(model)
    try:
        model = onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # onnx's own errors have no common parent
        raise BundleError(f"{path} does not hold together ({plain_cause(error)})") from error
    check(model)
    height, width = sides
    if isinstance(height, int) and isinstance(width, int):
        preprocess = Preprocess("area", size_hw=(height, width))
    else:
        preprocess = Preprocess("area", short_side=network.short_side, multiple=network.multiple)
    parts = TaskGraphs(graphs={}, preprocess={ROLE: preprocess}, layouts={"frame": "NHWC", IMAGE: "NHWC"})
    return write_models(
        {ROLE: model}, parts, "custom", {"network": path.name, "onnx": onnx.__version__}, folder, facts
    )


def _loaded(path: Path) -> onnx.ModelProto:
    """Read a file and bring it to the opset of our graphs where it is older."""
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, checker and the file system raise unrelated types
        raise BundleError(f"{path} cannot be read as ONNX ({plain_cause(error)})") from error
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), OPSET)
    if opset >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # a C++ exception of any kind
        raise BundleError(
            f"{path} is of opset {opset} and cannot be brought to {OPSET} ({plain_cause(error)})",
            todo="Export it anew from where it was trained",
        ) from error


def _only_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    stored = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in stored]
    shapes = {one.name: _axes(one) for one in inputs}
    if len(inputs) != 1 or len(_axes(inputs[0])) != 4:
        raise BundleError("The network does not take one image", expected="one input of rank 4", found=shapes)
    if inputs[0].type.tensor_type.elem_type not in _FLOATS:
        raise BundleError("The network's input is of a kind that no image has", expected=sorted(_FLOATS.values()))
    return inputs[0]


def _axes(value: onnx.ValueInfoProto) -> tuple[Any, ...]:
    return tuple(one.dim_value or one.dim_param or "?" for one in value.type.tensor_type.shape.dim)


def _layout_and_sides(given: onnx.ValueInfoProto, network: ForeignNetwork) -> tuple[str, tuple[Any, Any]]:
    """Find where the channels are, and the fixed height and width, or names for free ones."""
    axes = _axes(given)
    layout = network.layout or ("nchw" if axes[1] == 3 else "nhwc" if axes[3] == 3 else "")
    if not layout:
        raise UsageError(
            "The shape of the input does not say where its channels are", expected="--layout nchw or nhwc", found=axes
        )
    channels, height, width = (axes[1], axes[2], axes[3]) if layout == "nchw" else (axes[3], axes[1], axes[2])
    if isinstance(channels, int) and channels != 3:
        raise UsageError("The network does not take color images", expected="3 channels", found=axes)
    fixed = isinstance(height, int) and isinstance(width, int)
    return layout, (height, width) if fixed else ("height", "width")


def _prepend(
    model: onnx.ModelProto, given: onnx.ValueInfoProto, layout: str, network: ForeignNetwork, sides: tuple[Any, Any]
) -> None:
    """Put the way from `frame`, (1, H, W, 3) uint8 BGR, to what the network wants before its first node."""
    graph, kind = model.graph, given.type.tensor_type.elem_type
    scale = 1 / (255 * np.array(network.std, np.float64))
    shift = -np.array(network.mean, np.float64) / np.array(network.std, np.float64)
    names = iter(f"{_PREFIX}_in_{number}" for number in range(9))
    nodes, last = [helper.make_node("Cast", ["frame"], [first := next(names)], to=TensorProto.FLOAT)], first
    if network.rgb:
        graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), f"{_PREFIX}_order"))
        nodes.append(helper.make_node("Gather", [last, f"{_PREFIX}_order"], [last := next(names)], axis=3))
    plain = kind == TensorProto.UINT8
    if not plain:
        for name, value in (("scale", scale), ("shift", shift)):
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), f"{_PREFIX}_{name}"))
        nodes.append(helper.make_node("Mul", [last, f"{_PREFIX}_scale"], [last := next(names)]))
        nodes.append(helper.make_node("Add", [last, f"{_PREFIX}_shift"], [last := next(names)]))
    if layout == "nchw":
        nodes.append(helper.make_node("Transpose", [last], [last := next(names)], perm=[0, 3, 1, 2]))
    nodes.append(helper.make_node("Cast", [last], [given.name], to=kind))
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    graph.input.remove(given)
    graph.input.append(helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, *sides, 3]))


def _append_image(model: onnx.ModelProto, layout: str, network: ForeignNetwork) -> None:
    """Make the output that is an image the only one: `image`, (1, h, w, 3) uint8 BGR."""
    graph = model.graph
    outputs = {one.name: one for one in graph.output}
    if network.image not in outputs:
        raise UsageError("The network has no such output", found=network.image, available=sorted(outputs))
    last = network.image
    if last == IMAGE:  # the name is ours from here on
        last = f"{_PREFIX}_{IMAGE}"
        for node in graph.node:
            node.output[:] = [last if name == IMAGE else name for name in node.output]
            node.input[:] = [last if name == IMAGE else name for name in node.input]
    factor = np.array(255 / network.image_range, np.float32)
    constants = {"factor": factor, "half": np.array(0.5, np.float32), "black": np.array(0, np.float32),
                 "white": np.array(255, np.float32), "back": np.array([2, 1, 0], np.int64)}  # fmt: skip
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value, f"{_PREFIX}_{name}"))
    names = iter(f"{_PREFIX}_out_{number}" for number in range(9))
    add = graph.node.append
    add(helper.make_node("Cast", [last], [last := next(names)], to=TensorProto.FLOAT))
    if layout == "nchw":
        add(helper.make_node("Transpose", [last], [last := next(names)], perm=[0, 2, 3, 1]))
    add(helper.make_node("Mul", [last, f"{_PREFIX}_factor"], [last := next(names)]))
    add(helper.make_node("Clip", [last, f"{_PREFIX}_black", f"{_PREFIX}_white"], [last := next(names)]))
    add(helper.make_node("Add", [last, f"{_PREFIX}_half"], [last := next(names)]))
    if network.rgb:
        add(helper.make_node("Gather", [last, f"{_PREFIX}_back"], [last := next(names)], axis=3))
    add(helper.make_node("Cast", [last], [IMAGE], to=TensorProto.UINT8))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, [1, "rows", "columns", 3]))
