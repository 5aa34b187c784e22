"""Measure what one 720p image costs on both transports of ROS 2: CDR, publish, and the way to another process.

    python benchmarks/ros2_publish.py [--transport ros2|zenoh] [--images 300]

The figure of the promise is "publish": from the pixels to the return of the transport, the CDR included; 50th and
95th percentile in ms over all images, at 30 images a second, with a subscriber in a process of its own on loopback.
"latency" is from the stamp of the header to the arrival in that process.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
from steadyframe.runtime.robots.codec import decode
from steadyframe.runtime.robots.conversion import image_message
from steadyframe.runtime.robots.frames import IMAGE
from steadyframe.runtime.robots.topics import TopicAddress

_TOPIC = "benchmark/image"


def opened(address: str) -> Any:
    """Open the transport of an address."""
    if address.startswith("ros2"):
        from steadyframe.runtime.robots.dds_topics import DdsTransport

        return DdsTransport(TopicAddress.of(address, ()).domain)
    from steadyframe.runtime.robots.zenoh_topics import ZenohTransport

    read = TopicAddress.of(address, ("connect", "listen"))
    return ZenohTransport(read.domain, **read.options)


def listen(address: str) -> None:
    """Body of the other process: print the latency of every image, in ms, until the input ends."""
    latencies: list[float] = []
    sizes: set[int] = set()

    def take(content: bytes) -> None:
        arrived_ns = time.time_ns()
        stamp = decode(content, IMAGE).header.stamp
        latencies.append((arrived_ns - stamp.sec * 10**9 - stamp.nanosec) / 1e6)
        sizes.add(len(content))

    transport = opened(address)
    subscription = transport.subscribe(_TOPIC, IMAGE, take)
    print("ready", flush=True)
    sys.stdin.read()
    subscription.close()
    print(json.dumps({"latencies": latencies, "sizes": sorted(sizes)}))


def spread(samples: list[float]) -> str:
    """50th and 95th percentile."""
    ordered = sorted(samples)
    return f"p50 {statistics.median(ordered):.2f} ms, p95 {ordered[int(0.95 * len(ordered))]:.2f}"


def measure(name: str, images: int) -> None:
    """Publish so many images and print."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port = line.getsockname()[1]
    point = f"tcp/127.0.0.1:{port}"
    domain = 100 + port % 100
    own, other = (
        (f"ros2://?domain={domain}",) * 2
        if name == "ros2"
        else (f"zenoh://?listen={point}", f"zenoh://?connect={point}")
    )
    pixels = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    transport = opened(own)
    publication = transport.publish(_TOPIC, IMAGE)
    command = [sys.executable, __file__, "--listen", other]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        while not publication.has_readers:
            time.sleep(0.05)
        encoding, publishing = [], []
        for number in range(images + 30):
            started = time.perf_counter_ns()
            stamp_ns = time.time_ns()
            content = image_message(_TOPIC, pixels, stamp_ns, "camera", raw=True).encoded()
            encoded = time.perf_counter_ns()
            publication.put(content, stamp_ns)
            ended = time.perf_counter_ns()
            if number >= 30:  # warm-up
                encoding.append((encoded - started) / 1e6)
                publishing.append((ended - started) / 1e6)
            time.sleep(max(0.0, 1 / 30 - (ended - started) / 1e9))
        time.sleep(1.0)
        child.stdin.close()
        found = json.loads(child.stdout.read())
    received = found["latencies"][30:]
    print(f"{name}: {images} images of 1280x720, {len(content)} bytes")
    print(f"  CDR {spread(encoding)}")
    print(f"  publish {spread(publishing)}")
    print(f"  {len(found['latencies'])} of {images + 30} received, latency {spread(received)}")
    publication.close()
    transport.close()


def main() -> None:
    """Measure one transport or both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transport", choices=("ros2", "zenoh"))
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        listen(arguments.listen)
        return
    for name in (arguments.transport,) if arguments.transport else ("ros2", "zenoh"):
        measure(name, arguments.images)


if __name__ == "__main__":
    main()
