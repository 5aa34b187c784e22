"""ONNX Runtime with bound memory: the binding on the CPU, where it is the same, and the refusals."""

from __future__ import annotations

import threading

import numpy as np
import onnxruntime
import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.cuda import Gpu
from steadyframe.runtime.engines.onnxruntime_gpu import OnnxRuntimeGpuSession, tensorrt_options
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.engines.shape_range import shape_ranges_of
from steadyframe.runtime.engines.tensorrt.cache import EngineCache
from steadyframe.runtime.errors import BackendNotInstalled, BundleError, DeviceUnavailable, ShapeMismatch


@pytest.fixture
def color(tiny_bundle):
    bundle = Bundle.load(tiny_bundle)
    return bundle.graph_bytes("color", "fp32"), bundle.manifest.graphs["color"]


def feeds(height=16, width=24, seed=0):
    random = np.random.default_rng(seed)
    frame = random.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    return {"frame": frame, "global_features": random.random((1, 3), np.float32)}


def test_bound_runs_give_what_plain_runs_give(color, tiny_bundle):
    plain = open_session(Bundle.load(tiny_bundle), "color")
    bound = OnnxRuntimeGpuSession(*color, provider="cpu")
    kept = []
    many = [(side, side) for side in range(8, 28, 2)]
    for seed, size in enumerate([(16, 24), (16, 24), (32, 8), (16, 24), *many, (32, 8)]):
        given = feeds(*size, seed=seed)
        before = {name: array.copy() for name, array in given.items()}
        kept.append((plain.run(given)["ab"], bound.run(given)["ab"]))
        assert all(np.array_equal(given[name], before[name]) for name in given)
    assert all(np.allclose(right, found, atol=1e-4) for right, found in kept)
    assert len(bound._bindings) == 8  # memory of old shapes is let go
    assert bound.device == "cpu"


def test_feeds_that_are_views_are_taken(color, tiny_bundle):
    given = feeds(16, 24)
    given["frame"] = given["frame"][:, ::-1]
    right = open_session(Bundle.load(tiny_bundle), "color").run(given)["ab"]
    assert np.allclose(OnnxRuntimeGpuSession(*color, provider="cpu").run(given)["ab"], right, atol=1e-4)


def test_threads_take_turns(color, tiny_bundle):
    bound, plain = OnnxRuntimeGpuSession(*color, provider="cpu"), open_session(Bundle.load(tiny_bundle), "color")
    wrong = []

    def work(seed):
        for i in range(20):
            given = feeds(seed=100 * seed + i)
            if not np.allclose(bound.run(given)["ab"], plain.run(given)["ab"], atol=1e-4):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_misfits_are_errors_of_the_tree(color, capfd):
    bound = OnnxRuntimeGpuSession(*color, provider="cpu", name="tiny/color")
    with pytest.raises(ShapeMismatch, match=r"tiny/color cannot run on frame \[1, 0, 24, 3\]"):
        bound.run(feeds(0, 24))
    with pytest.raises(BundleError, match="cannot load graph on CPUExecutionProvider"):
        OnnxRuntimeGpuSession(b"not a graph", color[1], provider="cpu")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_build_without_the_provider_is_told(color, provider, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendNotInstalled, match=r"has no .*ExecutionProvider") as raised:
        OnnxRuntimeGpuSession(*color, provider=provider)
    assert raised.value.available == ("CPUExecutionProvider",)
    assert "pip install onnxruntime-gpu" in raised.value.todo


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_an_error_and_never_the_cpu(color, monkeypatch):
    """ONNX Runtime takes the CPU without a word when it is built for CUDA and finds no driver."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    with pytest.raises((DeviceUnavailable, BundleError), match="CUDAExecutionProvider"):
        OnnxRuntimeGpuSession(*color, provider="cuda")


def test_the_tensorrt_providers_engines_are_private_and_keyed(color, monkeypatch):
    found = Gpu("GPU", "8.7", "CUDA 12.6")
    monkeypatch.setattr("steadyframe.runtime.engines.onnxruntime_gpu.find_gpu", lambda: found)
    content, graph = color
    options = tensorrt_options(content, shape_ranges_of(graph))
    assert options["trt_profile_min_shapes"] == "frame:1x96x96x3,global_features:1x3"
    assert options["trt_profile_opt_shapes"] == "frame:1x96x168x3,global_features:1x3"
    assert options["trt_int8_enable"] == "0"
    folder = EngineCache().folder
    assert options["trt_engine_cache_path"].startswith(str(folder / "ort-"))
    found = Gpu("GPU", "8.7", "CUDA 12.8")
    other = tensorrt_options(content + b"QuantizeLinear", shape_ranges_of(graph))
    assert other["trt_engine_cache_path"] != options["trt_engine_cache_path"] and other["trt_int8_enable"] == "1"
