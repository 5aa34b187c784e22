"""A process of its own that listens to skeletons on a transport, checks them, and prints what it found.

``listener.py ADDRESS TOPIC COUNT``; ADDRESS as of a source. It reads bytes only: what a message should be is computed
here, with a type store of its own.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from steadyframe.runtime.robots.definitions import DEFINITIONS

SKELETON = "hri_msgs/msg/Skeleton2D"


def main() -> None:
    address, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if address.startswith("ros2"):
        from steadyframe.runtime.robots import dds_topics as module
    else:
        from steadyframe.runtime.robots import zenoh_topics as module
    from steadyframe.runtime.robots.topics import TopicAddress

    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in DEFINITIONS.items():
        store.register(get_types_from_msg(text, name))
    seen: dict[int, float] = {}
    malformed = []
    done = threading.Event()

    def take(content: bytes) -> None:
        arrived_ns = time.time_ns()
        try:
            message = store.deserialize_cdr(content, SKELETON)
            number = round(message.skeleton[0].x * 65536)
            again = bytes(store.serialize_cdr(message, SKELETON))
            stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            good = content == again.ljust(len(content), b"\0") and message.header.frame_id == f"eye{number}"
        except Exception as error:
            malformed.append(repr(error))
            return
        if not good or len(message.skeleton) != 18:
            malformed.append(number)
        seen.setdefault(number, (arrived_ns - stamp_ns) / 1e6)
        if len(seen) >= count:
            done.set()

    transport = module._open(TopicAddress.of(address, ("connect", "listen", "distro")))
    subscription = transport.subscribe(topic, SKELETON, take)
    print("ready", flush=True)
    done.wait(90)
    subscription.close()
    transport.close()
    latencies = sorted(seen.values())
    found = {"received": len(seen), "malformed": malformed, "hash": store.hash_rihs01(SKELETON)}
    if latencies:
        found |= {"p50_ms": latencies[len(latencies) // 2], "p95_ms": latencies[int(0.95 * len(latencies))]}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
