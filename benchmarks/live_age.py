"""The true age of results of a live source against the told one.

A camera server in another process writes the time into every frame, and serves it by RTSP (H.264) or as motion JPEG.
The age of a result is read off its own frame when the result is in the caller's hands; the told age is
`result.age_now_ms()` at that moment. Beside it, the floor: the age of a decoded frame that nothing is done with.
With `--slow 5` every run of the network takes five times as long.

    python benchmarks/live_age.py --data ../shared/data --seconds 30
    python benchmarks/live_age.py --data ../shared/data --seconds 30 --slow 5 --max-age 200
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "live"))

import numpy as np
from servers import CameraProcess, MjpegServer, RtspServer
from time_strip import time_ms_of

import steadyframe as sf

WARM_UP_S = 4.0  # results of so long are not counted


def raw_clip(clip: str, size_wh: tuple[int, int], folder: Path, frames: int = 90) -> Path:
    """Write frames of a clip as I420, for the servers."""
    import cv2

    path = folder / "clip.i420"
    with path.open("wb") as file:
        for place, frame in enumerate(sf.open_source(clip)):
            if place == frames:
                break
            pixels = cv2.resize(frame.pixels, size_wh, interpolation=cv2.INTER_AREA)
            file.write(cv2.cvtColor(pixels, cv2.COLOR_BGR2YUV_I420).tobytes())
    return path


def floor_of(address: str, seconds: float) -> list[float]:
    """Measure the true ages of decoded frames."""
    ages: list[float] = []
    source = sf.open_source(address)
    started = time.monotonic()
    for frame in source:
        if time.monotonic() - started > WARM_UP_S / 2:
            ages.append(time.time() * 1000 - time_ms_of(frame.luma))
        if time.monotonic() - started > seconds:
            source.stop()
    source.close()
    return ages


def ages_of(address: str, options: argparse.Namespace, task: str) -> tuple[list[tuple[float, float]], sf.Stats]:
    """Pairs of true and told age of results, and the figures of the stream."""
    slow = options.slow
    opened = sf.testing.open_task(
        task, lambda _, session: session if slow == 1 else sf.testing.SlowSession(session, slow),
        precision=options.precision, device=options.device,
    )  # fmt: skip
    stage = opened.make_stage(sf.SteadyOptions(mode=options.steady), live=True)
    stream = sf.Stream(address, sf.Processor.owning(opened, stage, live=True), max_age_ms=options.max_age)
    pairs: list[tuple[float, float]] = []
    started = time.monotonic()
    with stream:
        for result in stream:
            told_ms = result.age_now_ms()
            true_ms = time.time() * 1000 - time_ms_of(result.frame.luma)
            if time.monotonic() - started > WARM_UP_S:
                pairs.append((true_ms, told_ms))
            if time.monotonic() - started > options.seconds:
                break
    return pairs, stream.stats


def spread(values: list[float]) -> str:
    if not values:
        return "-"
    p50, p95, largest = np.percentile(values, (50, 95, 100))
    return f"{p50:.0f} / {p95:.0f} / {largest:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="folder of the clips; without it a drawn pattern")
    parser.add_argument("--clip", default="")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--tasks", nargs="+", default=["colorize", "pose"])
    parser.add_argument("--servers", nargs="+", default=["rtsp", "mjpeg"])
    parser.add_argument("--steady", default="keyframe")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--slow", type=float, default=1.0)
    parser.add_argument("--max-age", type=float, default=None)
    options = parser.parse_args()
    size_wh = tuple(map(int, options.size.split("x")))
    print(
        f"{options.size}, 30 fps, steady {options.steady}, {options.precision}, network {options.slow:g} times slower"
    )
    print("server  task      results  true age p50/p95/largest ms  told p50/p95/largest  told - true p50/p95 of |.|"
          "  decoded dropped late  lowered")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        raw: dict[str, object] = {}
        found = sorted(map(str, options.data.glob("videos/**/*.mp4"))) if options.data else []
        clip = options.clip or next(iter(found), "")
        if clip:
            raw = {"raw": raw_clip(clip, size_wh, Path(name))}
        for kind in options.servers:
            server: CameraProcess = (RtspServer if kind == "rtsp" else MjpegServer)(size=options.size, **raw)
            time.sleep(1.0)
            address: str = server.address  # type: ignore[attr-defined]
            print(
                f"{kind:7s} {'decoder':9s} {'':7s}  {spread(floor_of(address, min(10, options.seconds)))}", flush=True
            )
            for task in options.tasks:
                pairs, stats = ages_of(address, options, task)
                errors = [abs(told - true) for true, told in pairs]
                middle = np.median([told - true for true, told in pairs]) if pairs else float("nan")
                print(
                    f"{kind:7s} {task:9s} {len(pairs):7d}  {spread([true for true, _ in pairs])}  "
                    f"{spread([told for _, told in pairs])}  {middle:+.1f}, {spread(errors)}  "
                    f"{stats.decoded} {stats.dropped} {stats.late}  {stats.lowered}",
                    flush=True,
                )
            server.kill()


if __name__ == "__main__":
    main()
