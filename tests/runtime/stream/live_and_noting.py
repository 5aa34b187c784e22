"""A live source at a pace of our own, and a sink that notes what happened to it."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
from steadyframe.runtime.errors import (
    SinkError,
)
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import Signal, SourceInfo
from steadyframe.runtime.io.sinks.sink import StopStream


class Camera:
    """A live source at a given pace, which may fall silent for good, or change its size."""

    def __init__(self, *, fps=200.0, frames=None, error=None, small_from=None, gap_at=None):
        self.info = SourceInfo("camera", live=True, fps=fps)
        self.signal = Signal.LIVE
        self.closed = False
        self._frames, self._error, self._small_from, self._gap_at = frames, error, small_from, gap_at
        self._stop = threading.Event()

    def __iter__(self):
        for index in itertools.count():
            if index == self._frames:
                break
            if self._stop.wait(1 / self.info.fps):
                return
            size = 16 if self._small_from is None or index < self._small_from else 8
            later = 5_000_000_000 if self._gap_at is not None and index >= self._gap_at else 0
            now = time.monotonic_ns() + later
            yield Frame(np.full((size, size, 3), index % 256, np.uint8), index, now, "camera", now)
        if self._error is not None:
            raise self._error

    def stop(self):
        self._stop.set()

    def close(self):
        self.closed = True


class Notebook:
    """A sink that notes what happened to it."""

    address = "notebook"
    wants = "every"

    def __init__(self, *, in_callers_thread=False, fails_at=None, stops_at=None, slow_s=0.0):
        self.in_callers_thread = in_callers_thread
        self.indices, self.ended, self.threads = [], [], set()
        self._fails_at, self._stops_at, self._slow_s = fails_at, stops_at, slow_s

    def write(self, result):
        if result.frame.index == self._fails_at:
            raise SinkError("full")
        if result.frame.index == self._stops_at:
            raise StopStream
        time.sleep(self._slow_s)
        self.threads.add(threading.current_thread())
        self.indices.append(result.frame.index)

    def close(self):
        self.ended.append("closed")

    def discard(self):
        self.ended.append("discarded")


def no_threads_left():
    return not [thread for thread in threading.enumerate() if thread.name.startswith("steadyframe")]
