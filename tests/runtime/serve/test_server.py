"""What clients get of the server, and what they cannot do to it."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import SourceError, UsageError
from steadyframe.runtime.serve.access import Access, Limits
from steadyframe.runtime.serve.feeds import Feed
from steadyframe.runtime.serve.networks import Choice, Networks

from .serving import parts_of


def jpeg_of(size_wh: tuple[int, int], value: int = 120) -> bytes:
    return cv2.imencode(".jpg", np.full((size_wh[1], size_wh[0], 3), value, np.uint8))[1].tobytes()


async def next_of(socket, kind: str) -> dict:
    while True:
        message = await socket.receive(timeout=20)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type is aiohttp.WSMsgType.TEXT and (found := json.loads(message.data))["type"] == kind:
            return found


async def next_image(socket):
    while True:
        message = await socket.receive(timeout=20)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type is aiohttp.WSMsgType.BINARY:
            return parts_of(message.data)


def test_the_page_and_its_parts(served):
    async def check():
        async with served() as site:
            async with site.http.get(site.address) as answer:
                text = await answer.text()
                assert answer.status == 200 and "default-src 'none'" in answer.headers["Content-Security-Policy"]
            scripts = (f"{name}.js" for name in ("main", "link", "stage", "charts", "camera", "words"))
            for name in ("style.css", "mark.svg", *scripts):
                async with site.http.get(f"{site.address}/page/{name}") as answer:
                    text += await answer.text()
                    assert answer.status == 200
            assert "https://" not in text and "http://" not in text.replace("http://www.w3.org/", "")
            for wrong in ("/page/..%2fserver.py", "/page/server.py", "/page/none.js", "/page/%00.js"):
                async with site.http.get(aiohttp.client.URL(site.address + wrong, encoded=True)) as answer:
                    assert answer.status == 404, wrong

    asyncio.run(check())


def test_images_come_newest_first_and_wait_for_acknowledgements(served):
    async def check():
        async with served() as site, site.socket() as socket:
            welcome = await next_of(socket, "welcome")
            assert {each["name"] for each in welcome["bundles"]} >= {"tiny", "pose", "stylize-wave"}
            assert "policy-montezuma" not in {each["name"] for each in welcome["bundles"]}
            await socket.send_json({"type": "view", "images": True, "before": True})
            heads = [(await next_image(socket))[0] for _ in range(2)]
            await site.lives_on(10)
            # Two are on their way and not acknowledged: nothing but figures comes.
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(next_image(socket), 1.0)
            await socket.send_json({"type": "ack", "number": heads[0]["number"]})
            await socket.send_json({"type": "ack", "number": heads[1]["number"]})
            head, jpegs = await next_image(socket)
            assert head["number"] >= heads[1]["number"] + 8  # the newest, not the next
            after, before = (cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_UNCHANGED) for each in jpegs)
            assert after.shape == (120, 160, 3) and before.shape == (120, 160)  # colors, and the grey it saw

    asyncio.run(check())


def test_results_are_json_lines(served):
    async def check():
        async with served() as site, site.socket() as socket:
            await socket.send_json({"type": "view", "images": False, "results": True})
            lines = [await next_of(socket, "result") for _ in range(3)]
            assert [line["index"] for line in lines] == sorted({line["index"] for line in lines})
            assert lines[0]["schema"] == 1 and lines[0]["task"] == "colorize" and lines[0]["size"] == [160, 120]

    asyncio.run(check())


def test_a_switch_is_acknowledged_with_its_time(served):
    async def check():
        async with served() as site, site.socket() as socket:
            await socket.send_json({"type": "view", "images": True})
            await next_image(socket)
            await socket.send_json({"type": "switch", "bundle": "tiny", "steady": "blend", "id": 7})
            answer = await next_of(socket, "switched")
            assert answer["id"] == 7 and answer["steady"] == "blend" and 0 < answer["took_ms"] < 10_000
            assert site.server.room.choice == Choice("tiny", "blend", {})
            await site.lives_on()
            for wrong in ({"bundle": "none"}, {"bundle": "tiny", "steady": "never"}, {"bundle": "policy-montezuma"}):
                await socket.send_json({"type": "switch", **wrong})
                assert (await next_of(socket, "refused"))["reason"]
            assert site.server.room.choice == Choice("tiny", "blend", {})
            await site.lives_on()
            assert (await site.metrics())['steadyframe_switches_total{room="server"}'] == 1

    asyncio.run(check())


def test_a_browsers_camera_has_a_room_of_its_own(served):
    async def check():
        async with served() as site, site.socket() as socket, site.socket() as other:
            await socket.send_json({"type": "camera", "on": True})
            assert (await next_of(socket, "camera"))["on"]
            await socket.send_json({"type": "view", "images": True})
            for stamp in (1000.5, 1033.25, 1066.0):
                await socket.send_bytes(struct.pack(">d", stamp) + jpeg_of((96, 64)))
                await next_of(socket, "taken")
                head, _ = await next_image(socket)
                assert head["stamp_ms"] == stamp and head["size"] == [96, 64]
                await socket.send_json({"type": "ack", "number": head["number"]})
            await other.send_json({"type": "view", "images": True})
            assert (await next_image(other))[0]["size"] == [160, 120]
            await socket.send_json({"type": "camera", "on": False})
            assert not (await next_of(socket, "camera"))["on"]
            assert (await next_image(socket))[0]["size"] == [160, 120]

    asyncio.run(check())


def test_what_makes_no_sense_is_refused_and_the_stream_lives_on(served):
    huge = jpeg_of((64, 64))
    at = huge.index(b"\xff\xc0") + 5
    huge = huge[:at] + struct.pack(">HH", 60000, 60000) + huge[at + 4 :]
    stamp = struct.pack(">d", 1.0)

    async def check():
        async with served() as site, site.socket() as socket:
            for text in ("", "{", "[]", "17", '{"type": 5}', '{"type": "ack", "number": "x"}', "[" * 5000, '{"a":1}'):
                await socket.send_str(text)
                assert (await next_of(socket, "refused"))["reason"]
            await socket.send_bytes(stamp + jpeg_of((16, 16)))  # the camera is not on
            assert "camera" in (await next_of(socket, "refused"))["reason"]
            await socket.send_json({"type": "camera", "on": True})
            await next_of(socket, "camera")
            upload = site.server.room
            broken = (b"no image", b"\xff\xd8\xff" + bytes(100), jpeg_of((64, 64))[:-40], huge)
            for number, content in enumerate(broken):
                await socket.send_bytes(stamp + content)
                await next_of(socket, "taken")
                await asyncio.sleep(0.3)
                await socket.send_bytes(stamp + content)  # the answer to the one before comes with the next one
                assert (await next_of(socket, "refused"))["reason"], number
                await asyncio.sleep(0.2)
            await socket.send_json({"type": "view", "images": True})
            await socket.send_bytes(stamp + jpeg_of((48, 32)))
            assert (await next_image(socket))[0]["size"] == [48, 32]  # and the room still works
            assert upload is site.server.room
            await site.lives_on()
            assert (await site.metrics())["steadyframe_uploads_refused_total"] >= 12

    asyncio.run(check())


def test_an_upload_over_the_limit_ends_its_own_connection_only(served):
    async def check():
        async with served(limits=Limits(upload_bytes=10_000, cameras=1)) as site:
            async with site.socket() as greedy, site.socket() as second:
                await greedy.send_json({"type": "camera", "on": True})
                await next_of(greedy, "camera")
                await second.send_json({"type": "camera", "on": True})
                assert "at most 1" in (await next_of(second, "refused"))["reason"]
                await greedy.send_bytes(bytes(50_000))
                while (message := await greedy.receive(timeout=10)).type in (aiohttp.WSMsgType.TEXT,):
                    pass
                assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), message
                await site.until(lambda: site.server._cameras == 0)
                await second.send_json({"type": "camera", "on": True})
                assert (await next_of(second, "camera"))["on"]
            await site.lives_on()

    asyncio.run(check())


def test_a_flood_of_messages_is_thrown_away_then_ended(served):
    async def check():
        async with served(limits=Limits(messages_per_s=20)) as site:
            async with site.socket() as flood:
                for _ in range(600):
                    await flood.send_json({"type": "view", "images": False})
                while (message := await flood.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
                    pass
                assert flood.close_code == 1008, message
            await site.lives_on()

    asyncio.run(check())


def test_motion_jpeg_metrics_and_health(served):
    async def check():
        async with served() as site:
            async with site.http.get(f"{site.address}/stream.mjpg?side=100&quality=50") as answer:
                assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace")
                content = b""
                while content.count(b"--frame") < 4:
                    content += await answer.content.readany()
            first = content.split(b"--frame\r\n")[1].split(b"\r\n\r\n", 1)[1]
            assert cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR).shape == (75, 100, 3)
            for wrong in ("side=1", "side=x", "quality=101", "side=99999"):
                async with site.http.get(f"{site.address}/stream.mjpg?{wrong}") as answer:
                    assert answer.status == 400
            assert (await site.health())["status"] == 200
            found = await site.metrics()
            assert (
                found['steadyframe_frames_total{room="server"}'] > 3 and found["steadyframe_images_sent_total"] >= 4
            )
            assert all(name.startswith("steadyframe_") for name in found)
            await site.until(lambda: site.server._clients == 0)

    asyncio.run(check())


def test_two_hundred_clients(served):
    async def look(site, number: int) -> int:
        async with site.socket() as socket:
            await socket.send_json({"type": "view", "images": True, "before": number % 7 == 0})
            for _ in range(3):
                head, _ = await next_image(socket)
                await socket.send_json({"type": "ack", "number": head["number"]})
            return 3

    async def check():
        async with served() as site:
            seen = await asyncio.gather(*(look(site, number) for number in range(200)))
            assert sum(seen) == 600
            await site.lives_on()
        async with served(limits=Limits(clients=3)) as site:
            async with site.socket(), site.socket(), site.socket():
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await site.socket()
                assert refused.value.status == 503
                async with site.http.get(f"{site.address}/stream.mjpg") as answer:
                    assert answer.status == 503
            await site.lives_on()

    asyncio.run(check())


def test_the_token_and_the_names(served):
    async def check():
        async with served(host="0.0.0.0") as site:
            token = site.server._access.token
            assert len(token) >= 16
            async with aiohttp.ClientSession() as stranger:
                for path in ("/", "/ws", "/stream.mjpg", "/metrics", "/page/main.js", "/?token=wrong"):
                    async with stranger.get(site.address + path) as answer:
                        assert answer.status == 401, path
                async with stranger.get(f"{site.address}/healthz") as answer:
                    assert set(await answer.json()) == {"ok", "signal", "age_ms"}
                jar = aiohttp.CookieJar(unsafe=True)
            async with aiohttp.ClientSession(cookie_jar=jar) as guest:
                async with guest.get(f"{site.address}/?token={token}") as answer:
                    assert answer.status == 200 and "token" not in str(answer.url)
                async with guest.get(f"{site.address}/page/main.js") as answer:
                    assert answer.status == 200
                async with guest.ws_connect(f"{site.address}/ws") as socket:
                    await next_of(socket, "welcome")
            await site.lives_on()
            assert (await site.metrics())['steadyframe_requests_refused_total{reason="token"}'] == 6

    asyncio.run(check())


def test_pages_of_other_sites_and_foreign_names_are_refused(served):
    async def check():
        async with served() as site:
            for headers in (
                {"Origin": "https://evil.example"},
                {"Origin": "null"},
                {"Origin": f"http://127.0.0.1:{site.port + 1}"},
                {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
                {"Host": "evil.example"},
                {"Host": f"127.0.0.1.evil.example:{site.port}", "Origin": "http://127.0.0.1.evil.example"},
                {"Host": "[::1"},
            ):
                for path in ("/ws", "/stream.mjpg", "/"):
                    async with site.http.get(site.address + path, headers=headers) as answer:
                        assert answer.status in (400, 403), headers
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await site.socket(headers=headers)
            own = {"Origin": f"http://localhost:{site.port}", "Host": f"localhost:{site.port}"}
            async with site.socket(headers=own) as socket:
                await next_of(socket, "welcome")
            await site.lives_on()

    asyncio.run(check())


def test_a_source_that_goes_away_is_said_and_comes_back(served, camera_server):
    async def check():
        camera = camera_server(fps=30.0)
        async with served(source=camera.address) as site, site.socket() as socket:
            await socket.send_json({"type": "view", "images": True})
            await next_image(socket)
            camera.unplug()
            await site.until(lambda: site.server.room.signal.name != "LIVE")
            camera_server(port=camera.port, fps=30.0)
            await site.lives_on()
            assert (await site.health())["status"] == 200

    asyncio.run(check())


def test_wrong_uses_are_told(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be served"):
        Networks("policy-montezuma")
    with pytest.raises(UsageError, match="too short"):
        Access("0.0.0.0", "abc")
    with pytest.raises(UsageError, match="limit"):
        Limits(clients=0)
    with pytest.raises(UsageError, match="game"):
        Feed("ale://montezuma")


def test_a_camera_that_is_not_there_yet_can_be_waited_for(camera_server, tiny_bundle):
    camera = camera_server(fps=20.0)
    camera.unplug()
    with pytest.raises(SourceError):
        Feed(camera.address)
    feed = Feed(camera.address, wait=True)
    tap = feed.tap()
    try:
        deadline = time.monotonic() + 20
        while not feed.reason:
            assert time.monotonic() < deadline, feed.signal
            time.sleep(0.05)
        assert feed.signal.name == "CONNECTING" and "refused" in feed.reason
        camera_server(port=camera.port, fps=20.0)
        assert next(iter(tap)).size_wh == (160, 120)
        assert feed.signal.name == "LIVE" and feed.reason == ""
    finally:
        feed.close()
