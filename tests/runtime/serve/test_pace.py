"""How images get smaller on a slow line, and larger again; a client behind a line of 1 Mbit/s."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.serve.encoding import LEVELS, Pace, encode_jpeg
from steadyframe.runtime.serve.room import Shown
from steadyframe.runtime.tasks.task import Image, Result

from .serving import parts_of

MS = 1_000_000


def shown(number: int, captured_ns: int = 0) -> Shown:
    frame = Frame(np.zeros((4, 4, 3), np.uint8), captured_ns=captured_ns)
    return Shown(number, Result(frame, Image(frame.pixels)), "tiny")


def run(pace: Pace, images: int, took_ms: float, size_bytes: int = 60_000, first: int = 1) -> int:
    for number in range(first, first + images):
        pace.sent(shown(number), size_bytes, number * 1000 * MS)
        pace.acknowledged(number, int((number * 1000 + took_ms) * MS))
    return first + images


def test_a_quick_line_gets_the_largest_image_and_a_slow_one_the_smallest():
    pace = Pace()
    following = run(pace, 80, 20.0)
    assert pace.level == 0 and pace.ready
    following = run(pace, 12, 400.0, first=following)
    assert pace.level == len(LEVELS) - 1
    run(pace, 200, 20.0, first=following)
    assert pace.level == 0


def test_a_small_image_that_takes_long_gets_no_smaller():
    pace = Pace()
    before = pace.level
    run(pace, 20, 900.0, size_bytes=5_000)
    assert pace.level == before


def test_two_images_on_their_way_and_one_on_a_slow_line():
    pace = Pace()
    for number in (1, 2):
        assert pace.ready
        pace.sent(shown(number, captured_ns=number * MS), 50_000, number * MS)
    assert not pace.ready
    assert pace.acknowledged(9, 10 * MS) is None and pace.ready  # a number that was never sent settles all before it
    pace.sent(shown(10, captured_ns=2 * MS), 50_000, 20 * MS)
    assert pace.acknowledged(10, 520 * MS) == pytest.approx(518.0)
    pace.sent(shown(11), 50_000, 600 * MS)
    assert not pace.ready


def test_levels_get_smaller():
    noise = np.random.default_rng(0).integers(0, 256, (72, 128, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    sizes = [len(encode_jpeg(noise, level)) for level in LEVELS]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0] / 10


async def throttled(port: int, bytes_per_s: float) -> asyncio.Server:
    """A line of so many bytes a second, in the direction of the client."""

    async def carry(reader, writer, rate: float | None) -> None:
        try:
            while content := await reader.read(2048):
                writer.write(content)
                await writer.drain()
                if rate is not None:
                    await asyncio.sleep(len(content) / rate)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def connect(reader, writer) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, far_writer, None), carry(far_reader, writer, bytes_per_s))

    return await asyncio.start_server(connect, "127.0.0.1", 0, limit=4096)


def test_behind_a_line_of_one_megabit_images_stay_young(served, data_root: Path):
    """Eight seconds here; `benchmarks/serve_clients.py` does the minute of the promise, on a quiet machine."""

    async def check() -> list[float]:
        clip = str(data_root / "videos" / "webcam_help.mkv")
        async with served(source=clip) as site:
            line = await throttled(site.port, 125_000)
            port = line.sockets[0].getsockname()[1]
            ages: list[float] = []
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(f"http://127.0.0.1:{port}/ws", headers={"Host": f"127.0.0.1:{port}"}) as socket,
            ):
                await socket.send_json({"type": "view", "images": True})
                end = asyncio.get_running_loop().time() + 8
                while asyncio.get_running_loop().time() < end:
                    message = await socket.receive(timeout=20)
                    if message.type is aiohttp.WSMsgType.BINARY:
                        head, _ = parts_of(message.data)
                        await socket.send_str(json.dumps({"type": "ack", "number": head["number"]}))
                        if head["seen_ms"] is not None:
                            ages.append(head["seen_ms"])
            line.close()
            await site.lives_on()
            return ages

    ages = asyncio.run(check())
    assert len(ages) > 10
    # 0.5 s on a quiet machine; on one where other tests run, what matters is that no queue builds up.
    assert np.median(ages[len(ages) // 2 :]) < 1000, ages
