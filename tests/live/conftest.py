"""A real RTSP server for the tests of live sources."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from servers import RtspServer, missing


@pytest.fixture(scope="session")
def _runs() -> None:
    reason = missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture
def rtsp(_runs: None) -> Iterator[Callable[..., RtspServer]]:
    """Start RTSP servers; all are killed at the end."""
    started: list[RtspServer] = []

    def start(**options: object) -> RtspServer:
        started.append(RtspServer(**options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for server in started:
        server.kill()
