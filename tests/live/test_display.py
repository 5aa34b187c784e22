"""The window, on a real X server: its size, its keys, its X, and what it shows without a signal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

TOOLS = ("Xvfb", "xdotool")
PROGRAM = """
import sys, threading, time
import cv2, numpy as np
from steadyframe.runtime.errors import SteadyframeError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import SourceInfo
from steadyframe.runtime.io.live.signal import Signal, SignalLog
from steadyframe.runtime.io.failures import Failure
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.task import Image, Placement
from steadyframe.runtime.temporal.stage import EveryFrame


class Camera:
    info = SourceInfo("camera", live=True)
    def __init__(self):
        self.signal_log, self.stopped = SignalLog(), threading.Event()
    signal = property(lambda self: self.signal_log.signal)
    def __iter__(self):
        self.signal_log.change(Signal.LIVE)
        for index in range(5):
            yield Frame(np.full((480, 640, 3), 90, np.uint8), index, source="camera")
            time.sleep(0.03)
        self.signal_log.change(Signal.NO_SIGNAL, Failure.STALLED, "no frame for 2 s")
        self.stopped.wait(60)
    def stop(self):
        self.stopped.set()
    def close(self):
        pass


class Same:
    name, device, propagated = "same", "none", None
    def preprocess(self, frame, motion=None):
        return {"frame": frame.pixels}, Placement(frame)
    def infer(self, feeds):
        return feeds
    def postprocess(self, outputs, placement):
        return Image(outputs["frame"])
    def close(self):
        pass


stream = Stream(Camera(), Processor(Same(), EveryFrame()), ["display://"])
def watch():
    time.sleep(1.5)
    print(cv2.getWindowImageRect("steadyframe - camera")[2:], stream.signal.name, flush=True)
threading.Thread(target=watch, daemon=True).start()
print("frames", stream.run().frames, flush=True)
"""


@pytest.fixture
def screen():
    """An X server without a person before it."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        reason = f"{', '.join(missing)} not installed; Debian: apt-get install xvfb xdotool"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=(write,), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    yield f":{number}"
    server.kill()
    server.wait()


CLOSE = """
import ctypes, sys
x11 = ctypes.CDLL("libX11.so.6")
x11.XOpenDisplay.restype = ctypes.c_void_p
display = ctypes.c_void_p(x11.XOpenDisplay(None))
x11.XInternAtom.restype = ctypes.c_ulong

class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("sent", ctypes.c_int),
                ("display", ctypes.c_void_p), ("window", ctypes.c_ulong), ("kind", ctypes.c_ulong),
                ("format", ctypes.c_int), ("data", ctypes.c_long * 5), ("rest", ctypes.c_long * 24)]

atom = lambda name: x11.XInternAtom(display, name, False)
window = int(sys.argv[1])
message = Message(33, 0, 1, display, window, atom(b"WM_PROTOCOLS"), 32)
message.data[0] = atom(b"WM_DELETE_WINDOW")
x11.XSendEvent(display, ctypes.c_ulong(window), False, ctypes.c_long(0), ctypes.byref(message))
x11.XFlush(display)
"""  # what a window manager sends when somebody clicks on the X


def shown(screen, *actions):
    """Run the program on a screen; do things to its window while it has no signal; returns what it printed."""
    environment = {**os.environ, "DISPLAY": screen, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first, process.communicate(timeout=20)[1]
    find = ["xdotool", "search", "--name", "steadyframe - camera"]
    windows = subprocess.run(find, env=environment, capture_output=True, text=True, check=False).stdout.split()
    for action in actions:
        words = [word.replace("WINDOW", windows[-1]) for word in action]
        command = [sys.executable, "-c", CLOSE, *words[1:]] if words[0] == "X" else ["xdotool", *words]
        subprocess.run(command, env=environment, check=True)
    started = time.monotonic()
    try:
        rest, errors = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, errors
    return first, rest, time.monotonic() - started


@pytest.mark.parametrize(
    "action",
    [("key", "--window", "WINDOW", "q"), ("key", "--window", "WINDOW", "Escape"), ("X", "WINDOW")],
    ids=["q", "ESC", "X"],
)
def test_a_window_ends_the_run_also_without_a_frame(screen, action):
    first, rest, took_s = shown(screen, ("windowfocus", "WINDOW"), action)
    assert first.split(")")[0] == "(640, 480", first  # a clip of 640x480 is shown at 640x480
    assert "NO_SIGNAL" in first
    assert rest.startswith("frames ")
    assert took_s < 10  # the program would wait for a minute
