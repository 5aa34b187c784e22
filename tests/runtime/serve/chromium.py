"""A real headless Chromium, driven through its debugging port.

Owns `Chromium`: open a page, run JavaScript in it, take a screenshot, press keys and click.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip


class Chromium:
    """A browser with one page; use it in `async with`.

    Parameters
    ----------
    address : of the page
    camera : a .y4m or .mjpeg clip that stands in for its camera; the browser then grants it without asking
    size_wh : of its window
    """

    def __init__(self, address: str, *, camera: Path | None = None, size_wh: tuple[int, int] = (1280, 860)) -> None:
        self._address = address
        self._size_wh = size_wh
        self._flags = [*_FLAGS, f"--window-size={size_wh[0]},{size_wh[1]}"]
        if camera is not None:
            self._flags += [
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
            ]
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self.errors: list[str] = []  # of the page: uncaught ones, and what the content policy refused
        self.requests: list[str] = []  # addresses that the page asked for

    async def __aenter__(self) -> Chromium:
        self._process = await asyncio.create_subprocess_exec(
            "chromium", *self._flags, f"--user-data-dir={self._profile.name}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        port_file = Path(self._profile.name) / "DevToolsActivePort"
        for _ in range(600):
            if port_file.exists() and port_file.read_text().count("\n") >= 1:
                break
            await asyncio.sleep(0.05)
        port = port_file.read_text().split()[0]
        self._http = aiohttp.ClientSession()
        async with self._http.get(f"http://127.0.0.1:{port}/json") as answer:
            page = next(each for each in await answer.json() if each["type"] == "page")
        self._socket = await self._http.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=1 << 28)
        self._reader = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=self._address)
        await self.until("location.href !== 'about:blank' && document.readyState === 'complete'", 60)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.cancel()
        await self._socket.close()
        await self._http.close()
        self._process.terminate()
        await asyncio.wait_for(self._process.wait(), 20)
        self._profile.cleanup()

    async def _read(self) -> None:
        async for message in self._socket:
            found = json.loads(message.data)
            if "id" in found:
                self._answers.pop(found["id"]).set_result(found)
            elif found["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(found["params"]["exceptionDetails"])[:500])
            elif found["method"] == "Log.entryAdded" and found["params"]["entry"]["level"] == "error":
                self.errors.append(found["params"]["entry"]["text"])
            elif found["method"] == "Network.requestWillBeSent":
                self.requests.append(found["params"]["request"]["url"])

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call one method of the debugging protocol."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        found = await asyncio.wait_for(answer, 60)
        assert "error" not in found, found
        return found["result"]

    async def run(self, code: str) -> Any:
        """Evaluate JavaScript; a promise is waited for."""
        found = await self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, code: str, timeout_s: float = 30.0) -> Any:
        """Evaluate JavaScript until it gives something true."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while not (value := await self.run(code)):
            assert loop.time() < end, f"never true within {timeout_s} s: {code}; errors: {self.errors}"
            await asyncio.sleep(0.1)
        return value

    async def look(self, *, size_wh: tuple[int, int], scheme: str = "dark", phone: bool = False) -> None:
        """Take another window size, and the dark or light theme."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=size_wh[0], height=size_wh[1],
            deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def screenshot(self, path: Path) -> None:
        """Save what is seen as PNG."""
        found = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))
