"""The server: its rooms, its clients, its addresses.

Owns `Server`, which makes the aiohttp application: ``/`` the page, ``/ws`` images and results, ``/stream.mjpg``,
``/metrics``, ``/healthz``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from ..errors import UsageError
from ..io.live.signal import Signal
from .access import Access, Limits
from .client import Client
from .encoding import Encoder, Level
from .feeds import Feed, Upload
from .figures import temperature_c
from .metrics import CONTENT_TYPE, Metrics
from .networks import STEADY_MODES, Choice, Networks
from .room import Room, Shown

_PAGE = Path(__file__).parent / "page"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_TICK_S = 0.5
_HISTORY = 240  # two minutes of figures for a page that is opened now
_WRITER_LIMIT = 4 << 20  # a whole image fits; the acknowledgements bound what is on its way
_MJPEG_BUFFER = 1 << 17  # bytes that may wait in the kernel for a slow reader of /stream.mjpg
_HEARTBEAT_S = 20.0
_STALE_S = 5.0


class Watcher(Protocol):
    """Whoever wants to know that a room has something new."""

    def wake(self) -> None:
        """Look again."""


class Server:
    """Everything between the source and the browsers.

    Parameters
    ----------
    networks : to choose from; closed with the server
    feed : the server's own source; closed with the server
    choice : what runs at first
    access : who may look
    limits : how much

    Raises
    ------
    SteadyframeError
        If the first choice cannot be opened.
    """

    def __init__(
        self, networks: Networks, feed: Feed, choice: Choice, *, access: Access, limits: Limits | None = None
    ) -> None:
        self.limits = limits if limits is not None else Limits()
        self.encoder = Encoder()
        self._networks, self._feed, self._access = networks, feed, access
        self._first = choice
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._watchers: dict[Room, set[Watcher]] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._clients = self._cameras = 0
        self._history: deque[dict[str, Any]] = deque(maxlen=_HISTORY)
        self.room = self._make_room(choice, feed.tap)
        self.metrics = Metrics(
            self._named_rooms, lambda: self._clients, lambda: dict(access.refused), lambda: feed.signal_log
        )

    def application(self) -> web.Application:
        """Make the application that a runner serves."""
        application = web.Application(middlewares=[self._access.middleware], client_max_size=1 << 16)
        application.router.add_get("/", self._page)
        application.router.add_get("/page/{name}", self._page)
        application.router.add_get("/ws", self._websocket)
        application.router.add_get("/stream.mjpg", self._mjpeg)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", self._health)
        application.on_startup.append(self._start)
        application.on_shutdown.append(self._shutdown)
        application.on_cleanup.append(self._cleanup)
        return application

    # -- what clients ask ------------------------------------------------------------------------------------------

    def about(self, room: Room) -> dict[str, Any]:
        """Facts that a page needs once, and after every switch."""
        choice = room.choice
        return {
            "version": version("steadyframe"),
            "bundles": [{"name": name, "task": task} for name, task in self._networks.names.items()],
            "steady_modes": list(STEADY_MODES),
            "bundle": choice.bundle,
            "steady": choice.steady,
            "device": room.device,
            "precision": self._networks.precision_of(choice.bundle),
            "source": self._feed.info.address if room is self.room else "browser",
            "cameras": self.limits.cameras,
            "history": list(self._history) if room is self.room else [],
        }

    def stats_of(self, room: Room) -> dict[str, Any]:
        """Figures of a room right now; without a signal there are none."""
        return {
            **room.figures.as_json(silent=room.signal is not Signal.LIVE),
            "signal": room.signal.name,
            "trouble": room.trouble or (self._feed.reason if room is self.room else ""),
            "dropped": room.dropped,
            "clients": self._clients,
            "celsius": temperature_c(),
            "bundle": room.choice.bundle,
            "steady": room.choice.steady,
        }

    def choice_of(self, bundle: str, steady: str) -> Choice:
        """Make a choice of what a client names; the options of the command line hold for the first bundle only."""
        settings = self._first.settings if bundle == self._first.bundle else {}
        return Choice(bundle, steady, settings)

    def task_of(self, bundle: str) -> str:
        """Name of the task of a bundle."""
        return self._networks.names[bundle]

    async def open_room(self, client: Watcher, upload: Upload, choice: Choice) -> Room:
        """Open a room for one browser's camera.

        Raises
        ------
        UsageError
            If there are as many as are allowed.
        """
        if self._cameras >= self.limits.cameras:
            raise UsageError("Too many browsers use their own camera", expected=f"at most {self.limits.cameras}")
        self._cameras += 1
        try:
            room = await asyncio.to_thread(self._make_room, choice, lambda: upload)
        except BaseException:
            self._cameras -= 1
            raise
        self._watchers[self.room].discard(client)
        self._watchers[room] = {client}
        room.start()
        return room

    async def close_room(self, client: Watcher, room: Room) -> None:
        """Close a browser's room; the client looks at the server's own again."""
        self._watchers.pop(room, None)
        self._watchers[self.room].add(client)
        await asyncio.to_thread(room.close)
        self._cameras -= 1

    # -- rooms -----------------------------------------------------------------------------------------------------

    def _make_room(self, choice: Choice, source: Callable[[], Any]) -> Room:
        room = Room(self._networks, choice, source, lambda: self._announce(room))
        self._watchers.setdefault(room, set())
        return room

    def _announce(self, room: Room) -> None:
        """Wake everybody who looks at a room; called in the room's thread."""
        if self._loop is not None and self._watchers.get(room):
            with contextlib.suppress(RuntimeError):  # the loop has closed: the server is ending
                self._loop.call_soon_threadsafe(self._wake, room)

    def _wake(self, room: Room) -> None:
        for watcher in self._watchers.get(room, ()):
            watcher.wake()

    def _named_rooms(self) -> list[tuple[str, Room]]:
        others = [room for room in self._watchers if room is not self.room]
        return [("server", self.room), *((f"browser-{at}", room) for at, room in enumerate(others, 1))]

    async def _start(self, application: web.Application) -> None:
        del application
        self._loop = asyncio.get_running_loop()
        self.room.start()
        self._keeper = asyncio.create_task(self._keep_history())

    async def _keep_history(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._history.append(self.stats_of(self.room))

    async def _shutdown(self, application: web.Application) -> None:
        del application
        if self._keeper is not None:
            self._keeper.cancel()
        for each in list(self._sockets):
            await each.close(code=1001, message=b"the server ends")

    async def _cleanup(self, application: web.Application) -> None:
        del application
        for room in list(self._watchers):
            await asyncio.to_thread(room.close)
        await asyncio.to_thread(self._feed.close)
        self.encoder.close()
        self._networks.close()

    # -- addresses -------------------------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.StreamResponse:
        path = _PAGE / request.match_info.get("name", "index.html")
        if path.parent != _PAGE or path.suffix not in _KINDS or not path.is_file():
            raise web.HTTPNotFound
        return web.Response(body=path.read_bytes(), content_type=_KINDS[path.suffix], charset="utf-8")

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self._clients >= self.limits.clients:
            return _busy()
        socket_ = web.WebSocketResponse(
            compress=False, max_msg_size=self.limits.upload_bytes, writer_limit=_WRITER_LIMIT, heartbeat=_HEARTBEAT_S
        )
        self._clients += 1
        client = Client(self, socket_)
        try:
            await socket_.prepare(request)
            self._sockets.add(socket_)
            self._watchers[self.room].add(client)
            await client.run()
        finally:
            self._clients -= 1
            self._sockets.discard(socket_)
            for watchers in self._watchers.values():
                watchers.discard(client)
        return socket_

    async def _mjpeg(self, request: web.Request) -> web.StreamResponse:
        """Send motion JPEG for `<img>` and for programs; `?side=` and `?quality=` set its size."""
        try:
            level = Level(int(request.query.get("side", 1280)), int(request.query.get("quality", 80)))
        except ValueError:
            level = Level(0, 0)
        if not (16 <= level.side <= 4096 and 1 <= level.quality <= 100):
            return web.Response(status=400, text="side is 16 to 4096, quality 1 to 100\n")
        if self._clients >= self.limits.clients:
            return _busy()
        response = web.StreamResponse(
            headers={"Content-Type": "multipart/x-mixed-replace; boundary=frame", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        _bound_buffers(request)
        viewer = _Viewer()
        self._clients += 1
        self._watchers[self.room].add(viewer)
        try:
            await self._send_parts(response, viewer, level)
        except ConnectionError:
            pass  # the reader has gone
        finally:
            self._clients -= 1
            self._watchers[self.room].discard(viewer)
        return response

    async def _send_parts(self, response: web.StreamResponse, viewer: _Viewer, level: Level) -> None:
        last: Shown | None = None
        while True:
            shown = self.room.newest
            if shown is None or shown is last:
                await viewer.fresh.wait()
                viewer.fresh.clear()
                continue
            last = shown
            jpeg = await self.encoder.jpeg(shown, level)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            await response.write(head + jpeg + b"\r\n")
            self.metrics.images.inc()
            self.metrics.sent_bytes.inc(len(jpeg))

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(body=self.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _health(self, request: web.Request) -> web.StreamResponse:
        """Say whether results are coming: 200, or 503 with the reason's kind."""
        del request
        newest, signal = self.room.newest, self.room.signal
        age_s = (time.monotonic_ns() - newest.result.frame.captured_ns) / 1e9 if newest is not None else None
        good = age_s is not None and age_s < _STALE_S and not self.room.trouble
        facts = {
            "ok": good,
            "signal": signal.name if signal is not Signal.LIVE or good else "STALLED",
            "age_ms": None if age_s is None else round(age_s * 1000),
        }
        return web.json_response(facts, status=200 if good else 503)


class _Viewer:
    """A reader of /stream.mjpg."""

    def __init__(self) -> None:
        self.fresh = asyncio.Event()

    def wake(self) -> None:
        """There is a new image."""
        self.fresh.set()


def _bound_buffers(request: web.Request) -> None:
    """Keep few bytes on the way to a reader that acknowledges nothing: a slow one gets fewer images, not older."""
    transport = request.transport
    if transport is None:
        return
    transport.set_write_buffer_limits(high=_MJPEG_BUFFER)
    line = transport.get_extra_info("socket")
    if line is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MJPEG_BUFFER)


def _busy() -> web.Response:
    return web.Response(status=503, text="Too many clients are looking; try again later.\n")
