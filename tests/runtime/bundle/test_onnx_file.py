"""Graphs that point at other files are refused by every engine, before it sees them."""

from __future__ import annotations

import importlib.util

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from steadyframe.runtime.bundle.bundle import Bundle, shipped_bundles
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, TensorSpec
from steadyframe.runtime.bundle.onnx_file import require_self_contained
from steadyframe.runtime.engines.probe import probe_graph
from steadyframe.runtime.engines.registry import load_session
from steadyframe.runtime.engines.shape_range import shape_ranges_of
from steadyframe.runtime.engines.tensorrt.plan import build_plan
from steadyframe.runtime.errors import BundleError

FOUR = (4,)
SPEC = Graph(
    {"fp32": GraphFile("x.onnx", "0" * 64)}, (TensorSpec("x", "float32", FOUR),), (TensorSpec("y", "float32", FOUR),)
)
VALUES = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")


def outside(location: str) -> TensorProto:
    """A tensor whose values lie in a file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=FOUR, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model(nodes, initializers=(), functions=()) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, FOUR) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, functions=functions)
    return made.SerializeToString()


def add(tensor: TensorProto) -> bytes:
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])


def in_constant(tensor: TensorProto) -> bytes:
    return model([helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("Add", ["x", "w"], ["y"])])


def in_branch(tensor: TensorProto) -> bytes:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, FOUR)
    branch = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "branch", [], [y], [tensor])
    always = numpy_helper.from_array(np.array(True), "always")
    return model([helper.make_node("If", ["always"], ["y"], then_branch=branch, else_branch=branch)], [always])


def in_function(tensor: TensorProto) -> bytes:
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("Add", ["a", "w"], ["b"])]
    function = helper.make_function("own", "Shift", ["a"], ["b"], nodes, [helper.make_opsetid("", 18)])
    return model([helper.make_node("Shift", ["x"], ["y"], domain="own")], functions=[function])


PLACES = [add, in_constant, in_branch, in_function]


@pytest.mark.parametrize("place", PLACES)
def test_values_in_the_graph_are_fine_and_in_a_file_are_not(place):
    require_self_contained(place(VALUES), "no")
    with pytest.raises(BundleError, match=r"no \(one of its tensors is in another file\)"):
        require_self_contained(place(outside("w.bin")), "no")


def test_saying_that_the_values_are_inside_is_fine():
    tensor = TensorProto()
    tensor.CopyFrom(VALUES)
    content = add(tensor)
    location = helper.make_tensor("w", TensorProto.FLOAT, FOUR, [0, 1, 2, 3])
    location.data_location = TensorProto.DEFAULT
    assert b"\x70\x00" in add(location)
    require_self_contained(add(location), "no")
    require_self_contained(content, "no")


@pytest.mark.parametrize("device", ["cpu", "openvino", "tensorrt-rtx"])
def test_no_engine_reads_a_file_that_a_graph_names(device, tmp_path, monkeypatch):
    if device == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("the extra [openvino] is not installed")
    (tmp_path / "secret.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    for location in ("secret.bin", "../secret.bin", str(tmp_path / "secret.bin"), str(tmp_path)[1:] + "/secret.bin"):
        with pytest.raises(BundleError, match="is in another file"):
            if device == "tensorrt-rtx":
                build_plan(add(outside(location)), shape_ranges_of(SPEC), library=device)
            else:
                load_session(add(outside(location)), SPEC, device=device)
    if device != "tensorrt-rtx":
        found = load_session(add(VALUES), SPEC, device=device).run({"x": np.ones(4, np.float32)})
        assert found["y"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "content",
    [
        b"not a graph",
        probe_graph()[:-3],
        b"\xff" * 20,
        b"\x3b\x3c",  # a group, which no ONNX file has
        b"\x3a\xff\xff\xff\xff\x0f",  # longer than the file
        b"\x00\x00",  # field 0
    ],
)
def test_what_cannot_be_read_to_its_end_is_refused(content):
    with pytest.raises(BundleError, match="no ONNX file, or is cut off"):
        require_self_contained(content, "no")


def test_graphs_within_graphs_end_somewhere():
    content = b""
    for _ in range(200):  # graph (7 or 6) in attribute (5) in node (1)
        content = b"".join(_wrapped(field, content) for field in (6,))
        content = _wrapped(1, _wrapped(5, content))
    with pytest.raises(BundleError, match="nested too deeply"):
        require_self_contained(_wrapped(7, content), "no")


def _wrapped(field: int, content: bytes) -> bytes:
    size, groups = len(content), []
    while size > 0x7F:
        groups.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([field << 3 | 2, *groups, size]) + content


@pytest.mark.parametrize("name", shipped_bundles())
def test_shipped_graphs_are_one_file_each(name):
    bundle = Bundle.load(name)
    for role, graph in bundle.manifest.graphs.items():
        for precision in graph.files:
            content = bundle.graph_bytes(role, precision)
            require_self_contained(content, role)
            assert not any(tensor.data_location for tensor in onnx.load_from_string(content).graph.initializer)
