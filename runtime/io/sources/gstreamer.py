"""CSI cameras and pipelines of the user's own, through GStreamer.

Owns `csi://` and `gst://`. They are read by OpenCV where it was built with GStreamer, as JetPack brings it, and else
by GStreamer's own appsink through PyGObject.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError, SourceNotFound
from ..address import redact
from ..failures import Failure
from ..info import Media
from ..live.feed import Feed, Taken
from ..live.policy import LivePolicy
from ..live.source import LiveSource
from .camera import CaptureFeed
from .capture import has_backend, open_capture
from .descriptor import SourceDescriptor

_TO_BGR = "! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
_PULL_NS = 200_000_000  # so often a wait looks whether it was cancelled
_START_NS = 5_000_000_000


def csi_pipeline(sensor: int) -> str:
    """Build the GStreamer pipeline of a CSI camera on Jetson; the newest frame wins already in its sink."""
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 "
        f"! nvvidconv ! video/x-raw,format=BGRx {_TO_BGR}"
    )


def own_pipeline(address: str) -> str:
    """Complete the pipeline behind ``gst://``: what it ends in is turned to BGR, and the newest frame wins."""
    pipeline = address.split("://", 1)[1].strip()
    return pipeline if "appsink" in pipeline else f"{pipeline} {_TO_BGR}"


def open_csi(address: str, *, sequence: bool = False, policy: LivePolicy | None = None) -> LiveSource:
    """Open ``csi://0``.

    Raises
    ------
    SourceNotFound
        If there is no such camera, or no GStreamer.
    """
    del sequence  # a camera is one anyway
    sensor = address.split("://", 1)[1] or "0"
    if not sensor.isdecimal():
        raise SourceNotFound(f"There is no CSI camera {address}", expected="a number, as in csi://0")
    todo = "See that the camera is seated and that nvargus-daemon runs"
    return LiveSource(address, _connector(address, csi_pipeline(int(sensor)), todo), policy=policy)


def open_pipeline(address: str, *, sequence: bool = False, policy: LivePolicy | None = None) -> LiveSource:
    """Open ``gst://PIPELINE``, such as one that decodes in hardware.

    Raises
    ------
    SourceNotFound
        If the pipeline does not start, or there is no GStreamer.
    """
    del sequence  # a pipeline is one anyway
    todo = "Try the pipeline with gst-launch-1.0, and `fakesink` at its end"
    return LiveSource(address, _connector(address, own_pipeline(address), todo), policy=policy)


def _connector(address: str, pipeline: str, todo: str) -> Callable[[], Feed]:
    """Choose who reads a pipeline."""
    shown = redact(address)
    if has_backend(cv2.CAP_GSTREAMER):

        def by_opencv() -> Feed:
            capture = open_capture(pipeline, cv2.CAP_GSTREAMER)
            if capture is None:
                raise SourceNotFound(f"{shown} cannot be opened", todo=todo)
            return CaptureFeed(capture)

        return by_opencv
    if importlib.util.find_spec("gi") is None:
        raise SourceNotFound(
            f"{shown} is read through GStreamer; this OpenCV was built without it, and PyGObject is not installed",
            expected="OpenCV with GStreamer, as JetPack brings it, or PyGObject",
            todo="apt install python3-gi gir1.2-gst-plugins-base-1.0, or pip install PyGObject; or use a USB camera",
        )
    return lambda: AppSinkFeed(pipeline, shown, todo)


class AppSinkFeed:
    """A pipeline that ends in an appsink, read through PyGObject.

    Parameters
    ----------
    pipeline : as gst-launch-1.0 takes it, with an appsink that gets BGR
    shown : address for messages
    todo : what to do if it does not start

    Raises
    ------
    SourceNotFound
        If it does not start; the text has GStreamer's own words.
    """

    media: Media | None = None
    frozen_frames = 60

    def __init__(self, pipeline: str, shown: str, todo: str) -> None:
        self._gst = _gstreamer()
        self._shown = shown
        self._cancelled = False
        self.fps: float | None = None
        try:
            self._pipeline = self._gst.parse_launch(pipeline)
        except self._glib_error as error:
            raise SourceNotFound(f"{shown} is no pipeline: {_words(error)}", todo=todo) from None
        sinks = self._pipeline.iterate_sinks()
        self._sink = None
        while True:
            state, element = sinks.next()
            if state != self._gst.IteratorResult.OK:
                break
            if element.get_factory().get_name() == "appsink":
                self._sink = element
        if self._sink is None:
            raise SourceNotFound(f"{shown} has no appsink", todo=todo)
        self._pipeline.set_state(self._gst.State.PLAYING)
        change, _, _ = self._pipeline.get_state(_START_NS)
        failed = self._error()
        if failed or change == self._gst.StateChangeReturn.FAILURE:
            words = failed or "it does not start"
            self.close()
            raise SourceNotFound(f"{shown} cannot be opened: {words}", todo=todo, kind=Failure.OTHER.name)

    @property
    def _glib_error(self) -> type[BaseException]:
        found: type[BaseException] = importlib.import_module("gi.repository.GLib").Error
        return found

    def __iter__(self) -> Iterator[Taken]:
        """Take the newest sample as it comes.

        Raises
        ------
        SourceError
            If the pipeline fails.
        """
        while not self._cancelled:
            sample = self._sink.emit("try-pull-sample", _PULL_NS)  # type: ignore[union-attr]
            now_ns = time.monotonic_ns()
            if sample is not None:
                yield Taken(self._pixels(sample), now_ns - self._age_ns(sample.get_buffer()))
                continue
            words = self._error()
            if words:
                raise SourceError(f"{self._shown} stopped: {words}", kind=Failure.LOST.name)
            if self._sink.get_property("eos"):  # type: ignore[union-attr]
                return

    def cancel(self) -> None:
        """End the wait for a sample."""
        self._cancelled = True

    def close(self) -> None:
        """Stop the pipeline."""
        self._pipeline.set_state(self._gst.State.NULL)

    def _age_ns(self, buffer: Any) -> int:
        """Age of a buffer by the pipeline's own clock; 0 where it has none, or one of another time line."""
        clock = self._pipeline.get_clock()
        if clock is None or buffer.pts == self._gst.CLOCK_TIME_NONE:
            return 0
        age_ns = int(clock.get_time() - self._pipeline.get_base_time() - buffer.pts)
        return age_ns if 0 <= age_ns < 1_000_000_000 else 0

    def _pixels(self, sample: Any) -> NDArray[np.uint8]:
        """Copy the pixels of a sample, (H, W, 3) BGR, of the size that this very sample has."""
        structure = sample.get_caps().get_structure(0)
        height, width = structure.get_value("height"), structure.get_value("width")
        buffer = sample.get_buffer()
        good, mapped = buffer.map(self._gst.MapFlags.READ)
        if not good:
            raise SourceError(f"{self._shown} gave a buffer that cannot be read", kind=Failure.OTHER.name)
        try:
            rows = np.frombuffer(mapped.data, np.uint8)
            stride = -(-width * 3 // 4) * 4  # GStreamer's rows begin at multiples of four bytes
            return np.array(rows[: stride * height].reshape(height, stride)[:, : width * 3]).reshape(height, width, 3)
        finally:
            buffer.unmap(mapped)

    def _error(self) -> str:
        """Return what has failed, in the words of the pipeline; empty if nothing has."""
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        return "" if message is None else _words(message.parse_error()[0])


def _words(error: Any) -> str:
    """Words of a GLib error, without an address that may hold a password."""
    return redact(str(getattr(error, "message", error)))[:200]


def _gstreamer() -> Any:
    """Load and start GStreamer."""
    gi = importlib.import_module("gi")
    gi.require_version("Gst", "1.0")
    gst = importlib.import_module("gi.repository.Gst")
    with contextlib.suppress(ImportError, ValueError):  # without its types, appsink is used by its signals alone
        gi.require_version("GstApp", "1.0")
        importlib.import_module("gi.repository.GstApp")
    gst.init(None)
    return gst


csi_descriptor = SourceDescriptor(open=open_csi, live=True)
descriptor = SourceDescriptor(open=open_pipeline, live=True)
