"""The page in a real headless Chromium: the server's camera, the browser's own (a real clip), the controls."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from .chromium import Chromium

pytestmark = [
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian: apt-get install chromium"),
    pytest.mark.timeout(240),
]
LIVE = "document.getElementById('state').dataset.state === 'live'"
MEAN = """(() => {
  const canvas = document.getElementById('image');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const part = (from, to) => {
    let [sum, chroma, count] = [0, 0, 0];
    const begin = Math.round(from * canvas.width);
    for (let y = 0; y < canvas.height; y += 3) for (let x = begin; x < to * canvas.width; x += 3) {
      const at = 4 * (y * canvas.width + x);
      sum += data[at] + data[at + 1] + data[at + 2]; count += 3;
      chroma += Math.max(data[at], data[at + 1], data[at + 2]) - Math.min(data[at], data[at + 1], data[at + 2]);
    }
    return [sum / count, 3 * chroma / count];
  };
  return {size: [canvas.width, canvas.height], left: part(0, 0.48), right: part(0.52, 1)};
})()"""


@pytest.fixture(scope="module")
def clip(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first second of a real webcam clip, as the raw video that Chromium takes for a camera."""
    path = tmp_path_factory.mktemp("camera") / "clip.y4m"
    with av.open(str(data_root / "videos" / "webcam_help.mkv")) as container, path.open("wb") as file:
        for number, frame in enumerate(container.decode(video=0)):
            if number == 30:
                break
            if number == 0:
                file.write(f"YUV4MPEG2 W{frame.width} H{frame.height} F30:1 Ip A1:1 C420mpeg2\n".encode())
            planes = frame.reformat(format="yuv420p", dst_color_range=ColorRange.MPEG).to_ndarray()
            file.write(b"FRAME\n" + planes.tobytes())
    return path


def test_the_servers_camera_its_slider_and_a_switch(served, tmp_path):
    async def check():
        async with (
            served(bundle="colorize", source="test://?size=320x240&fps=10") as site,
            Chromium(site.address) as page,
        ):
            await page.until(LIVE, 90)
            found = await page.run(MEAN)
            assert found["size"] == [320, 240] and found["left"][1] > 2  # colors
            await page.run("document.getElementById('compare').click()")
            await page.until(f"{MEAN}.left[1] < 1.5 && {MEAN}.right[1] > 2")  # left grey, right colored
            await page.run("document.querySelector('[name=steady][value=keyframe]').click()")
            text = await page.until("document.getElementById('toast').hidden ? '' : "
                                    "document.getElementById('toast').textContent", 60)  # fmt: skip
            assert text.startswith("Colorize, steadying keyframe, after ") and text.endswith("s")
            assert site.server.room.choice.steady == "keyframe"
            for chart in ("fps", "age", "keyframes"):
                await page.until(f"document.querySelector('#chart-{chart} b').textContent !== '–'")
            assert not page.errors
            assert {address.split("/")[2] for address in page.requests if "://" in address} == {
                f"127.0.0.1:{site.port}"
            }
            if folder := os.environ.get("STEADYFRAME_SCREENSHOTS"):
                await page.screenshot(Path(folder) / "page.png")

    asyncio.run(check())


def test_the_browsers_own_camera(served, clip):
    async def check():
        async with (
            served(bundle="colorize", source="test://?size=160x120&fps=5") as site,
            Chromium(site.address, camera=clip) as page,
        ):
            await page.until(LIVE, 90)
            await page.run("document.querySelector('[name=camera][value=browser]').click()")
            found = await page.until(f"{MEAN}.size[0] >= 304 && {MEAN}", 60)
            assert found["size"][0] * 3 == found["size"][1] * 4  # the clip's shape, not the pattern's
            await page.until("parseInt(document.querySelector('#chart-age b').textContent) > 0")
            rooms = list(site.server._watchers)
            assert len(rooms) == 2
            seen = next(room for room in rooms if room is not site.server.room).newest.result.frame.pixels
            assert seen.shape == (480, 640, 3)
            wanted = first_frame(clip)
            change = np.abs(cv2.resize(seen, (64, 48)).astype(float) - cv2.resize(wanted, (64, 48)))
            assert change.mean() < 12  # the clip itself arrived: a still person before the same wall
            await page.run("document.querySelector('[name=camera][value=server]').click()")
            await page.until(f"{MEAN}.size[0] === 160", 60)
            assert not page.errors
            await site.until(lambda: len(site.server._watchers) == 1)

    asyncio.run(check())


def first_frame(clip: Path) -> np.ndarray:
    with av.open(str(clip)) as container:
        return next(container.decode(video=0)).to_ndarray(format="bgr24")


def test_a_lost_connection_is_said_and_made_again(served, tiny_bundle):
    async def check():
        async with served() as site:
            port = site.port
            page = Chromium(site.address)
            await page.__aenter__()
            await page.until(LIVE, 60)
        try:
            await page.until("document.getElementById('notice-title').textContent === 'No connection to the server'")
            async with served(port=port):
                await page.until(LIVE, 60)
        finally:
            await page.__aexit__(None, None, None)

    asyncio.run(check())


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_nothing_sticks_out(served, phone):
    async def check():
        async with served() as site, Chromium(site.address) as page:
            await page.look(size_wh=(390, 844) if phone else (1440, 900), phone=phone)
            await page.until(LIVE, 60)
            assert await page.run("document.documentElement.scrollWidth <= innerWidth")
            box = await page.run("(() => { const box = document.getElementById('frame').getBoundingClientRect();"
                                 "return [box.left, box.right, box.top, box.height]; })()")  # fmt: skip
            assert box[0] >= 0 and box[1] <= (390 if phone else 1440)
            assert box[2] < 100 and box[3] > 150
            assert await page.run("[...document.querySelectorAll('.bar button')].every(each => "
                                  "each.getBoundingClientRect().right <= innerWidth)")  # fmt: skip

    asyncio.run(check())
