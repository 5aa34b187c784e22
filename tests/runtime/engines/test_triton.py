"""A bundle on a model server gives what it gives on the processor. The server is a stand-in (`model_server`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from steadyframe.export.repository import RepositoryOptions, write_repository
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.errors import BundleError, DeviceUnavailable, ShapeMismatch, UsageError
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opening import open_processor, open_stream

pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: the extra [triton]")

from model_server import ModelServer


@pytest.fixture
def server(tiny_bundle: Path, tmp_path: Path) -> Iterator[ModelServer]:
    """A server with the tiny colorizer."""
    write_repository(Bundle.load(tiny_bundle), tmp_path / "models")
    started = ModelServer(tmp_path / "models")
    yield started
    started.stop()


def pixels(bundle: object, device: str, source: str) -> list[np.ndarray]:
    with open_processor(bundle, device=device, precision="fp32", live=False) as processor:
        return [result.output.pixels for result in processor.process_all(open_source(source))]


def test_a_stream_on_a_server_is_the_stream_on_the_processor(tiny_bundle, server):
    source = "test://?size=160x120&frames=25"
    device = f"triton://127.0.0.1:{server.port}/tiny"
    here, there = pixels(tiny_bundle, "cpu", source), pixels(tiny_bundle, device, source)
    assert len(there) == 25
    for one, other in zip(here, there, strict=True):
        assert np.array_equal(one, other)
    assert set(server.servicer.runs) == {"tiny-global", "tiny-color"}


@pytest.mark.parametrize("name", ["pose", "stylize-wave", "policy-montezuma"])
def test_every_kind_of_graph_passes_the_wire(name, tmp_path):
    bundle = Bundle.load(name)
    write_repository(bundle, tmp_path)
    started = ModelServer(tmp_path)
    try:
        random = np.random.default_rng(0)
        for role, graph in bundle.manifest.graphs.items():
            there = open_session(bundle, role, device=f"triton://127.0.0.1:{started.port}")
            here = open_session(bundle, role, device="cpu", threads=1)
            sizes = {"height": 64, "width": 96, "batch": 3}
            feeds = {}
            for spec in graph.inputs:
                shape = [axis if isinstance(axis, int) else sizes[axis] for axis in spec.axes]
                feeds[spec.name] = random.integers(0, 200, shape).astype(spec.dtype)
            one, other = here.run(feeds), there.run(feeds)
            assert one.keys() == other.keys()
            for output, array in one.items():
                np.testing.assert_allclose(other[output], array, rtol=1e-4, atol=1e-4)
            there.close()
            there.close()
            with pytest.raises(UsageError, match="closed"):
                there.run(feeds)
    finally:
        started.stop()


def test_several_threads_share_a_session(tiny_bundle, server):
    session = open_session(Bundle.load(tiny_bundle), "global", device=f"triton://127.0.0.1:{server.port}/tiny")
    wrong: list[int] = []

    def ask(value: int) -> None:
        frame = np.full((1, 224, 224, 3), value, np.uint8)
        for _ in range(5):
            if not np.allclose(session.run({"frame": frame})["global_features"], value / 255, atol=1e-5):
                wrong.append(value)

    threads = [threading.Thread(target=ask, args=(value,)) for value in (0, 60, 120, 250)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    session.close()


def test_what_is_not_there_is_said(tiny_bundle, server):
    bundle = Bundle.load(tiny_bundle)
    with pytest.raises(DeviceUnavailable, match=r"no model 'other-global'"):
        open_session(bundle, "global", device=f"triton://127.0.0.1:{server.port}/other")
    with pytest.raises(DeviceUnavailable, match=r"Expected: triton://host:port/name"):
        open_session(bundle, "global", device="triton")
    with pytest.raises(DeviceUnavailable, match="not complete"):
        open_session(bundle, "global", device="cpu://1.2.3.4")
    with pytest.raises(DeviceUnavailable, match="does not answer"):
        open_session(bundle, "global", device="triton://127.0.0.1:9/tiny")


def test_another_model_under_the_same_name_is_refused(make_bundle, tiny_bundle, server):
    def widened(manifest):
        manifest["graphs"]["global"]["outputs"][0]["axes"] = [1, 64]

    with pytest.raises(BundleError, match="do not match the manifest"):
        open_session(
            Bundle.load(make_bundle(widened, "wide")), "global", device=f"triton://127.0.0.1:{server.port}/tiny"
        )


def test_a_server_that_goes_away_stops_the_stream_with_a_reason(tiny_bundle, server):
    stream = open_stream(
        tiny_bundle, "test://?size=64x48&frames=400", device=f"triton://127.0.0.1:{server.port}", steady="off"
    )
    with pytest.raises(DeviceUnavailable, match="does not answer"):
        for number, _ in enumerate(stream):
            if number == 3:
                server.stop()


def test_wrong_feeds_are_refused_here(tiny_bundle, server):
    session = open_session(Bundle.load(tiny_bundle), "global", device=f"triton://127.0.0.1:{server.port}")
    with pytest.raises(ShapeMismatch):
        session.run({"frame": np.zeros((1, 10, 10, 3), np.uint8)})
    session.close()


def test_versions_stand_beside_each_other(tiny_bundle, tmp_path):
    bundle = Bundle.load(tiny_bundle)
    write_repository(bundle, tmp_path / "models")
    write_repository(bundle, tmp_path / "models", RepositoryOptions(version=2))
    folder = tmp_path / "models" / "tiny-color"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "config.pbtxt"]
