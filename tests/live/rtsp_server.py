"""A real RTSP server that can fail in every way, for tests and benchmarks; run by the system's Python.

GStreamer's bindings belong to the system's interpreter, so this is a program of its own:

    /usr/bin/python3 tests/live/rtsp_server.py --port 8554 --size 320x240 [--user me:secret] [--latency-ms 0]

It serves rtsp://127.0.0.1:PORT/cam. Each frame carries the UNIX time at which it was made, in milliseconds, as a
strip of 48 black and white blocks along its upper edge (see `time_strip.py`). It reads commands from standard input,
one a line: ``freeze``, ``stall``, ``resume``, ``size 640x480``. It prints ``ready`` when it can be connected to.
Standard library and GStreamer only.
"""

import argparse
import pathlib
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

BITS = 48


def strip_row(milliseconds, width):
    """One row of the strip: block i is white where bit i of the time is set."""
    block = width // BITS
    row = b"".join((b"\xeb" if milliseconds >> bit & 1 else b"\x10") * block for bit in range(BITS))
    return row + b"\x80" * (width - len(row))


class Picture:
    """I420 frames: a texture that moves, and the strip."""

    def __init__(self, width, height, raw=None):
        self.width, self.height = width, height
        luma = width * height
        self.frames = []
        if raw:
            content = pathlib.Path(raw).read_bytes()
            step = luma * 3 // 2
            self.frames = [content[at : at + step] for at in range(0, len(content) - step + 1, step)]
        else:
            for shift in range(0, 64, 2):
                row = bytes(40 + (x + shift) * 3 % 160 for x in range(width))
                rows = b"".join(row[y % 32 :] + row[: y % 32] for y in range(height))
                self.frames.append(rows + b"\x80" * (luma // 2))

    def draw(self, index, milliseconds):
        """The frame of an index with a time in it."""
        frame = self.frames[index % len(self.frames)]
        band = strip_row(milliseconds, self.width) * max(8, self.height // 24)
        return band + frame[len(band) :]


class Camera:
    """Pushes frames into every pipeline that a client opened."""

    def __init__(self, options):
        self.width, self.height = map(int, options.size.split("x"))
        self.fps = options.fps
        self.raw = options.raw
        self.picture = Picture(self.width, self.height, self.raw)
        self.state = "resume"
        self.frozen = None
        self.sources = []

    def caps(self):
        return Gst.Caps.from_string(
            f"video/x-raw,format=I420,width={self.width},height={self.height},framerate={self.fps}/1"
        )

    def add(self, source):
        source.set_property("caps", self.caps())
        self.sources.append(source)

    def resize(self, text):
        self.width, self.height = map(int, text.split("x"))
        self.picture = Picture(self.width, self.height)
        for source in self.sources:
            source.set_property("caps", self.caps())

    def run(self):
        due, index = time.monotonic(), 0
        while True:
            due += 1 / self.fps
            time.sleep(max(0.0, due - time.monotonic()))
            if self.state == "stall":
                continue
            if self.state != "freeze" or self.frozen is None:
                self.frozen = self.picture.draw(index, int(time.time() * 1000))
                index += 1
            for source in list(self.sources):
                if source.emit("push-buffer", Gst.Buffer.new_wrapped(self.frozen)) != Gst.FlowReturn.OK:
                    self.sources.remove(source)


class Factory(GstRtspServer.RTSPMediaFactory):
    """Makes the pipeline of a client."""

    def __init__(self, camera, options):
        super().__init__()
        self.camera, self.options = camera, options
        self.set_shared(True)
        self.set_latency(options.latency_ms)

    def do_create_element(self, url):
        options = self.options
        rate = f"pass=quant quantizer={options.quantizer}" if options.quantizer else f"bitrate={options.kbps}"
        return Gst.parse_launch(
            "( appsrc name=camera is-live=true do-timestamp=true format=time block=false max-bytes=8000000 "
            f"! queue leaky=downstream max-size-buffers=2 ! x264enc tune=zerolatency speed-preset=ultrafast "
            f"key-int-max={options.gop} {rate} threads=1 ! h264parse "
            "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
        )

    def do_configure(self, media):
        self.camera.add(media.get_element().get_by_name("camera"))
        if self.options.capture_time:
            media.connect("prepared", _tell_capture_time)


def _tell_capture_time(media):
    """As cameras do by ONVIF: RTCP tells the time of capture, not that of sending."""
    for element in list(_all(media.get_element().get_parent())):
        if element.find_property("rtcp-sync-send-time"):
            element.set_property("rtcp-sync-send-time", False)


def _all(container):
    """Every element of a pipeline."""
    iterator = container.iterate_recurse()
    while True:
        state, element = iterator.next()
        if state != Gst.IteratorResult.OK:
            return
        yield element


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--gop", type=int, default=30)
    parser.add_argument("--kbps", type=int, default=4000)
    parser.add_argument("--quantizer", type=int, default=0, help="constant quality in place of a rate")
    parser.add_argument("--user", default="")
    parser.add_argument("--raw", default=None, help="a file of I420 frames of this size")
    parser.add_argument("--capture-time", type=int, default=1, help="1: RTCP tells when a frame was captured")
    parser.add_argument("--latency-ms", type=int, default=0)
    options = parser.parse_args()
    Gst.init(None)
    camera = Camera(options)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    factory = Factory(camera, options)
    if options.user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*options.user.split(":")), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        sys.exit(f"port {options.port} is taken")
    threading.Thread(target=camera.run, daemon=True).start()

    def listen():
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            if word == "size":
                camera.resize(rest)
            else:
                camera.state, camera.frozen = word, None

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
