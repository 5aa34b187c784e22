"""Serve a clip to slow and to many clients; print the age of their images and the server's memory.

    python benchmarks/serve_clients.py clip.mp4 --seconds 60 --clients 200

The server is `steadyframe serve` in a process of its own. First comes one client behind a line of 1 Mbit/s (a relay
in this process), then so many clients on loopback. Ages are the server's own: from the capture of a frame to the
arrival of the acknowledgement that it is on the client's screen, so an upper bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

_MEGABIT = 125_000  # bytes a second


def rss_mb(process: int) -> float:
    """Memory of a process, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def watch_memory(process: int, step_s: float, found: list[float]) -> None:
    """Note the memory of a process now and then."""
    while True:
        found.append(rss_mb(process))
        await asyncio.sleep(step_s)


async def relay(port: int, bytes_per_s: float) -> asyncio.Server:
    """Open a line to a port that carries so many bytes a second towards the client."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: float) -> None:
        try:
            while content := await reader.read(1400):
                writer.write(content)
                await writer.drain()
                await asyncio.sleep(len(content) / rate)
        except ConnectionError:
            pass  # the other side has gone
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, far_writer, 1e9), carry(far_reader, writer, bytes_per_s))

    return await asyncio.start_server(connect, "127.0.0.1", 0, limit=4096)


async def look(port: int, seconds: float) -> tuple[list[float], int, int]:
    """Look at the images for a while; returns ages in ms, images and bytes."""
    ages: list[float] = []
    images = size = 0
    address = f"http://127.0.0.1:{port}/ws"
    async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
        await socket.send_json({"type": "view", "images": True})
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            message = await socket.receive(timeout=30)
            if message.type is not aiohttp.WSMsgType.BINARY:
                continue
            (length,) = struct.unpack_from(">I", message.data)
            head = json.loads(message.data[4 : 4 + length])
            await socket.send_json({"type": "ack", "number": head["number"]})
            images, size = images + 1, size + len(message.data)
            if head["seen_ms"] is not None:
                ages.append(head["seen_ms"])
    return ages, images, size


def spread(ages: list[float]) -> str:
    """p50, p95 and the largest of some ages."""
    ordered = sorted(ages)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return (
        f"age p50 {statistics.median(ordered):.0f} ms, p95 {p95:.0f}, max {ordered[-1]:.0f} ({len(ordered)} images)"
    )


async def measure(arguments: argparse.Namespace, port: int, process: int) -> None:
    """Run both parts and print."""
    await look(port, 5)
    line = await relay(port, arguments.megabit * _MEGABIT)
    memory: list[float] = []
    watch = asyncio.create_task(watch_memory(process, arguments.seconds / 6, memory))
    ages, images, size = await look(line.sockets[0].getsockname()[1], arguments.seconds)
    watch.cancel()
    line.close()
    print(f"{arguments.megabit:g} Mbit/s, {arguments.seconds:g} s: {spread(ages)}, "
          f"{images / arguments.seconds:.1f} images/s of {size / images / 1000:.1f} kB")  # fmt: skip
    print("  server memory " + ", ".join(f"{each:.0f}" for each in memory) + " MB")
    before = rss_mb(process)
    found = await asyncio.gather(*(look(port, 20) for _ in range(arguments.clients)))
    ages = [age for ages, _, _ in found for age in ages]
    images = sum(images for _, images, _ in found)
    print(f"{arguments.clients} clients, 20 s: {spread(ages)}, {images / 20 / arguments.clients:.2f} images/s each")
    print(f"  server memory {before:.0f} -> {rss_mb(process):.0f} MB")
    _, images, _ = await look(port, 5)
    print(f"afterwards, one client: {images / 5:.1f} images/s")


def main() -> None:
    """Start the server, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="test://?size=1280x720")
    parser.add_argument("--bundle", default="colorize")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--megabit", type=float, default=1.0)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "steadyframe", "serve", arguments.bundle, arguments.source, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().rsplit(":", 1)[1].strip().strip("/"))
        try:
            asyncio.run(measure(arguments, port, server.pid))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
