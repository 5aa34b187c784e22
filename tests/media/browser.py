"""A page in headless Chromium that plays a video and reports what it sees.

Owns `played`. The page is served to the browser on 127.0.0.1, with ranges, as seeking needs them.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = """<!DOCTYPE html><video id=v muted preload=auto></video><script>
const video = document.getElementById('v');
const names = NAMES;
const waited = (name, action) => new Promise((good, bad) => {
  video.addEventListener(name, good, {once: true});
  video.addEventListener('error', () => bad(new Error(video.error.message)), {once: true});
  setTimeout(() => bad(new Error('no ' + name)), 8000);
  action();
});
const shown = () => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
};
const look = async name => {
  const found = {};
  await waited('loadeddata', () => { video.src = '/' + name; video.load(); });
  found.size = [video.videoWidth, video.videoHeight];
  found.duration = video.duration;
  found.audio = video.webkitAudioDecodedByteCount;
  await waited('seeked', () => { video.currentTime = 0.001; });
  found.first = shown();
  found.seek_ms = Infinity;
  for (let turn = 0; turn < 5; turn++) {  // the best of five: other programs may be busy
    await waited('seeked', () => { video.currentTime = 0.001; });
    const started = performance.now();
    await waited('seeked', () => { video.currentTime = Math.max(0, video.duration - 0.06); });
    found.seek_ms = Math.min(found.seek_ms, performance.now() - started);
  }
  found.last = shown();
  await waited('ended', () => { video.currentTime = 0; video.play(); });
  found.audio = video.webkitAudioDecodedByteCount;
  return found;
};
(async () => {
  const found = {};
  for (const name of names) {
    try { found[name] = await look(name); } catch (error) { found[name] = {error: String(error)}; }
  }
  await fetch('/done', {method: 'POST', body: JSON.stringify(found)});
})();
</script>"""


def played(folder: Path, names: list[str], timeout_s: float = 120.0) -> dict[str, Any]:
    """Play every file of a folder that is named; name -> size, duration, seek_ms, audio, first and last RGBA."""
    answer: dict[str, Any] = {}
    done = threading.Event()

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            """Keep quiet."""

        def do_POST(self) -> None:
            answer.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send(200, b"", "text/plain")
            done.set()

        def do_GET(self) -> None:
            if self.path == "/":
                return self._send(200, PAGE.replace("NAMES", json.dumps(names)).encode(), "text/html")
            path = folder / self.path[1:]
            if not path.is_file():
                return self._send(404, b"", "text/plain")
            content = path.read_bytes()
            part = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            kind = "video/webm" if path.suffix == ".webm" else "video/mp4"
            if part is None:
                return self._send(200, content, kind)
            first, last = int(part[1]), int(part[2] or len(content) - 1)
            return self._send(206, content[first : last + 1], kind, f"bytes {first}-{last}/{len(content)}")

        def _send(self, code: int, body: bytes, kind: str, part: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Accept-Ranges", "bytes")
            if part:
                self.send_header("Content-Range", part)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:  # it may still write while it ends
        line = [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--mute-audio",
            "--autoplay-policy=no-user-gesture-required",
            f"--user-data-dir={profile}",
            f"http://127.0.0.1:{server.server_port}/",
        ]
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            done.wait(timeout_s)
            browser.terminate()
            browser.wait(20)
    server.shutdown()
    server.server_close()
    return answer
