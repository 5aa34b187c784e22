"""Three inputs in one process on one set of sessions: one frozen, one dead, and one that must not notice.

The rate of the third input is measured alone first, then beside the others, and both once more; each for a while.
The frozen camera is a real RTSP server that was told to freeze; at the address of the dead one nothing listens.

    python benchmarks/live_sources.py --seconds 20
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "live"))

from servers import RtspServer, free_port

import steadyframe as sf

LIMIT = 0.95


def rate_of(sources: list[str], place: int, options: argparse.Namespace) -> tuple[float, list[str]]:
    """Measure the results a second of one input, and give the states of all at the end."""
    policy = sf.LivePolicy(wait=True, frozen_frames=20)
    with sf.open_streams(options.bundle, sources, steady="keyframe", precision="fp32", policy=policy) as group:
        count, started = 0, 0.0
        for where, _ in group:
            now = time.monotonic()
            if where != place:
                continue
            if not started:
                started = now + options.warm_up
            count += now > started
            if now - started > options.seconds:
                states = [f"{stream.stats.signal} {stream.stats.cause}".strip() for stream in group.streams]
                break
    return count / options.seconds, states


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="colorize")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--warm-up", type=float, default=8.0)
    options = parser.parse_args()
    good = RtspServer(size=options.size, gop=30)
    frozen = RtspServer(size=options.size, gop=75, quantizer=20)
    frozen.tell("freeze")
    dead = f"rtsp://127.0.0.1:{free_port()}/cam"
    ratios = []
    for _ in range(2):
        alone, _ = rate_of([good.address], 0, options)
        beside, states = rate_of([frozen.address, dead, good.address], 2, options)
        ratios.append(beside / alone)
        print(
            f"alone {alone:.2f} fps, beside the others {beside:.2f} fps, ratio {ratios[-1]:.3f}; {states}", flush=True
        )
    print(f"smallest ratio {min(ratios):.3f}" + ("" if min(ratios) >= LIMIT else f", below {LIMIT}"))
    good.kill()
    frozen.kill()


if __name__ == "__main__":
    main()
