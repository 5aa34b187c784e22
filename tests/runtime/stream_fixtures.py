"""Tasks, clips and a camera server for the tests of streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.streaming import open_source
from steadyframe.runtime.task import Picture, Placement


class Negative:
    """A task that inverts pictures, and notes what was asked of it; it may be slow, and fail at an index."""

    name = "negative"
    carried = "inverted"
    device = "cpu"

    def __init__(self, *, slow_s: float = 0.0, fails_at: int | None = None) -> None:
        self.slow_s = slow_s
        self.fails_at = fails_at
        self.resets: list[int] = []
        self.prepared: list[int] = []
        self.inferred: list[int] = []
        self._busy = 0

    def preprocess(self, frame: Frame):
        self.prepared.append(frame.index)
        return {"frame": frame.pixels, "index": np.array(frame.index)}, Placement(frame)

    def infer(self, feeds):
        index = int(feeds["index"])
        self._busy += 1
        if index == self.fails_at:
            raise ValueError(f"frame {index}")
        time.sleep(self.slow_s)
        self.inferred.append(index)
        self._busy -= 1
        return {"inverted": 255 - feeds["frame"]}

    def postprocess(self, outputs, placement):
        return Picture(outputs["inverted"])

    def reset(self) -> None:
        assert self._busy == 0, "reset while a frame was under way"
        self.resets.append(len(self.inferred))

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
