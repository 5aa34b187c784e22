"""Engines of TensorRT-RTX, really built: it compiles ahead of time, on a machine without a GPU."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from steadyframe.runtime.bundle.bundle import SHIPPED, Bundle, shipped_bundles
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, TensorSpec
from steadyframe.runtime.engines.probe import probe_graph
from steadyframe.runtime.engines.shape_range import shape_ranges_of
from steadyframe.runtime.engines.tensorrt.build import EngineBuilder, refusal, target_of
from steadyframe.runtime.engines.tensorrt.cache import EngineCache
from steadyframe.runtime.engines.tensorrt.plan import build_plan, load_library, make_log, plan_version
from steadyframe.runtime.errors import BackendNotInstalled, BundleError, DeviceError, DeviceUnavailable

trt = pytest.importorskip("tensorrt_rtx", reason="the extra [tensorrt-rtx] is not installed")

SQUARE = (128, 128)
PROBE = Graph(
    {"fp32": GraphFile("probe.onnx", "0" * 64)},
    (TensorSpec("x", "float32", SQUARE),),
    (TensorSpec("y", "float32", SQUARE),),
)
SHIPPED_GRAPHS = [
    (name, role, precision)
    for name in shipped_bundles()
    for role, graph in Bundle.load(SHIPPED / name).manifest.graphs.items()
    for precision in graph.files
]


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


@pytest.fixture
def builder(cache: EngineCache) -> EngineBuilder:
    return EngineBuilder(target_of("tensorrt-rtx", None), cache)


def test_every_shipped_bundle_is_tried():
    assert {name for name, *_ in SHIPPED_GRAPHS} == set(shipped_bundles())


@pytest.mark.parametrize(("name", "role", "precision"), SHIPPED_GRAPHS)
def test_every_shipped_graph_becomes_an_engine(builder, name, role, precision):
    bundle = Bundle.load(name)
    content, graph = bundle.graph_bytes(role, precision), bundle.manifest.graphs[role]
    built = builder.obtain(content, graph, name=f"{name}/{role}")
    assert plan_version(built.plan).startswith(trt.__version__)
    runtime = trt.Runtime(make_log(trt))
    _, problems = runtime.get_engine_validity(built.plan)
    assert not problems & int(trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE)
    assert precision in built.path.name


def test_built_once_then_taken_from_the_cache(builder, tiny_bundle, capfd):
    bundle = Bundle.load(tiny_bundle)
    content, graph = bundle.graph_bytes("color", "fp32"), bundle.manifest.graphs["color"]
    first = builder.obtain(content, graph, name="tiny/color")
    told = capfd.readouterr()
    assert told.out == ""
    assert "building the tensorrt-rtx engine of tiny/color/fp32: there is no engine" in told.err
    assert "this takes a few seconds" in told.err and f"kept as {first.path}" in told.err
    second = builder.obtain(content, graph, name="tiny/color")
    assert (second.plan, second.path, second.reason) == (first.plan, first.path, "")
    assert capfd.readouterr().err == ""
    third = builder.obtain(content, graph, name="tiny/color", rebuild="--rebuild was given")
    assert third.reason == "--rebuild was given" and third.path == first.path
    assert re.search(r"--rebuild was given; about \d+ s", capfd.readouterr().err)


def test_another_version_is_built_again_and_says_why(cache, builder):
    older = EngineBuilder(dataclasses.replace(builder.target, version="1.0.0.21"), cache, quiet=True)
    plan = build_plan(probe_graph(), shape_ranges_of(PROBE), library="tensorrt-rtx")
    cache.keep(older.key(probe_graph(), PROBE), "probe", plan, built_s=1, graph_bytes=1)
    built = builder.obtain(probe_graph(), PROBE, name="probe")
    assert built.reason == f"version was 1.0.0.21, is {trt.__version__}"
    with pytest.raises(DeviceError, match="it was built by version"):
        older.obtain(probe_graph(), PROBE, name="probe")


def test_the_header_of_the_plan_itself_is_read(cache, builder, capfd):
    """A file that is right in our own header and holds another plan never gets as far as the library."""
    plan = build_plan(probe_graph(), shape_ranges_of(PROBE), library="tensorrt-rtx")
    forged = plan[:24] + bytes([10, 3, 0, 30]) + plan[28:]
    key = builder.key(probe_graph(), PROBE)
    for content, reason in ((forged, "it was built by version 10.3.0.30"), (b"x" * 99, "it has no header of a plan")):
        cache.keep(key, "probe", content, built_s=1, graph_bytes=1)
        built = builder.obtain(probe_graph(), PROBE, name="probe")
        assert built.reason.startswith(reason)
        assert reason in capfd.readouterr().err
    assert refusal(built.plan, trt.__version__) == ""


def test_an_engine_that_cannot_be_kept_is_used_all_the_same(builder, monkeypatch, capfd):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    built = builder.obtain(probe_graph(), PROBE, name="probe")
    assert built.path is None and plan_version(built.plan)
    assert "not kept: The engine" in capfd.readouterr().err
    with pytest.raises(DeviceError, match="No space left"):
        builder.obtain(probe_graph(), PROBE, name="probe", must_keep=True)


def test_progress_goes_up_to_the_end():
    seen: list[float] = []
    build_plan(probe_graph(), shape_ranges_of(PROBE), library="tensorrt-rtx", progress=seen.append)
    assert len(seen) > 3 and all(0 <= fraction <= 1 for fraction in seen)
    assert seen == sorted(seen)


@pytest.mark.parametrize("content", [b"", b"not a graph", probe_graph()[:-20], b"\x00" * 1000])
def test_what_is_no_graph_is_refused(content, capfd):
    with pytest.raises(BundleError, match="tensorrt-rtx cannot build probe"):
        build_plan(content, shape_ranges_of(PROBE), library="tensorrt-rtx", name="probe")
    assert capfd.readouterr() == ("", "")


def test_inputs_other_than_the_manifests_are_refused():
    shape_ranges = {"image": shape_ranges_of(PROBE)["x"]}
    with pytest.raises(BundleError, match=r"its inputs are \['x'\], and the manifest says \['image'\]"):
        build_plan(probe_graph(), shape_ranges, library="tensorrt-rtx")


def test_a_library_that_hangs_or_dies_is_told(monkeypatch):
    with pytest.raises(BundleError, match=r"did not answer within 0\.01 s"):
        build_plan(probe_graph(), shape_ranges_of(PROBE), library="tensorrt-rtx", timeout_s=0.01)
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(BundleError, match="ended with code 1 while it built graph"):
        build_plan(probe_graph(), shape_ranges_of(PROBE), library="tensorrt-rtx")


def test_a_library_that_is_not_there_names_the_other(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(BackendNotInstalled, match="Device 'tensorrt' needs the library 'tensorrt'") as raised:
        load_library("tensorrt")
    assert "tensorrt-rtx" in raised.value.available
    assert DeviceUnavailable.exit_code == raised.value.exit_code == 4
