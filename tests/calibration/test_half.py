"""Mixed precision: what must stay in float32 stays, and the rest is close."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from steadyframe.calibration.activation_ranges import Range, refuse_not_finite, scan
from steadyframe.calibration.half import LARGEST, to_half
from steadyframe.calibration.prepare import prepared
from steadyframe.runtime.errors import CalibrationError


def network(nodes, weights, inputs, outputs):
    def value(name, kind, shape):
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes, "g", [value(*one) for one in inputs], [value(*one) for one in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return prepared(model)


def small():
    """A uint8 image through cast, convolution, resize, softmax and a large factor."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["frame"], ["floats"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2], name="turn"),
        helper.make_node("Mul", ["planes", "tiny"], ["scaled"], name="scale"),
        helper.make_node("Conv", ["scaled", "kernel", "bias"], ["features"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["features"], ["positive"], name="relu"),
        helper.make_node("Resize", ["positive", "", "twice"], ["large"], mode="nearest", name="resize"),
        helper.make_node("Softmax", ["large"], ["shares"], axis=1, name="softmax"),
        helper.make_node("Mul", ["shares", "huge"], ["far"], name="far"),
        helper.make_node("ReduceMean", ["far"], ["mean"], name="mean"),
    ]
    weights = {
        "tiny": np.array(1 / 255, np.float32), "huge": np.array(60_000, np.float32),
        "kernel": random.normal(0, 0.4, (4, 3, 3, 3)).astype(np.float32), "bias": np.zeros(4, np.float32),
        "twice": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    inputs = [("frame", TensorProto.UINT8, [1, "h", "w", 3])]
    outputs = [("mean", TensorProto.FLOAT, [1, 1, 1, 1]), ("shares", TensorProto.FLOAT, [1, 4, "H", "W"])]
    return network(nodes, weights, inputs, outputs)


def feeds(seed=0, size=16):
    return {"frame": np.random.default_rng(seed).integers(0, 256, (1, size, size, 3), dtype=np.uint8)}


def run(model, given):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, given), strict=True))


def type_of(model, name):
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    return values[name]


def test_a_mixed_graph_gives_nearly_the_same_at_any_size():
    model = small()
    half, _ = to_half(model, scan(model, [feeds()]))
    for size in (16, 24):
        left, right = run(model, feeds(1, size)), run(half, feeds(1, size))
        assert left["shares"].dtype == right["shares"].dtype == np.float32
        assert np.abs(left["shares"] - right["shares"]).max() < 5e-3
        assert right["mean"] == pytest.approx(left["mean"], rel=1e-3)


def test_kinds_and_ranges_decide():
    model = small()
    half, kept = to_half(model, scan(model, [feeds()]))
    assert type_of(half, "features") == type_of(half, "positive") == TensorProto.FLOAT16
    assert type_of(half, "shares") == type_of(half, "far") == TensorProto.FLOAT
    assert kept == ["far"]  # a Mul, and so a candidate, but it goes to 60,000
    kernel = next(i for i in half.graph.initializer if i.name.startswith("kernel"))
    assert kernel.data_type == TensorProto.FLOAT16
    assert "kernel" not in {i.name for i in half.graph.initializer}
    twice = next(i for i in half.graph.initializer if i.name == "twice")
    assert twice.data_type == TensorProto.FLOAT  # the standard wants the scales of a resize so


def test_a_node_that_must_stay_stays():
    model = small()
    half, kept = to_half(model, scan(model, [feeds()]), keep=["conv"])
    assert "conv" in kept
    assert type_of(half, "features") == TensorProto.FLOAT
    assert type_of(half, "positive") == TensorProto.FLOAT16


def test_a_tensor_that_was_never_seen_is_not_trusted():
    model = small()
    ranges = scan(model, [feeds()])
    del ranges["features"]
    half, kept = to_half(model, ranges)
    assert {"conv", "relu"} <= set(kept)
    assert type_of(half, "features") == TensorProto.FLOAT


def test_a_weight_beyond_float16_is_not_cut_down():
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"], name="mul")]
    model = network(nodes, {"w": np.array([1e6], np.float32)}, [("x", 1, [1])], [("y", 1, [1])])
    half, kept = to_half(model, scan(model, [{"x": np.array([1e-6], np.float32)}]))
    assert kept == ["mul"]
    assert run(half, {"x": np.array([2e-6], np.float32)})["y"] == pytest.approx(2.0)


@pytest.mark.parametrize(("value", "stays"), [(1e-6, True), (6e-5, True), (1e-4, False), (0.0, False)])
def test_a_constant_that_float16_would_lose_keeps_its_node_in_float32(value, stays):
    nodes = [helper.make_node("Add", ["x", "w"], ["y"], name="add")]
    model = network(nodes, {"w": np.array(value, np.float32)}, [("x", 1, [1])], [("y", 1, [1])])
    _, kept = to_half(model, scan(model, [{"x": np.array([1.0], np.float32)}]))
    assert kept == (["add"] if stays else [])


def test_the_input_model_is_not_changed():
    model = small()
    before = model.SerializeToString()
    to_half(model, scan(model, [feeds()]))
    assert model.SerializeToString() == before


def test_scan_sees_every_float_tensor_and_joins_runs():
    model = small()
    black, white = ({"frame": np.full((1, 8, 8, 3), level, np.uint8)} for level in (0, 255))
    ranges = scan(model, [black, white])
    assert ranges["floats"] == Range(0.0, 255.0)
    assert ranges["far"].high > LARGEST
    assert set(ranges) >= {"planes", "scaled", "features", "positive", "large", "shares", "mean"}


def test_nan_is_found_where_it_begins():
    nodes = [
        helper.make_node("Log", ["x"], ["log"], name="log"),
        helper.make_node("Relu", ["log"], ["y"], name="relu"),
    ]
    model = network(nodes, {}, [("x", 1, [2])], [("y", 1, [2])])
    ranges = scan(model, [{"x": np.array([-1, 1], np.float32)}])
    assert not ranges["log"].finite
    with pytest.raises(CalibrationError, match="log"):
        refuse_not_finite(ranges, "The graph")


def test_a_scan_of_nothing_is_an_error():
    with pytest.raises(CalibrationError, match="at least one frame"):
        scan(small(), [])


def test_an_output_that_the_graph_reads_too():
    nodes = [
        helper.make_node("Conv", ["planes", "kernel"], ["maps"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["maps"], ["peaks"], name="relu"),
    ]
    weights = {"kernel": np.random.default_rng(0).normal(0, 0.4, (2, 3, 3, 3)).astype(np.float32)}
    shape = [1, 2, "h", "w"]
    outputs = [("maps", TensorProto.FLOAT, shape), ("peaks", TensorProto.FLOAT, shape)]
    model = network(nodes, weights, [("planes", TensorProto.FLOAT, [1, 3, "h", "w"])], outputs)
    given = {"planes": np.random.default_rng(1).normal(0, 1, (1, 3, 8, 8)).astype(np.float32)}
    mixed, _ = to_half(model, scan(model, [given]))
    onnx.checker.check_model(mixed, full_check=True)
    expected, found = run(model, given), run(mixed, given)
    for name in ("maps", "peaks"):
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected[name], atol=0.02)
