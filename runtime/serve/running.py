"""Run a server until it is told to end.

Owns `serve_until` and `tls_context`.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from ..errors import UsageError
from .server import Server

_GRACE_S = 0.5  # for requests under way when the server ends


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Read a certificate and its key.

    Raises
    ------
    UsageError
        If they cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"The certificate {certificate} and the key {key} cannot be used ({reason})",
            expected="two PEM files that belong together",
        ) from error
    return context


async def serve_until(
    server: Server, host: str, port: int, *, tls: ssl.SSLContext | None = None, on_ready: Callable[[int], None]
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP.

    Parameters
    ----------
    server : with its rooms; they end with it
    host, port : to bind to; port 0 takes a free one
    tls : of `tls_context`; None serves plain HTTP
    on_ready : called with the port when clients can connect

    Raises
    ------
    UsageError
        If the address cannot be bound.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        loop.add_signal_handler(getattr(signal, name), ended.set)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=_GRACE_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        try:
            await site.start()
        except OSError as error:
            raise UsageError(
                f"The server cannot be bound to {host}:{port} ({error.strerror or error})",
                todo="Name another --port, or end the program that uses it",
            ) from error
        on_ready(runner.addresses[0][1])
        await ended.wait()
    finally:
        await runner.cleanup()
