"""An HTTP camera that sends motion JPEG at its own pace and writes the time into each frame; a process of its own.

    python tests/live/mjpeg_server.py --port 8080 --size 1280x720 --fps 30

It serves http://127.0.0.1:PORT/cam.mjpg and prints ``ready``. A client that reads too slowly misses frames.
"""

from __future__ import annotations

import argparse
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
from time_strip import write_time


class Camera:
    """Draws and encodes a frame at a time."""

    def __init__(self, size_wh: tuple[int, int], fps: float, raw: str | None) -> None:
        width, height = size_wh
        if raw:
            yuv = np.fromfile(raw, np.uint8).reshape(-1, height * 3 // 2, width)
            self.frames = [cv2.cvtColor(one, cv2.COLOR_YUV2BGR_I420) for one in yuv]
        else:
            rng = np.random.default_rng(0)
            coarse = rng.integers(0, 255, (9, 32, 3), np.uint8)
            wide = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
            self.frames = [np.ascontiguousarray(wide[:, shift : shift + width]) for shift in range(0, width, 8)]
        self.fps = fps
        self.newest: tuple[int, bytes, float] = (0, b"", 0.0)
        self.changed = threading.Condition()
        cv2.setNumThreads(1)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        due, index = time.monotonic(), 0
        while True:
            due += 1 / self.fps
            time.sleep(max(0.0, due - time.monotonic()))
            pixels = self.frames[index % len(self.frames)].copy()
            made = time.time()
            write_time(pixels, int(made * 1000))
            _, jpeg = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, 80))
            index += 1
            with self.changed:
                self.newest = (index, jpeg.tobytes(), made)
                self.changed.notify_all()

    def after(self, index: int) -> tuple[int, bytes, float]:
        """Wait for a frame that is newer."""
        with self.changed:
            self.changed.wait_for(lambda: self.newest[0] > index)
            return self.newest


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--stamps", type=int, default=1, help="1: tell when a frame was captured, as mjpg-streamer")
    parser.add_argument("--raw", default=None, help="a file of I420 frames of this size")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    camera = Camera((width, height), options.fps, options.raw)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            index = 0
            try:
                while True:
                    index, jpeg, made = camera.after(index)
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n"
                    head += f"X-Timestamp: {made:.6f}\r\n" if options.stamps else ""
                    self.wfile.write(head.encode() + b"\r\n" + jpeg + b"\r\n")
            except OSError:
                return  # the client has hung up

        def log_message(self, *words: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
