"""The TensorRT session: its lanes in plain memory, its refusals here, its runs where there is a GPU."""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import SHIPPED, Bundle, shipped_bundles
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, Preprocess, TensorSpec
from steadyframe.runtime.commands.doctor import device_findings, engine_findings
from steadyframe.runtime.engines import cuda as cuda_module
from steadyframe.runtime.engines.cuda import find_gpu
from steadyframe.runtime.engines.probe import probe
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.engines.shape_range import shape_ranges_of
from steadyframe.runtime.engines.tensorrt import run as session_module
from steadyframe.runtime.engines.tensorrt.build import Built
from steadyframe.runtime.engines.tensorrt.run import TensorRtSession
from steadyframe.runtime.errors import BackendNotInstalled, BundleError, DeviceError, DeviceUnavailable, ShapeMismatch

_spec = importlib.util.spec_from_file_location("fake_cuda", Path(__file__).with_name("fake_cuda.py"))
fake_cuda = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_cuda)

GRAPH = Graph(
    {"fp32": GraphFile("x.onnx", "0" * 64)},
    (TensorSpec("x", "uint8", (1, "height", 3), "NHC"),),
    (TensorSpec("y", "float32", (1, "height", 3), "NHC"),),
    Preprocess("area", short_side=10),
)


@pytest.fixture
def cuda(monkeypatch):
    """CUDA in plain memory, and a TensorRT whose engines all are the fake one."""
    fake = fake_cuda.FakeCuda()
    engine = fake_cuda.FakeEngine(fake)
    fake.engine, fake.plans, fake.reasons = engine, [b"a plan"], []

    class Log:
        errors = ("the fake says no",)

    class Runtime:
        def __init__(self, log):
            pass

        def deserialize_cuda_engine(self, plan):
            return engine if plan == b"a plan" else None

    class Builder:
        def __init__(self, target, cache):
            fake.target = target

        def obtain(self, content, graph, *, name, rebuild=""):
            fake.reasons.append(rebuild)
            return Built(fake.plans.pop(0), None, reason=rebuild)

    library = SimpleNamespace(
        __version__="10.3.0",
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="input"),
        nptype=np.dtype,
    )
    monkeypatch.setattr(cuda_module, "bindings", lambda: fake)
    monkeypatch.setattr(session_module, "load_library", lambda name: library)
    monkeypatch.setattr("steadyframe.runtime.engines.tensorrt.build.load_library", lambda name: library)
    monkeypatch.setattr(session_module, "make_log", lambda trt: Log())
    monkeypatch.setattr(session_module, "EngineBuilder", Builder)
    return fake


def x(height=12, seed=0):
    return {"x": np.random.default_rng(seed).integers(0, 256, (1, height, 3), dtype=np.uint8)}


def test_runs_are_captured_and_replayed(cuda):
    session = TensorRtSession(b"", GRAPH)
    kept = []
    for seed in range(4):
        feeds = x(seed=seed)
        kept.append((feeds["x"].copy(), session.run(feeds)["y"]))
    assert all(np.array_equal(found, given.astype(np.float32) + 1) for given, found in kept)
    assert session.device == "tensorrt"
    assert cuda.launched == 3  # the first run is not replayed: the graph is captured after it
    assert cuda.target.compute_capability == "8.7" and "CUDA 12.6" in cuda.target.driver
    session.close()
    assert not cuda.memory and not cuda.streams and not cuda.graphs


def test_another_shape_gets_other_memory_and_frees_the_old(cuda):
    session = TensorRtSession(b"", GRAPH)
    for height in (12, 24, 12, 12):
        feeds = x(height)
        assert np.array_equal(session.run(feeds)["y"], feeds["x"].astype(np.float32) + 1)
    assert len(cuda.memory) == 4 and len(cuda.graphs) == 1  # two tensors, each on both sides
    assert cuda.engine.contexts == 1


def test_what_cannot_be_captured_runs_piece_by_piece(cuda):
    cuda.capture_fails = True
    session = TensorRtSession(b"", GRAPH)
    for seed in range(3):
        feeds = x(seed=seed)
        assert np.array_equal(session.run(feeds)["y"], feeds["x"].astype(np.float32) + 1)
    assert cuda.launched == 0


def test_streams_that_share_the_session_have_lanes_of_their_own(cuda):
    session = TensorRtSession(b"", GRAPH)
    wrong, barrier = [], threading.Barrier(4)

    def work(seed):
        barrier.wait()
        for i in range(20):
            feeds = x(seed=100 * seed + i)
            if not np.array_equal(session.run(feeds)["y"], feeds["x"].astype(np.float32) + 1):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 1 <= cuda.engine.contexts <= 4
    session.close()
    assert not cuda.memory and not cuda.streams


def test_shapes_it_was_not_built_for_are_refused(cuda):
    session = TensorRtSession(b"", GRAPH)
    with pytest.raises(ShapeMismatch, match="built for other shapes of 'x'") as raised:
        session.run(x(9))
    assert raised.value.expected == str(shape_ranges_of(GRAPH)["x"])
    with pytest.raises(ShapeMismatch, match="refuses the shape"):
        session.run(x(13))
    assert not cuda.memory and not cuda.streams  # nothing of the failed run stays
    feeds = x()
    assert np.array_equal(session.run(feeds)["y"], feeds["x"].astype(np.float32) + 1)


def test_an_engine_with_other_tensors_is_refused(cuda):
    other = Graph(GRAPH.files, GRAPH.inputs, (TensorSpec("y", "float16", (1, "height", 3)),), GRAPH.preprocess)
    with pytest.raises(BundleError, match="not match the manifest"):
        TensorRtSession(b"", other)


def test_a_kept_engine_that_does_not_load_is_built_again_once(cuda):
    cuda.plans = [b"rotten", b"a plan"]
    TensorRtSession(b"", GRAPH)
    assert cuda.reasons == ["", "tensorrt cannot load it (the fake says no)"]
    cuda.plans = [b"rotten", b"rotten"]
    with pytest.raises(
        DeviceUnavailable, match=r"cannot load its engine of graph on Fake GPU, compute capability 8\.7"
    ):
        TensorRtSession(b"", GRAPH)


def test_cudas_errors_are_ours(cuda):
    session = TensorRtSession(b"", GRAPH)
    cuda.cudaStreamSynchronize = lambda stream: (fake_cuda.Code(700),)
    cuda.cudaStreamDestroy = lambda stream: (fake_cuda.Code(700),)  # the error stays, as some do
    with pytest.raises(DeviceError, match="it was told to fail"):
        session.run(x())


def test_without_the_bindings_or_a_gpu_the_error_says_so(monkeypatch):
    fake = fake_cuda.FakeCuda()
    fake.cudaGetDeviceCount = lambda: (fake_cuda.Code(100), 0)
    monkeypatch.setattr(cuda_module, "bindings", lambda: fake)
    with pytest.raises(DeviceUnavailable, match="no NVIDIA GPU that works"):
        find_gpu()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(BackendNotInstalled, match="cuda-python"):
        find_gpu()


def test_the_fake_has_no_function_that_cuda_has_not():
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    fake = fake_cuda.FakeCuda()
    names = [name for name in dir(fake) if name.startswith("cuda")]
    assert len(names) > 20
    for name in names:
        assert hasattr(real, name), name
        if isinstance(getattr(fake, name), SimpleNamespace):
            assert set(vars(getattr(fake, name))) <= set(getattr(real, name).__members__), name


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="[tensorrt-rtx] is not installed")
def test_doctor_builds_an_engine_and_says_what_runs():
    (engines,) = engine_findings()
    assert engines.state == "works" and "tiny engine built in" in engines.detail
    states = {finding.what: finding for finding in device_findings()}
    try:
        find_gpu()
    except DeviceError:
        for device in ("cuda", "tensorrt", "tensorrt-rtx", "tensorrt-ort"):
            assert states[f"device {device}"].state == "missing", states[f"device {device}"]
            assert states[f"device {device}"].detail


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "tensorrt", "tensorrt-rtx", "tensorrt-ort"])
def test_the_tiny_graph_runs_on_the_gpu(gpu, device):
    result = probe(device)
    if result.absent:
        pytest.skip(f"not installed here: {result.problem}")
    assert result.works, result.problem


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "tensorrt", "tensorrt-rtx", "tensorrt-ort"])
@pytest.mark.parametrize("name", shipped_bundles())
def test_every_shipped_graph_gives_on_the_gpu_what_it_gives_on_the_cpu(gpu, name, device):
    result = probe(device)
    if result.absent:
        pytest.skip(f"not installed here: {result.problem}")
    bundle = Bundle.load(SHIPPED / name)
    random = np.random.default_rng(0)
    for role, graph in bundle.manifest.graphs.items():
        expected, found = (open_session(bundle, role, device=each) for each in ("cpu", device))
        shape_ranges = shape_ranges_of(graph)
        for shape in ("opt", "min", "opt"):
            feeds = {}
            for spec in graph.inputs:
                values = random.random(getattr(shape_ranges[spec.name], shape), np.float32)
                feeds[spec.name] = (values * (255 if spec.dtype == "uint8" else 1)).astype(spec.dtype)
            right, ours = expected.run(feeds), found.run(feeds)
            for output, array in right.items():
                assert np.abs(array.astype(float) - ours[output]).max() <= 1e-2 * max(np.abs(array).max(), 1), output
        found.close()
