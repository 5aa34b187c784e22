"""Opening a graph: the device asked for or an error, the graph promised or an error."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.probe import probe, probe_graph
from steadyframe.runtime.engines.registry import device_choices, load_session, open_session, resolve_device
from steadyframe.runtime.engines.session import check_feeds
from steadyframe.runtime.engines.shared import SharedSession
from steadyframe.runtime.errors import BundleError, DeviceUnavailable, ShapeMismatch


@pytest.fixture
def session(tiny_bundle):
    return open_session(Bundle.load(tiny_bundle), "color", device="cpu")


def feeds(height=16, width=24):
    frame = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    return {"frame": frame, "global_features": np.zeros((1, 3), np.float32)}


def test_a_session_runs_the_graph(session):
    given = feeds()
    ab = session.run(given)["ab"]
    blue, green, red = given["frame"].reshape(8, 2, 12, 2, 3).astype(np.float32).mean((1, 3)).transpose(2, 0, 1)
    assert session.device == "cpu"
    assert ab.shape == (1, 8, 12, 2)
    assert np.abs(ab[0, ..., 0] - 0.3 * (red - green)).max() < 1e-4
    assert np.abs(ab[0, ..., 1] - (0.15 * (green + red) - 0.3 * blue)).max() < 1e-4


def test_an_unknown_device_names_those_there_are(tiny_bundle):
    with pytest.raises(DeviceUnavailable) as raised:
        open_session(Bundle.load(tiny_bundle), "color", device="abacus")
    assert raised.value.available == device_choices()
    assert raised.value.exit_code == 4


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"frame": np.zeros((1, 16, 16, 3), np.float32)}, "float32"),
        ({"frame": np.zeros((16, 16, 3), np.uint8)}, r"\[16, 16, 3\]"),
        ({"frame": np.zeros((2, 16, 16, 3), np.uint8)}, r"\[2, 16, 16, 3\]"),
        ({"frame": np.zeros((1, 16, 16, 4), np.uint8)}, r"\[1, 16, 16, 4\]"),
        ({"frames": np.zeros((1, 16, 16, 3), np.uint8)}, "frames"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(session, change, found):
    with pytest.raises(ShapeMismatch, match=found):
        check_feeds({**feeds(), **change}, session.inputs)


def test_a_missing_input_is_refused(session):
    given = feeds()
    del given["global_features"]
    with pytest.raises(ShapeMismatch, match="other inputs"):
        session.run(given)


def test_what_the_engine_itself_refuses_is_an_error_of_the_tree(session, capfd):
    with pytest.raises(ShapeMismatch, match=r"tiny/color cannot run on frame \[1, 0, 24, 3\]"):
        session.run(feeds(0, 24))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "edit",
    [
        lambda graph: graph["inputs"][0].update(name="image"),
        lambda graph: graph["inputs"][0].update(dtype="float32"),
        lambda graph: graph["inputs"][0].update(axes=["height", "width", 3], layout="HWC"),
        lambda graph: graph["inputs"][1].update(axes=[1, 4]),
        lambda graph: graph["outputs"][0].update(dtype="float16"),
        lambda graph: graph["outputs"].append({"name": "more", "dtype": "float32", "axes": [1]}),
        lambda graph: graph["inputs"].pop(),
    ],
)
def test_a_graph_other_than_the_manifest_says_is_refused(make_bundle, edit):
    bundle = Bundle.load(make_bundle(lambda manifest: edit(manifest["graphs"]["color"])))
    with pytest.raises(BundleError, match="not match the manifest"):
        open_session(bundle, "color")


def test_bytes_that_are_no_onnx_are_refused_though_their_hash_is_right(make_bundle):
    content = b"not a graph"

    def edit(manifest):
        manifest["graphs"]["color"]["files"]["fp32"]["sha256"] = hashlib.sha256(content).hexdigest()

    folder = make_bundle(edit)
    (folder / "color.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="cannot load tiny/color"):
        open_session(Bundle.load(folder), "color")


def test_names_that_are_no_text_are_refused(make_bundle, tiny_graphs):
    content = tiny_graphs["color.onnx"].replace(b"half_width", b"half_\xff\xfeith")
    digest = hashlib.sha256(content).hexdigest()
    folder = make_bundle(lambda manifest: manifest["graphs"]["color"]["files"]["fp32"].update(sha256=digest))
    (folder / "color.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="names that are no text"):
        open_session(Bundle.load(folder), "color")


def test_auto_is_the_gpu_where_one_answers_and_else_the_cpu(monkeypatch, tiny_bundle):
    def broken():
        raise DeviceUnavailable("There is no NVIDIA GPU that works (no driver)")

    assert resolve_device("openvino") == "openvino"
    monkeypatch.setattr("steadyframe.runtime.engines.onnxruntime_gpu.has_provider", lambda provider: False)
    assert resolve_device("auto") == "cpu"
    assert open_session(Bundle.load(tiny_bundle), "color").device == "cpu"
    monkeypatch.setattr("steadyframe.runtime.engines.onnxruntime_gpu.has_provider", lambda provider: True)
    monkeypatch.setattr("steadyframe.runtime.engines.cuda.find_gpu", lambda: "a GPU")
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr("steadyframe.runtime.engines.cuda.find_gpu", broken)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(DeviceUnavailable, match="no device 'gpu'") as raised:
        resolve_device("gpu")
    assert "auto" in raised.value.available


def test_the_probe_finds_the_cpu_working_and_says_how_fast():
    result = probe("cpu")
    assert result.works, result.problem
    assert result.latency_ms > 0
    assert result.runs > 0


def test_the_probe_says_why_a_device_does_not_work():
    result = probe("abacus")
    assert not result.works
    assert "abacus" in result.problem


def test_the_probes_graph_is_valid_onnx():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(probe_graph())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Relu"]


def test_a_graph_can_be_loaded_from_bytes(tiny_bundle):
    bundle = Bundle.load(tiny_bundle)
    loaded = load_session(bundle.graph_bytes("global", "fp32"), bundle.manifest.graphs["global"])
    mean = loaded.run({"frame": np.full((1, 224, 224, 3), 51, np.uint8)})["global_features"]
    assert np.abs(mean - 0.2).max() < 1e-5


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_threads_change_no_result(tiny_bundle, device):
    bundle = Bundle.load(tiny_bundle)
    feeds = {
        "frame": np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), np.uint8),
        "global_features": np.ones((1, 3), np.float32),
    }
    every, one = (open_session(bundle, "color", device=device, threads=threads) for threads in (0, 1))
    np.testing.assert_allclose(one.run(feeds)["ab"], every.run(feeds)["ab"], atol=1e-4)


def test_a_session_that_streams_share_says_of_itself_what_the_engine_does(session):
    shared = SharedSession(session, threading.Lock())
    assert shared.any_size and shared.any_size == session.any_size
    assert (shared.device, shared.inputs, shared.outputs) == (session.device, session.inputs, session.outputs)
    shared.close()
    assert session.run(feeds())["ab"].shape == shared.run(feeds())["ab"].shape, "whoever opened it closes it"
