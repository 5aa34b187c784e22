"""Measure what a message costs on both transports of ROS 2: CDR, publish, and the way to another process.

    python benchmarks/ros2_publish.py [--transport ros2|zenoh] [--images 300] [--skeletons 1000]

First images of 1280x720 at 30 a second, then skeletons of people at 200 a second, to a subscriber in a process of
its own on loopback. "publish" is from the pixels to the return of the transport, the CDR included; "latency" from the
stamp of the header to the arrival in the other process. 50th and 95th percentile in ms, after 30 messages of warm-up.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from steadyframe.runtime.robots.codec import buffer_of, decode, make
from steadyframe.runtime.robots.conversion import SKELETON, header_of, image_message
from steadyframe.runtime.robots.frames import IMAGE
from steadyframe.runtime.robots.topics import TopicAddress

_TOPIC = "benchmark/topic"
_WARM_UP = 30


def opened(address: str) -> Any:
    """Open the transport of an address."""
    if address.startswith("ros2"):
        from steadyframe.runtime.robots.dds_topics import DdsTransport

        return DdsTransport(TopicAddress.of(address, ()).domain)
    from steadyframe.runtime.robots.zenoh_topics import ZenohTransport

    read = TopicAddress.of(address, ("connect", "listen"))
    return ZenohTransport(read.domain, **read.options)


def listen(address: str, typename: str) -> None:
    """Body of the other process: print the latency of every message, in ms, when the input ends."""
    latencies: list[float] = []

    def take(content: bytes) -> None:
        arrived_ns = time.time_ns()
        stamp = decode(content, typename).header.stamp
        latencies.append((arrived_ns - stamp.sec * 10**9 - stamp.nanosec) / 1e6)

    transport = opened(address)
    subscription = transport.subscribe(_TOPIC, typename, take)
    print("ready", flush=True)
    sys.stdin.read()
    subscription.close()
    print(json.dumps(latencies))


def spread(samples: list[float]) -> str:
    """50th and 95th percentile."""
    ordered = sorted(samples)
    return f"p50 {statistics.median(ordered):.2f} ms, p95 {ordered[int(0.95 * len(ordered))]:.2f}"


def ends(name: str) -> tuple[str, str]:
    """Addresses of two participants that find each other on this machine only."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port = line.getsockname()[1]
    if name == "ros2":
        return (f"ros2://?domain={100 + port % 100}",) * 2
    return f"zenoh://?listen=tcp/127.0.0.1:{port}", f"zenoh://?connect=tcp/127.0.0.1:{port}"


def measure(name: str, typename: str, made: Callable[[int], bytes | bytearray], count: int, rate_hz: float) -> None:
    """Publish so many messages and print."""
    own, other = ends(name)
    transport = opened(own)
    publication = transport.publish(_TOPIC, typename)
    command = [sys.executable, __file__, "--listen", other, "--typename", typename]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        while not publication.has_readers:
            time.sleep(0.05)
        encoding, publishing = [], []
        for number in range(count + _WARM_UP):
            started = time.perf_counter_ns()
            stamp_ns = time.time_ns()
            content = made(stamp_ns)
            encoded = time.perf_counter_ns()
            publication.put(content, stamp_ns)
            ended = time.perf_counter_ns()
            if number >= _WARM_UP:
                encoding.append((encoded - started) / 1e6)
                publishing.append((ended - started) / 1e6)
            time.sleep(max(0.0, 1 / rate_hz - (ended - started) / 1e9))
        time.sleep(1.0)
        child.stdin.close()
        latencies = json.loads(child.stdout.read())
    print(f"{name}: {count} of {typename}, {len(content)} bytes, {rate_hz:g} a second")
    print(f"  CDR {spread(encoding)}; publish {spread(publishing)}")
    received = f"{len(latencies)} of {count + _WARM_UP} received"
    print(f"  {received}" + (f", latency {spread(latencies[_WARM_UP:])}" if len(latencies) > _WARM_UP else ""))
    publication.close()
    transport.close()


def image() -> Callable[[int], bytes | bytearray]:
    """Make raw images of 1280x720."""
    pixels = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    return lambda stamp_ns: image_message(_TOPIC, pixels, stamp_ns, "camera", raw=True).buffer()


def skeleton() -> Callable[[int], bytes | bytearray]:
    """Make skeletons of one person."""
    point = make("hri_msgs/msg/NormalizedPointOfInterest2D", x=0.5, y=0.25, c=0.9)
    return lambda stamp_ns: buffer_of(
        make(SKELETON, header=header_of(stamp_ns, "camera"), skeleton=[point] * 18), SKELETON
    )


def main() -> None:
    """Measure one transport or both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transport", choices=("ros2", "zenoh"))
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--skeletons", type=int, default=1000)
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    parser.add_argument("--typename", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        listen(arguments.listen, arguments.typename)
        return
    for name in (arguments.transport,) if arguments.transport else ("ros2", "zenoh"):
        measure(name, IMAGE, image(), arguments.images, 30.0)
        measure(name, SKELETON, skeleton(), arguments.skeletons, 200.0)


if __name__ == "__main__":
    main()
