"""CSI cameras and pipelines: OpenCV's GStreamer, else PyGObject's appsink."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from steadyframe.runtime.errors import SourceNotFound
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.io.sources.capture import has_backend
from steadyframe.runtime.io.sources.gstreamer import csi_pipeline, own_pipeline

WITHOUT_OPENCVS = pytest.mark.skipif(has_backend(cv2.CAP_GSTREAMER), reason="this OpenCV has GStreamer")
SYSTEM = Path("/usr/lib/python3/dist-packages")
READ = """
import sys
sys.path.append({path!r})
from steadyframe.runtime.io.sources import open_source
source = open_source({address!r})
sizes = set()
for place, frame in enumerate(source):
    sizes.add(frame.size_wh)
    if place == 5:
        print(frame.size_wh, frame.pixels[5, 5].tolist(), sizes, frame.captured_ns > 0)
        source.stop()
source.close()
"""


@WITHOUT_OPENCVS
@pytest.mark.skipif(importlib.util.find_spec("gi") is not None, reason="PyGObject is installed")
@pytest.mark.parametrize("address", ["csi://0", "gst://rtspsrc location=rtsp://me:secret@camera/1 ! decodebin"])
def test_pipelines_without_gstreamer_say_what_is_missing(address, capfd):
    with pytest.raises(SourceNotFound, match="built without it") as raised:
        open_source(address)
    assert "PyGObject" in str(raised.value.expected)
    assert "secret" not in str(raised.value)
    assert capfd.readouterr().err == ""


def bindings_of_the_system():
    """The system's PyGObject, if this Python can load it."""
    version = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    found = any(SYSTEM.glob(f"gi/_gi.{version}*"))
    if not found:
        reason = "no python3-gi of this Python's version"
        if os.environ.get("CI") and sys.version_info[:2] == (3, 11):  # Debian 12's
            pytest.fail(reason)
        pytest.skip(reason)
    return str(SYSTEM)


@WITHOUT_OPENCVS
@pytest.mark.parametrize("width", [320, 322])  # rows of 966 bytes are padded to 968
def test_an_appsink_gives_whole_frames_in_bgr(width):
    path = bindings_of_the_system()
    address = f"gst://videotestsrc is-live=true pattern=snow ! video/x-raw,width={width},height=240,framerate=30/1"
    done = subprocess.run(
        [sys.executable, "-c", READ.format(path=path, address=address)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"({width}, 240)"), done.stdout


@WITHOUT_OPENCVS
def test_a_pipeline_that_does_not_start_says_why_without_its_password():
    path = bindings_of_the_system()
    for address, words in (
        ("gst://nosuchelement", "no element"),
        ("gst://rtspsrc location=rtsp://me:hunter2@127.0.0.1:9/x ! decodebin", "onnect"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", READ.format(path=path, address=address)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert words in done.stderr
        assert "hunter2" not in done.stderr.split("SourceNotFound")[-1]


def test_a_pipeline_of_ones_own_hands_over_bgr_unless_it_says_how():
    pipeline = own_pipeline("gst://filesrc location=a.mp4 ! decodebin")
    assert pipeline.startswith("filesrc location=a.mp4 ! decodebin ! videoconvert")
    assert pipeline.endswith("format=BGR ! appsink drop=true max-buffers=1 sync=false")
    assert own_pipeline("gst://videotestsrc ! appsink") == "videotestsrc ! appsink"


def test_the_csi_pipeline_hands_over_bgr_and_keeps_only_the_newest():
    pipeline = csi_pipeline(1)
    assert "sensor-id=1" in pipeline
    assert pipeline.endswith("appsink drop=true max-buffers=1 sync=false")
    assert "format=BGR !" in pipeline


def test_csi_with_something_else_than_a_number_is_refused():
    with pytest.raises(SourceNotFound, match="a number"):
        open_source("csi://front")
