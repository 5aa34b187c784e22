"""A small but real bundle, tasks, clips and a camera server for the tests of the runtime."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opencv_settings import quiet
from steadyframe.runtime.tasks.task import Image, Placement
from steadyframe.runtime.temporal.dense import DenseStage
from steadyframe.runtime.temporal.options import PropagatedOutput
from steadyframe.runtime.temporal.stage import EveryFrame


def _global_graph() -> onnx.ModelProto:
    """frame (1, 224, 224, 3) uint8 -> global_features (1, 3): the mean color, 0..1."""
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
    """frame (1, h, w, 3) uint8, global_features (1, 3) -> ab (1, h/2, w/2, 2): color differences, halved."""
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


class Negative:
    """A task that inverts images, and notes what was asked of it; it may be slow, and fail at an index."""

    name = "negative"
    propagated = PropagatedOutput(name="inverted")
    device = "cpu"

    def __init__(self, *, slow_s: float = 0.0, fails_at: int | None = None) -> None:
        self.slow_s = slow_s
        self.fails_at = fails_at
        self.restarts: list[int] = []  # frames that forgot those before
        self.prepared: list[int] = []
        self.inferred: list[int] = []

    def make_stage(self, options, *, live=False):
        return EveryFrame() if options.mode == "off" else DenseStage(self.propagated, options)

    def preprocess(self, frame: Frame, motion=None):
        self.prepared.append(frame.index)
        if motion is None or motion.restart:
            self.restarts.append(frame.index)
        return {"frame": frame.pixels, "index": np.array(frame.index)}, Placement(frame)

    def infer(self, feeds):
        index = int(feeds["index"])
        if index == self.fails_at:
            raise ValueError(f"frame {index}")
        time.sleep(self.slow_s)
        self.inferred.append(index)
        return {"inverted": 255 - feeds["frame"]}

    def postprocess(self, outputs, placement):
        return Image(outputs["inverted"])

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def negative() -> type[Negative]:
    """The class of a task without a network."""
    return Negative


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a real clip of the test pattern."""

    def make(name: str = "clip.mkv", frames: int = 30, size: str = "160x120", fps: float = 25.0) -> Path:
        path = tmp_path / name
        width, height = map(int, size.split("x"))
        with quiet():  # FFmpeg asks only once how much it shall say, at its first video
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
        assert writer.isOpened()
        for frame in open_source(f"test://?size={size}&frames={frames}"):
            writer.write(frame.pixels)
        writer.release()
        return path

    return make


class CameraServer:
    """A network camera: motion JPEG over HTTP, on a port of its own, that can be unplugged and plugged in again."""

    def __init__(self, port: int = 0, *, fps: float = 100.0, size: str = "160x120") -> None:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    camera.send_frames(self.wfile)
                except OSError:
                    return  # the client has hung up

            def log_message(self, *args: object) -> None:
                """Keep quiet."""

        self._plugged = True
        self._frames = list(open_source(f"test://?size={size}&frames=40"))
        self._pause_s = 1 / fps
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.address = f"http://127.0.0.1:{self.port}/stream.mjpg"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def send_frames(self, wire) -> None:
        index = 0
        while self._plugged:
            _, jpeg = cv2.imencode(".jpg", self._frames[index % len(self._frames)].pixels)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.size}\r\n\r\n"
            wire.write(head.encode() + jpeg.tobytes() + b"\r\n")
            index += 1
            time.sleep(self._pause_s)

    def unplug(self) -> None:
        self._plugged = False
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def camera_server() -> Iterator[Callable[..., CameraServer]]:
    """Start network cameras; all are unplugged at the end."""
    started: list[CameraServer] = []

    def start(**options) -> CameraServer:
        started.append(CameraServer(**options))
        return started[-1]

    yield start
    for server in started:
        if server._plugged:
            server.unplug()
