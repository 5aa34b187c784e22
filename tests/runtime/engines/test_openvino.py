"""OpenVINO: the same answers as ONNX Runtime, in float32 unless asked otherwise, and the same refusals."""

from __future__ import annotations

import builtins
import hashlib
import sys
import threading

import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.commands.doctor import device_findings
from steadyframe.runtime.engines.probe import probe
from steadyframe.runtime.engines.registry import load_session, open_session
from steadyframe.runtime.errors import BackendNotInstalled, BundleError, ShapeMismatch
from steadyframe.runtime.opening import open_task

ov = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")


def feeds(height=16, width=24, seed=0):
    frame = np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    return {"frame": frame, "global_features": np.full((1, 3), 0.25, np.float32)}


def has_bf16():
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_openvino_agrees_with_onnx_runtime_at_several_sizes(tiny_bundle):
    bundle = Bundle.load(tiny_bundle)
    sessions = [open_session(bundle, "color", device=device) for device in ("cpu", "openvino")]
    assert [session.device for session in sessions] == ["cpu", "openvino"]
    for height, width in ((16, 24), (32, 16), (16, 24)):
        left, right = (session.run(feeds(height, width))["ab"] for session in sessions)
        assert left.shape == right.shape == (1, height // 2, width // 2, 2)
        assert left.dtype == right.dtype == np.float32
        assert np.abs(left - right).max() < 1e-4


def test_arithmetic_is_float32_though_the_processor_has_bf16(tiny_bundle):
    session = open_session(Bundle.load(tiny_bundle), "color", device="openvino")
    assert session._compiled.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
    assert "LATENCY" in str(session._compiled.get_property("PERFORMANCE_HINT"))


@pytest.mark.skipif(not has_bf16(), reason="this processor has no bfloat16")
def test_bfloat16_is_had_by_its_own_name_only(tiny_bundle):
    session = open_session(Bundle.load(tiny_bundle), "color", device="openvino-bf16")
    assert session.device == "openvino-bf16"
    assert session._compiled.get_property("INFERENCE_PRECISION_HINT") == ov.Type.bf16


def test_the_throughput_hint_is_had_by_its_name_and_gives_the_same(tiny_bundle):
    bundle = Bundle.load(tiny_bundle)
    usual, many = (open_session(bundle, "color", device=name) for name in ("openvino", "openvino-throughput"))
    assert many.device == "openvino-throughput"
    assert "THROUGHPUT" in str(many._compiled.get_property("PERFORMANCE_HINT"))
    assert np.abs(usual.run(feeds())["ab"] - many.run(feeds())["ab"]).max() < 1e-5


def test_results_stay_as_they_are_when_the_session_runs_again(tiny_bundle):
    session = open_session(Bundle.load(tiny_bundle), "color", device="openvino")
    first = session.run(feeds(seed=1))["ab"]
    kept = first.copy()
    session.run(feeds(seed=2))
    assert np.array_equal(first, kept)


def test_streams_share_one_session(tiny_bundle):
    session = open_session(Bundle.load(tiny_bundle), "color", device="openvino")
    alone = {seed: session.run(feeds(seed=seed))["ab"] for seed in range(4)}
    wrong = []

    def stream(seed):
        wrong.extend(seed for _ in range(20) if not np.array_equal(session.run(feeds(seed=seed))["ab"], alone[seed]))

    threads = [threading.Thread(target=stream, args=(seed,)) for seed in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "edit",
    [
        lambda graph: graph["inputs"][0].update(name="image"),
        lambda graph: graph["inputs"][0].update(dtype="float32"),
        lambda graph: graph["inputs"][1].update(axes=[1, 4]),
        lambda graph: graph["outputs"][0].update(axes=["height", "width", 2], layout="HWC"),
        lambda graph: graph["outputs"].append({"name": "more", "dtype": "float32", "axes": [1]}),
    ],
)
def test_a_graph_other_than_the_manifest_says_is_refused(make_bundle, edit):
    bundle = Bundle.load(make_bundle(lambda manifest: edit(manifest["graphs"]["color"])))
    with pytest.raises(BundleError, match="not match the manifest"):
        open_session(bundle, "color", device="openvino")


def test_graphs_it_does_not_know_are_refused_in_one_line(make_bundle, tiny_graphs, capfd):
    content = tiny_graphs["color.onnx"].replace(b"Conv", b"Xonv")

    def edit(manifest):
        manifest["graphs"]["color"]["files"]["fp32"]["sha256"] = hashlib.sha256(content).hexdigest()

    folder = make_bundle(edit)
    (folder / "color.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="OpenVINO cannot load tiny/color") as raised:
        open_session(Bundle.load(folder), "color", device="openvino")
    assert ".cpp" not in str(raised.value)
    assert capfd.readouterr().err == ""


def test_what_the_engine_itself_refuses_is_an_error_of_the_tree(tiny_bundle):
    bundle = Bundle.load(tiny_bundle)
    session = open_session(bundle, "color", device="openvino")
    with pytest.raises(ShapeMismatch, match=r"tiny/color cannot run on frame \[1, 1, 1, 3\]"):
        session.run(feeds(1, 1))
    assert session.run(feeds())["ab"].shape == (1, 8, 12, 2)  # and it is good for the next frame


def test_a_missing_library_is_told_with_the_line_that_installs_it(tiny_bundle, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.split(".")[0] == "openvino" and not (rest and len(rest) > 3 and rest[3]):
            raise ModuleNotFoundError(f"No module named {name!r}", name="openvino")
        return real(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "steadyframe.runtime.engines.openvino")
    monkeypatch.setattr(builtins, "__import__", without)
    bundle = Bundle.load(tiny_bundle)
    with pytest.raises(BackendNotInstalled, match=r"steadyframe\[openvino\]"):
        load_session(bundle.graph_bytes("color", "fp32"), bundle.manifest.graphs["color"], device="openvino")


def test_probe_and_doctor_find_it_working():
    result = probe("openvino")
    assert result.works, result.problem
    (finding,) = [finding for finding in device_findings() if finding.what == "device openvino"]
    assert finding.state == "works"
    assert f"openvino {ov.__version__.split('-')[0]}" in finding.detail


def test_a_whole_task_runs_on_it(tiny_bundle):
    task = open_task(tiny_bundle, device="openvino")
    assert task.device == "openvino"
    task.close()
