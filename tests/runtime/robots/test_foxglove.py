"""The live view, read as the Foxglove app reads it: its WebSocket protocol."""

from __future__ import annotations

import asyncio
import json
import struct
import threading

import aiohttp
import numpy as np
import pytest
from steadyframe.runtime.errors import SinkError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import SourceInfo
from steadyframe.runtime.io.sinks import open_sink
from steadyframe.runtime.robots.codec import decode
from steadyframe.runtime.robots.frames import COMPRESSED, pixels_of
from steadyframe.runtime.tasks.task import Image, Result

LIVE = SourceInfo("camera", live=True)


async def first_image(port: int) -> bytes:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{port}", protocols=("foxglove.sdk.v1", "foxglove.websocket.v1")) as socket,
    ):
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                found = json.loads(message.data)
                assert found["op"] != "status", found
                for channel in found.get("channels", []) if found["op"] == "advertise" else []:
                    if channel["topic"] == "/steadyframe/image/compressed":
                        assert (channel["schemaName"], channel["encoding"]) == (COMPRESSED, "cdr")
                        assert channel["schema"].startswith("std_msgs/Header header")
                        subscription = {"id": 7, "channelId": channel["id"]}
                        await socket.send_json({"op": "subscribe", "subscriptions": [subscription]})
            elif message.data[0] == 1 and struct.unpack_from("<I", message.data, 1)[0] == 7:
                return message.data[13:]
    raise AssertionError("the server closed the connection")


def test_the_app_gets_the_image():
    sink = open_sink("foxglove://127.0.0.1:0", LIVE, task="stylize")
    port = int(sink.address.rsplit(":", 1)[1])
    stopped = threading.Event()

    def show() -> None:
        index = 0
        while not stopped.wait(0.05):
            pixels = np.full((24, 32, 3), 90, np.uint8)
            sink.write(Result(Frame(pixels, index), Image(pixels)))
            index += 1

    thread = threading.Thread(target=show)
    thread.start()
    try:
        content = asyncio.run(asyncio.wait_for(first_image(port), 30))
    finally:
        stopped.set()
        thread.join()
        sink.close()
    pixels = pixels_of(decode(content, COMPRESSED), COMPRESSED)
    assert pixels.shape == (24, 32, 3) and abs(float(pixels.mean()) - 90) < 2


def test_an_address_that_cannot_be_bound_is_told():
    first = open_sink("foxglove://127.0.0.1:0", LIVE, task="pose")
    with pytest.raises(SinkError, match="cannot be bound"):
        open_sink(first.address, LIVE, task="pose")
    first.close()
    with pytest.raises(UsageError, match="no address"):
        open_sink("foxglove://127.0.0.1:none", LIVE, task="pose")
