"""Starts the servers of the tests and benchmarks of live sources: a real RTSP server as a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
PROBE = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
    "Gst.init(None); assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
)
PACKAGES = (
    "apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly "
    "gstreamer1.0-rtsp"
)


def missing() -> str:
    """Why the RTSP server cannot run here; empty if it can."""
    if not sys.platform.startswith("linux") or not shutil.which(SYSTEM_PYTHON):
        return "the RTSP server of the tests runs on Linux"
    done = subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, timeout=60, check=False)
    return "" if done.returncode == 0 else f"no GStreamer RTSP server: {PACKAGES}"


def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class CameraProcess:
    """A camera server as a process of its own.

    Parameters
    ----------
    command : that starts it; it prints ``ready`` when it answers
    port : that it listens on
    options : of its command line
    """

    def __init__(self, command: list[str], port: int, options: dict[str, object]) -> None:
        self.port = port
        command = [*command, "--port", str(port)]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready_at = time.monotonic()
        if line.strip() != "ready":
            raise RuntimeError(f"the camera server did not start: {line}")

    def tell(self, command: str) -> None:
        """Send a command: freeze, stall, resume, or size WxH."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


class RtspServer(CameraProcess):
    """A camera at ``rtsp://127.0.0.1:PORT/cam`` that can be killed, frozen, stalled and resized."""

    def __init__(self, port: int = 0, **options: object) -> None:
        super().__init__([SYSTEM_PYTHON, str(SCRIPT)], port or free_port(), options)
        self.address = f"rtsp://127.0.0.1:{self.port}/cam"


class MjpegServer(CameraProcess):
    """A camera at ``http://127.0.0.1:PORT/cam.mjpg``."""

    def __init__(self, port: int = 0, **options: object) -> None:
        command = [sys.executable, str(SCRIPT.with_name("mjpeg_server.py"))]
        super().__init__(command, port or free_port(), options)
        self.address = f"http://127.0.0.1:{self.port}/cam.mjpg"


class SilentServer:
    """Accepts connections and says nothing: a connection that hangs."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)

    def close(self) -> None:
        """Hang up."""
        self._listener.close()
        for connection in self._connections:
            connection.close()
