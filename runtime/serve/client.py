"""One WebSocket client: images out with acknowledgement, results out, commands and camera images in.

Owns `Client` and the messages between page and server.

From the server, binary: 4 bytes length N (big endian), N bytes JSON, then the JPEG of the result and, if asked for,
that of the frame; their lengths are in the JSON. Text: ``{"type": "welcome" | "stats" | "switched" | "refused" |
"taken" | "result", …}``. From the client, text: ``{"type": "view", "images", "before", "results"}``,
``{"type": "ack", "number"}``, ``{"type": "switch", "bundle", "steady", "id"}``, ``{"type": "camera", "on"}``; binary:
8 bytes of the browser's own time (float64, big endian, ms), then a JPEG of its camera.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from ..errors import SteadyframeError
from ..io.sinks.jsonl import as_line
from .encoding import LEVELS, Pace
from .feeds import Upload
from .room import Room, Shown

if TYPE_CHECKING:
    from .server import Server

_STATS_S = 0.5
_STAMP = struct.Struct(">d")
_LENGTH = struct.Struct(">I")
_CLOSE_POLICY, _CLOSE_BUSY = 1008, 1013
_MOST_BAD = 300  # refused messages in a row after which a client is sent away


class Client:
    """Serve one connection to its end.

    Parameters
    ----------
    server : whose rooms it looks at
    socket : prepared
    """

    def __init__(self, server: Server, socket: web.WebSocketResponse) -> None:
        self._server = server
        self._socket = socket
        self._room: Room = server.room
        self._upload: Upload | None = None
        self._pace = Pace()
        self._wake = asyncio.Event()
        self._images = self._before = self._results = False
        self._number = 0  # of the last image or result sent
        self._bad = 0  # messages in a row that made no sense
        self._told = 0  # images of the browser's camera whose refusal was told
        self._budget = float(server.limits.messages_per_s)
        self._refilled = time.monotonic()
        self._jobs: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """There is something new to show."""
        self._wake.set()

    async def run(self) -> None:
        """Send and receive until the client goes."""
        await self._send({"type": "welcome", **self._server.about(self._room)})
        senders = [asyncio.create_task(self._send_images()), asyncio.create_task(self._send_stats())]
        try:
            async for message in self._socket:
                if not self._may():
                    self._refuse_silently()
                elif message.type == WSMsgType.TEXT:
                    await self._take_text(message.data)
                elif message.type == WSMsgType.BINARY:
                    await self._take_image(message.data)
                if self._bad > _MOST_BAD:
                    await self._socket.close(code=_CLOSE_POLICY, message=b"too many messages that make no sense")
        finally:
            for job in (*senders, *self._jobs):
                job.cancel()
            await asyncio.gather(*senders, *self._jobs, return_exceptions=True)
            await self._camera(on=False)

    def _may(self) -> bool:
        """Whether the client is within its rate of messages."""
        now, rate = time.monotonic(), self._server.limits.messages_per_s
        self._budget = min(rate, self._budget + (now - self._refilled) * rate)
        self._refilled = now
        self._budget = max(-1.0, self._budget - 1)
        return self._budget >= 0

    def _refuse_silently(self) -> None:
        self._bad += 1
        self._server.metrics.bad_uploads.inc()

    async def _refuse(self, reason: str, **more: Any) -> None:
        self._refuse_silently()
        await self._send({"type": "refused", "reason": reason, **more})

    async def _take_text(self, text: str) -> None:
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return await self._refuse("a message is a JSON object with a type")
        if kind == "ack" and isinstance(message.get("number"), int):
            age_ms = self._pace.acknowledged(message["number"], time.monotonic_ns())
            if age_ms is not None:
                self._server.metrics.seen_age.observe(age_ms / 1000)
            self._wake.set()
        elif kind == "view":
            self._images, self._before = bool(message.get("images")), bool(message.get("before"))
            self._results = bool(message.get("results"))
            self._wake.set()
        elif kind == "switch" and isinstance(message.get("bundle"), str):
            self._start(self._switch(message))
        elif kind == "camera":
            await self._camera(on=bool(message.get("on")))
        else:
            return await self._refuse(f"there is no message of type {str(kind)[:40]!r} with these fields")
        self._bad = 0
        return None

    def _start(self, work: Any) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _switch(self, message: dict[str, Any]) -> None:
        """Change network or steady mode, and say how long it took."""
        wanted = self._server.choice_of(message["bundle"], str(message.get("steady", "auto")))
        room = self._room
        try:
            took_ms = await asyncio.to_thread(room.switch, wanted)
        except SteadyframeError as error:
            return await self._refuse(str(error), id=message.get("id"))
        await self._send({"type": "switched", "id": message.get("id"), "took_ms": round(took_ms, 1),
                          **self._server.about(room)})  # fmt: skip
        return None

    async def _camera(self, *, on: bool) -> None:
        """Look at the browser's own camera, in a room of its own, or at the server's again."""
        if on and self._upload is None:
            upload = Upload(self._server.limits.upload_pixels)
            try:
                self._room = await self._server.open_room(self, upload, self._room.choice)
            except SteadyframeError as error:
                return await self._refuse(str(error), camera=False)
            self._upload = upload
        elif not on and self._upload is not None:
            room, self._room, self._upload = self._room, self._server.room, None
            await self._server.close_room(self, room)
        else:
            return None
        self._number, self._pace = 0, Pace()
        if not self._socket.closed:
            await self._send({"type": "camera", "on": on, **self._server.about(self._room)})
        return None

    async def _take_image(self, content: bytes) -> None:
        if self._upload is None:
            return await self._refuse("images are taken after a message of type camera")
        if len(content) <= _STAMP.size:
            return await self._refuse("an image is 8 bytes of time and a JPEG")
        refused = self._upload.refused  # of the images before: decoding takes place elsewhere
        self._upload.put(content[_STAMP.size :], _STAMP.unpack_from(content)[0])
        await self._send({"type": "taken"})
        if refused != self._told:
            self._told = refused
            await self._refuse(self._upload.reason)
        else:
            self._bad = 0
        return None

    async def _send_images(self) -> None:
        """Send the newest result whenever the client has room for one; nothing ever waits in a queue."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            shown = self._room.newest
            if shown is None or shown.number == self._number or not (self._images or self._results):
                continue
            if self._images and not self._pace.ready:
                continue
            self._number = shown.number
            try:
                if self._images:
                    await self._send_image(shown)
                if self._results:
                    line = as_line(shown.result, self._server.task_of(shown.bundle))
                    await self._send({"type": "result", **line})
            except SteadyframeError as error:
                await self._refuse(str(error))

    async def _send_image(self, shown: Shown) -> None:
        level = LEVELS[self._pace.level]
        wanted = (False, True) if self._before else (False,)
        encoder = self._server.encoder
        jpegs = await asyncio.gather(*(encoder.jpeg(shown, level, before=each) for each in wanted))
        frame = shown.result.frame
        head: dict[str, Any] = {
            "number": shown.number,
            "index": frame.index,
            "bundle": shown.bundle,
            "size": list(frame.size_wh),
            "age_ms": round((time.monotonic_ns() - frame.captured_ns) / 1e6, 1),
            "seen_ms": self._pace.age_ms,
            "keyframe": shown.result.keyframe,
            "lengths": [len(each) for each in jpegs],
        }
        if self._upload is not None:
            head["stamp_ms"] = self._upload.stamp_of(frame.index)
        text = json.dumps(head, separators=(",", ":")).encode()
        content = b"".join((_LENGTH.pack(len(text)), text, *jpegs))
        self._pace.sent(shown, len(content), time.monotonic_ns())
        await self._socket.send_bytes(content)
        self._server.metrics.images.inc()
        self._server.metrics.sent_bytes.inc(len(content))

    async def _send_stats(self) -> None:
        while True:
            await asyncio.sleep(_STATS_S)
            if self._images:
                await self._send({"type": "stats", **self._server.stats_of(self._room)})

    async def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):  # it has gone; the receiving side ends
            await self._socket.send_str(json.dumps(message, separators=(",", ":")))
