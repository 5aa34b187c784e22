"""A small but real bundle, and real clips, for the tests of the runtime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def _global_graph() -> onnx.ModelProto:
    """frame (1, 224, 224, 3) uint8 -> global_features (1, 3): the mean colour, 0..1."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["global_features"]),
    ]
    weights = [
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        numpy_helper.from_array(np.array(255.0, np.float32), "white"),
    ]
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 224, 224, 3])
    features = helper.make_tensor_value_info("global_features", TensorProto.FLOAT, [1, 3])
    return _model(helper.make_graph(nodes, "global", [frame], [features], weights))


def _color_graph() -> onnx.ModelProto:
    """frame (1, h, w, 3) uint8, global_features (1, 3) -> ab (1, h/2, w/2, 2): colour differences, halved."""
    # a* from red minus green, b* from the mean of red and green minus blue; BGR in.
    kernel = np.array([[0.0, -0.3, 0.3], [-0.3, 0.15, 0.15]], np.float32).reshape(2, 3, 1, 1)
    nodes = [
        helper.make_node("Cast", ["frame"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["half", "kernel"], ["ab_planes"]),
        helper.make_node("Transpose", ["ab_planes"], ["flat"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceSum", ["global_features"], ["mood"], keepdims=0),
        helper.make_node("Add", ["flat", "mood"], ["ab"]),
    ]
    weights = [numpy_helper.from_array(kernel, "kernel")]
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, "height", "width", 3])
    features = helper.make_tensor_value_info("global_features", TensorProto.FLOAT, [1, 3])
    ab = helper.make_tensor_value_info("ab", TensorProto.FLOAT, [1, "half_height", "half_width", 2])
    return _model(helper.make_graph(nodes, "color", [frame, features], [ab], weights))


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def _spec(name: str, dtype: str, axes: list[Any], layout: str = "") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "axes": axes, "layout": layout}


def tiny_manifest(contents: dict[str, bytes]) -> dict[str, Any]:
    """A manifest that is right in every field, for a colorize bundle of two tiny graphs."""
    files = {
        role: {"fp32": {"file": f"{role}.onnx", "sha256": hashlib.sha256(contents[f"{role}.onnx"]).hexdigest()}}
        for role in ("global", "color")
    }
    features = _spec("global_features", "float32", [1, 3])
    return {
        "schema": 1,
        "name": "tiny",
        "task": "colorize",
        "version": "1",
        "licence": "CC0-1.0",
        "graphs": {
            "global": {
                "files": files["global"],
                "inputs": [_spec("frame", "uint8", [1, 224, 224, 3], "NHWC")],
                "outputs": [features],
                "preprocess": {"kernel": "area", "size_hw": [224, 224]},
            },
            "color": {
                "files": files["color"],
                "inputs": [_spec("frame", "uint8", [1, "height", "width", 3], "NHWC"), features],
                "outputs": [_spec("ab", "float32", [1, "half_height", "half_width", 2], "NHWC")],
                "preprocess": {"kernel": "area", "short_side": 96, "multiple": 8},
            },
        },
        "settings": {"global_every": 10},
        "provenance": {"commit": "none", "data": "none: weights by hand"},
    }


@pytest.fixture(scope="session")
def tiny_graphs() -> dict[str, bytes]:
    """Two real ONNX graphs, by file name."""
    return {
        "global.onnx": _global_graph().SerializeToString(),
        "color.onnx": _color_graph().SerializeToString(),
    }


@pytest.fixture
def make_manifest(tiny_graphs: dict[str, bytes]) -> Callable[[], dict[str, Any]]:
    """Make the manifest of the tiny bundle, as parsed JSON."""
    return lambda: tiny_manifest(tiny_graphs)


@pytest.fixture
def make_bundle(tiny_graphs: dict[str, bytes], tmp_path: Path) -> Callable[..., Path]:
    """Write the tiny bundle, after an edit of its manifest."""

    def make(edit: Callable[[dict[str, Any]], Any] = lambda manifest: None, name: str = "tiny") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, content in tiny_graphs.items():
            (folder / file).write_bytes(content)
        manifest = tiny_manifest(tiny_graphs)
        edit(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def tiny_bundle(make_bundle: Callable[..., Path]) -> Path:
    """Folder of the tiny bundle."""
    return make_bundle()
