"""Servers on free ports of 127.0.0.1, with the tiny bundle and a test pattern."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from steadyframe.runtime.serve.access import Access, Limits
from steadyframe.runtime.serve.feeds import Feed
from steadyframe.runtime.serve.networks import Choice, Networks
from steadyframe.runtime.serve.server import Server

from .serving import Served


@pytest.fixture
def served(tiny_bundle: Path) -> Callable[..., Any]:
    """Make a context manager that runs a server."""

    @asynccontextmanager
    async def run(
        source: str = "test://?size=160x120&fps=20", bundle: str | Path = tiny_bundle, host: str = "127.0.0.1",
        token: str = "", limits: Limits | None = None, port: int = 0,
    ) -> AsyncIterator[Served]:  # fmt: skip
        networks = Networks(str(bundle), device="cpu", precision="fp32")
        access = Access(host, token)
        server = Server(networks, Feed(source), Choice(networks.first), access=access, limits=limits)
        runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
            async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as http:
                yield Served(server, runner.addresses[0][1], http)
        finally:
            await runner.cleanup()

    return run
