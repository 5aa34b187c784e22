"""A server under test, and its messages taken apart.

Owns `Served` and `parts_of`.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from typing import Any

import aiohttp
from steadyframe.runtime.serve.server import Server


class Served:
    """A server that runs, and a client session for it."""

    def __init__(self, server: Server, port: int, http: aiohttp.ClientSession) -> None:
        self.server, self.port, self.http = server, port, http
        self.address = f"http://127.0.0.1:{port}"

    def socket(self, **options: Any) -> Any:
        return self.http.ws_connect(f"{self.address}/ws", max_msg_size=0, **options)

    async def health(self) -> dict[str, Any]:
        async with self.http.get(f"{self.address}/healthz") as answer:
            return {"status": answer.status, **await answer.json()}

    async def metrics(self) -> dict[str, float]:
        async with self.http.get(f"{self.address}/metrics") as answer:
            lines = [line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while not condition():
            assert loop.time() < end, "never true"
            await asyncio.sleep(0.02)

    async def lives_on(self, results: int = 3) -> None:
        """Wait for further results of the server's own source."""
        before = self.server.room.figures.frames
        await self.until(lambda: self.server.room.figures.frames >= before + results)


def parts_of(content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Take a binary message of the server apart."""
    (length,) = struct.unpack_from(">I", content)
    head = json.loads(content[4 : 4 + length])
    jpegs, at = [], 4 + length
    for size in head["lengths"]:
        jpegs.append(content[at : at + size])
        at += size
    assert at == len(content)
    return head, jpegs
