"""Int8 graphs: symmetric, per channel, float biases, the same in two engines."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from steadyframe.calibration.int8 import collect_ranges, quantizable, to_int8
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, TensorSpec
from steadyframe.runtime.engines.registry import load_session
from steadyframe.runtime.errors import CalibrationError

random = np.random.default_rng(0)
SPEC = Graph(
    files={"fp32": GraphFile("x.onnx", "0" * 64)},
    inputs=(TensorSpec("x", "float32", (1, 3, 16, 16)),),
    outputs=(TensorSpec("y", "float32", (1, 5, 16, 16)),),
)


def network():
    """Three convolutions, the last of which stays in float; the channels of the first differ in size 100 times."""
    scales = np.array([0.01, 0.1, 1, 1], np.float32)[:, None, None, None]
    weights = {
        "k1": random.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32) * scales,
        "b1": random.normal(0, 0.1, 4).astype(np.float32),
        "k2": random.normal(0, 0.3, (5, 4, 3, 3)).astype(np.float32),
        "b2": random.normal(0, 0.1, 5).astype(np.float32),
        "k3": random.normal(0, 0.3, (5, 5, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k1", "b1"], ["h"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "k2", "b2"], ["z"], pads=[1, 1, 1, 1], name="second"),
        helper.make_node("Sigmoid", ["z"], ["s"], name="sigmoid"),
        helper.make_node("Conv", ["s", "k3"], ["y"], name="last"),
    ]
    x, y = (helper.make_tensor_value_info(s.name, TensorProto.FLOAT, s.axes) for s in (*SPEC.inputs, *SPEC.outputs))
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def feeds(count=4):
    return [{"x": np.random.default_rng(i).random((1, 3, 16, 16), np.float32)} for i in range(count)]


def run(model, device="cpu"):
    session = load_session(model.SerializeToString(), SPEC, device=device)
    return np.stack([session.run(one)["y"] for one in feeds(8)])


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_every_method_comes_close(method, capfd):
    model = network()
    int8 = to_int8(model, collect_ranges(model, feeds(), method))
    assert np.abs(run(model) - run(int8)).mean() < 0.01
    assert capfd.readouterr().out == ""
    assert logging.root.manager.disable == logging.NOTSET


def test_two_engines_agree_on_the_same_file():
    pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    model = network()
    int8 = to_int8(model, collect_ranges(model, feeds(), "minmax"))
    assert np.abs(run(int8) - run(int8, "openvino")).max() < 0.02


def test_the_form_is_what_every_engine_takes():
    model = network()
    int8 = to_int8(model, collect_ranges(model, feeds(), "minmax"))
    arrays = {i.name: numpy_helper.to_array(i) for i in int8.graph.initializer}
    pairs = [n for n in int8.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for node in pairs:
        assert arrays[node.input[2]].dtype == np.int8
        assert not arrays[node.input[2]].any()
    assert {arrays[name].dtype for name in ("b1", "b2")} == {np.dtype(np.float32)}
    weights = [n for n in pairs if n.input[0].startswith("k1")]
    assert [arrays[n.input[1]].shape for n in weights] == [(4,)]
    assert {o.domain for o in int8.opset_import} <= {"", "ai.onnx"}


def test_a_kept_node_keeps_its_weights():
    model = network()
    ranges = collect_ranges(model, feeds(), "minmax")
    int8 = to_int8(model, ranges, keep=["first"])
    arrays = {i.name: numpy_helper.to_array(i) for i in int8.graph.initializer}
    assert np.array_equal(arrays["k1"], numpy_helper.to_array(model.graph.initializer[0]))
    assert "k2" not in arrays
    with pytest.raises(CalibrationError, match="No node is left"):
        to_int8(model, ranges, keep=["first", "second"])


def test_candidates_and_ranges():
    model = network()
    assert quantizable(model) == ["first", "second"]
    ranges = collect_ranges(model, feeds(), "minmax")
    low, high = ranges["x"]
    assert -low == high == pytest.approx(1, abs=0.01)
    with pytest.raises(CalibrationError, match="at least one frame"):
        collect_ranges(model, [], "minmax")


def test_ranges_do_not_depend_on_how_the_frames_are_dealt_out():
    model = network()
    forth = collect_ranges(model, feeds(), "minmax")
    assert collect_ranges(model, feeds()[::-1], "minmax") == forth
    assert onnx.checker.check_model(to_int8(model, forth)) is None


def test_a_matrix_product_at_the_end_stays_in_float():
    weights = {name: random.normal(0, 0.3, (6, 6)).astype(np.float32) for name in ("w1", "w2")}
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2"], ["z"], name="last"),
        helper.make_node("Relu", ["z"], ["y"], name="end"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 6]) for name in "xy")
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert quantizable(model) == ["first"]
    given = [{"x": np.random.default_rng(i).random((1, 6), np.float32)} for i in range(3)]
    int8 = to_int8(model, collect_ranges(model, given, "minmax"))
    arrays = {i.name: numpy_helper.to_array(i) for i in int8.graph.initializer}
    assert np.array_equal(arrays["w2"], weights["w2"])
    assert "w1" not in arrays


def chain(nodes, weights, shape):
    """A graph from x, (1, 3, 6, 6), to y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_constant_that_is_no_weight_stays_in_float():
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["h"], name="conv"),
        helper.make_node("Add", ["h", "half"], ["moved"], name="constant"),
        helper.make_node("Add", ["h", "moved"], ["both"], name="sum"),
        helper.make_node("Concat", ["both", "plane"], ["four"], axis=1, name="join"),
        helper.make_node("Conv", ["four", "l"], ["y"], name="last"),
    ]
    weights = {
        "k": random.normal(0, 0.3, (3, 3, 1, 1)), "l": random.normal(0, 0.3, (2, 4, 1, 1)),
        "half": np.array(0.5), "plane": np.ones((1, 1, 6, 6)),
    }  # fmt: skip
    model = chain(nodes, weights, [1, 2, 6, 6])
    assert quantizable(model) == ["conv", "sum"]
    given = [{"x": np.random.default_rng(i).random((1, 3, 6, 6), np.float32)} for i in range(3)]
    int8 = to_int8(model, collect_ranges(model, given, "minmax"))
    arrays = {i.name: numpy_helper.to_array(i) for i in int8.graph.initializer}
    assert all(np.array_equal(arrays[name], weights[name].astype(np.float32)) for name in ("half", "plane"))
    assert "k" not in arrays


def test_the_last_products_and_what_a_logarithm_reads_stay_in_float():
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["h"], name="conv"),
        helper.make_node("MaxPool", ["h"], ["pooled"], kernel_shape=[1, 1], name="pool"),
        helper.make_node("Conv", ["pooled", "k"], ["maps"], name="maps"),
        helper.make_node("Relu", ["maps"], ["positive"], name="relu"),
        helper.make_node("Log", ["positive"], ["logs"], name="log"),
        helper.make_node("Conv", ["logs", "k"], ["total"], name="total"),
        helper.make_node("Add", ["total", "pooled"], ["place"], name="place"),
        helper.make_node("Concat", ["place", "maps"], ["y"], axis=1, name="together"),
    ]
    model = chain(nodes, {"k": random.normal(0, 0.3, (3, 3, 1, 1))}, [1, 6, 6, 6])
    assert quantizable(model) == ["conv", "pool"]
