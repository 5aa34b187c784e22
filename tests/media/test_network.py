"""What stands behind an http address is told by the server's answer."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import cards
import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import SourceNotFound
from steadyframe.runtime.io.sources import open_source


def numbered_jpeg(number: int) -> bytes:
    pixels = np.ascontiguousarray(cards.card(160, 120, number)[..., ::-1])
    return cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, 95))[1].tobytes()


class Pages(SimpleHTTPRequestHandler):
    """Files without ranges, a web page, a place behind a password."""

    def log_message(self, *words):
        """Keep quiet."""

    def do_GET(self):
        if self.path == "/page":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!DOCTYPE html><title>Sign in</title>")
        elif self.path == "/secret":
            self.send_error(401)
        elif self.path == "/bare.mjpg":
            self._send_bare_images()
        else:
            super().do_GET()

    def _send_bare_images(self):
        """Motion JPEG whose images have no headers at all, only a boundary between them."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        with contextlib.suppress(OSError):  # whoever has seen enough hangs up
            for number in range(200):
                content = numbered_jpeg(number)
                self.wfile.write(b"--next\r\n\r\n" + content + b"\r\n")
                time.sleep(0.03)


@pytest.fixture(scope="module")
def address(odd):
    folder = odd("plain.mp4").parent
    for name in ("camera.ts", "exif_6.jpg"):
        odd(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_finite_file_is_a_file(address):
    source = open_source(f"{address}/camera.ts")
    assert not source.info.live
    assert [cards.number_of(frame.pixels) for frame in source] == list(range(20))


def test_an_image_is_an_image(address):
    source = open_source(f"{address}/exif_6.jpg")
    assert source.info.independent
    assert [cards.is_upright(frame.pixels) for frame in source] == [True]


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/page", "NOT_MEDIA", "text/html"),
        ("/secret", "AUTH", "401"),
        ("/nothing.mp4", "NOT_FOUND", "404"),
        ("/plain.mp4", "NOT_MEDIA", "index is at its end"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_kind(address, path, kind, text):
    with pytest.raises(SourceNotFound, match=text) as caught:
        open_source(address + path)
    assert caught.value.kind == kind


def test_a_refused_connection_and_an_unencoded_password():
    with pytest.raises(SourceNotFound) as caught:
        open_source("http://127.0.0.1:9/clip.mp4")
    assert caught.value.kind == "REFUSED"
    with pytest.raises(SourceNotFound, match="# as %23") as caught:
        open_source("http://admin:p@ss:w/rd#1?@127.0.0.1:9/clip.mp4")
    assert "ss:w" not in str(caught.value)


def test_motion_jpeg_needs_no_headers_of_its_images(address):
    source = open_source(f"{address}/bare.mjpg")
    assert source.info.live
    frames = list(islice(source, 5))
    source.stop()
    source.close()
    numbers = [cards.number_of(frame.pixels) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert max(cards.worst_corner(frame.pixels) for frame in frames) <= 8
