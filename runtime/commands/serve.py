"""`steadyframe serve`: a page with the live image, for browsers and phones."""

from __future__ import annotations

import asyncio
import math
import ssl
from pathlib import Path
from typing import Any

import click

from ..engines.registry import device_choices
from ..errors import UsageError
from ..io.sources.camera import cameras
from ..serve.access import Access, Limits, is_loopback
from ..serve.feeds import Feed
from ..serve.networks import STEADY_MODES, Choice, Networks
from ..serve.running import serve_until, tls_context
from ..serve.server import Server
from .run import read_settings

_EPILOG = """\b
/             the page
/stream.mjpg  the images, for <img> and other programs
/ws           images and results by WebSocket
/metrics      figures for Prometheus
/healthz      200 while results are coming, else 503

Browsers hand out the camera of a phone or of another computer only to a page
with a certificate: that is what --tls-cert and --tls-key are for.
"""


@click.command(epilog=_EPILOG)
@click.argument("bundle", default="stylize-wave")
@click.argument("address", required=False, metavar="[INPUT]")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 serves the network, with a token.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--token", default="", metavar="TEXT", help="Asked of everybody; made up where --host is no loopback.")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="Certificate (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its key (PEM).")
@click.option("--allow-origin", multiple=True, metavar="URL", help="Another site whose pages may open /ws.")
@click.option("--max-clients", default=256, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--max-cameras", default=4, show_default=True, type=click.IntRange(min=0), help="Browsers with their own camera."
)
@click.option("--device", default="auto", show_default=True, metavar="|".join(device_choices()))
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "fp32", "fp16", "int8"]))
@click.option("--steady", default="auto", show_default=True, type=click.Choice(STEADY_MODES))
@click.option("--wait", is_flag=True, help="Live: wait for a source that is not there yet.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any option of the task.")
def serve(**given: Any) -> None:
    """Show BUNDLE at work on INPUT, on a page that any browser opens.

    INPUT is a camera, a stream, a clip or a folder as of `steadyframe run`; clips are repeated. Without it, camera
    0 is taken, or the test pattern if there is none; the page can use the browser's own camera too.
    """
    host = given["host"]
    tls = _tls(given["tls_cert"], given["tls_key"])
    access = Access(host, given["token"], given["allow_origin"])
    limits = Limits(clients=given["max_clients"], cameras=given["max_cameras"])
    networks = Networks(given["bundle"], device=given["device"], precision=given["precision"])
    choice = Choice(networks.first, given["steady"], read_settings(given["settings"]))
    feed = Feed(_source(given["address"]), wait=given["wait"])
    try:
        server = Server(networks, feed, choice, access=access, limits=limits)
    except BaseException:
        feed.close()
        networks.close()
        raise

    def ready(port: int) -> None:
        _say(host, port, access.token, secure=tls is not None)

    try:
        asyncio.run(serve_until(server, host, given["port"], tls=tls, on_ready=ready))
    finally:
        feed.close()
    _summarise(server)


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if (certificate is None) != (key is None):
        raise UsageError("A certificate comes with its key", expected="--tls-cert and --tls-key")
    return None if certificate is None or key is None else tls_context(certificate, key)


def _source(address: str | None) -> str:
    if address is not None:
        return address
    if cameras():
        return "0"
    click.echo("No camera found: showing a test pattern. The page can use the browser's own camera.", err=True)
    return "test://?size=1280x720"


def _say(host: str, port: int, token: str, *, secure: bool) -> None:
    """Print the address to open."""
    scheme = "https" if secure else "http"
    names = [host] if host not in ("0.0.0.0", "::", "") else [_own_address(), "localhost"]
    for name in names:
        shown = f"[{name}]" if ":" in name else name
        click.echo(f"{scheme}://{shown}:{port}/" + (f"?token={token}" if token else ""))
    if not secure and not is_loopback(host):
        click.echo(
            "Without a certificate (--tls-cert, --tls-key) browsers on other machines show the images, but do not "
            "hand out their own cameras; and whoever listens on the network sees the images and the token.",
            err=True,
        )
    click.echo("Ctrl-C ends it.", err=True)


def _own_address() -> str:
    """Address of this machine in its network; nothing is sent to find it out."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        try:
            line.connect(("192.0.2.1", 9))  # an address that is nobody's
            return str(line.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _summarise(server: Server) -> None:
    room = server.room
    figures = room.figures.as_json()
    age = figures["age_p50"] if figures["age_p50"] is not None else math.nan
    click.echo(f"{room.figures.frames} frames, {room.dropped} dropped, age {age:.0f} ms at the end", err=True)
