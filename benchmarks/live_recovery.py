"""A camera that is killed and started again, many times, during one stream.

A real RTSP server (GStreamer's, see CONTRIBUTING) writes the time into its frames. It is killed without a warning,
stays away for a random time, and starts again on the same port. Measured: the time from the moment it answers to the
next result, the true age of every frame, frames of before the kill, black frames, threads and descriptors at the end.

    python benchmarks/live_recovery.py --restarts 50
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "live"))

import cv2
from servers import RtspServer
from time_strip import time_ms_of

import steadyframe as sf

SETTLED_S = 1.0  # a stream that is back is watched for so long before the next kill


class Results:
    """What a stream delivers, read in a thread."""

    def __init__(self, stream: sf.Stream) -> None:
        # when (monotonic s), true age when its frame reached the stream (ms), mean luma, made at (UNIX ms)
        self.rows: list[tuple[float, float, float, float]] = []
        self._stream = stream
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for result in self._stream:
            luma, made_ms = result.frame.luma, time_ms_of(result.frame.luma)
            worked_ms = result.age_now_ms() - result.timings_ms["decode"]
            age_ms = time.time() * 1000 - made_ms - worked_ms
            self.rows.append((time.monotonic(), age_ms, float(luma.mean()), made_ms))

    def after(self, moment: float, timeout_s: float) -> float | None:
        """When the first result after a moment came; None if none came in time."""
        while time.monotonic() - moment < timeout_s:
            if self.rows and self.rows[-1][0] > moment:
                return next(row[0] for row in self.rows if row[0] > moment)
            time.sleep(0.002)
        return None


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--gop", type=int, default=15)
    parser.add_argument("--bundle", default="colorize")
    parser.add_argument("--away", type=float, nargs=2, default=(0.1, 3.0), metavar="S", help="how long it is away")
    options = parser.parse_args()
    draw = random.Random(0)
    server = RtspServer(size=options.size, gop=options.gop)
    stream = sf.open_stream(options.bundle, server.address, steady="keyframe")
    results = Results(stream)
    assert results.after(time.monotonic(), 30.0), "no first result"
    time.sleep(2.0)
    threads, files = threading.active_count(), open_files()
    took, lost, stale = [], 0, 0
    for place in range(options.restarts):
        server.kill()
        killed_ms, before = time.time() * 1000, len(results.rows)
        time.sleep(draw.uniform(*options.away))
        server = RtspServer(port=server.port, size=options.size, gop=options.gop)
        back = results.after(server.ready_at, 20.0)
        if back is None:
            lost += 1
            continue
        took.append(back - server.ready_at)
        time.sleep(SETTLED_S)
        stale += sum(row[3] < killed_ms for row in results.rows[before:] if row[0] > server.ready_at)
        print(f"{place + 1:3d}: back {took[-1]:.2f} s after it answers", file=sys.stderr, flush=True)
    time.sleep(1.0)
    ages = sorted(row[1] for row in results.rows)
    black = sum(row[2] < 30 for row in results.rows)
    took.sort()
    print(f"OpenCV {cv2.__version__}, {options.bundle}, {options.size}, a keyframe every {options.gop} frames")
    print(f"restarts {options.restarts}, not back {lost}")
    print(
        f"back after: median {statistics.median(took):.2f} s, p95 {took[int(len(took) * 0.95) - 1]:.2f} s, "
        f"largest {took[-1]:.2f} s; over 2 s: {sum(one > 2 for one in took)}"
    )
    print(
        f"results {len(ages)}; true age of their frames when they reached the stream: p50 {ages[len(ages) // 2]:.0f} "
        f"ms, p99 {ages[int(len(ages) * 0.99)]:.0f} ms, largest {ages[-1]:.0f} ms"
    )
    print(
        f"made before the kill and delivered after it: {stale}; older than 1 s: {sum(age > 1000 for age in ages)}; "
        f"black: {black}"
    )
    print(f"threads {threads} -> {threading.active_count()}, descriptors {files} -> {open_files()}")
    print(f"stalls {stream.stats.stalls}, reconnects {stream.stats.reconnects} in the last hour")
    stream.close()
    server.kill()


if __name__ == "__main__":
    main()
