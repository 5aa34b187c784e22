"""A browser plays what is written: right image, right colors, right length, sound, quick seeking."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import browser
import cards
import numpy as np
import pytest
from steadyframe.runtime.io.decode import open_path
from steadyframe.runtime.io.encode import VideoPlan, VideoWriter
from steadyframe.runtime.io.names import ffmpeg_name
from steadyframe.runtime.io.soundtrack import Soundtrack

INPUTS = (
    "plain.mp4",
    "sound.mp4",
    "vfr.mp4",
    "pause.mkv",
    "bt709.mp4",
    "bt709_full.mp4",
    "gbrp.mkv",
    "dvd_pal.mpg",
    "interlaced.mp4",
    "camera.ts",
    "yuv444.mp4",
    "ntsc.mp4",
)

TAGGED = ("plain.mp4", "sound.mp4", "vfr.mp4", "bt709.mp4", "bt709_full.mp4", "ntsc.mp4")


def written(source: Path, target: Path) -> None:
    decoder = open_path(source, source.name)
    facts = decoder.facts
    beside = Soundtrack(ffmpeg_name(source), {}, facts.start_ns, decoder.video_index)
    writer = None
    for frame in decoder:
        image = frame.planes if frame.planes is not None else frame.pixels
        if writer is None:
            plan = VideoPlan(fps=facts.fps, time_base=facts.time_base, sample_aspect=facts.sample_aspect, quality=6)
            size = image.size_wh if frame.planes is not None else (image.shape[1], image.shape[0])
            tags = frame.planes.tags if frame.planes is not None else None
            writer = VideoWriter(target, size, tags, plan, beside)
        writer.write(image, frame.time_ns)
    writer.finish()


@pytest.fixture(scope="module")
def seen(odd, tmp_path_factory) -> dict[str, Any]:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed; Debian: apt-get install chromium")
    folder = tmp_path_factory.mktemp("web")
    for name in INPUTS:
        written(odd(name), folder / f"{name}.mp4")
    names = [f"{name}.mp4" for name in INPUTS]
    for name in TAGGED:  # how a browser shows the input itself
        shutil.copy(odd(name), folder / name)
    return browser.played(folder, [*names, *TAGGED])


def bgr(found: dict[str, Any], which: str) -> np.ndarray:
    return np.array(found[which], np.uint8).reshape(found["height"], found["width"], 4)[..., 2::-1]


@pytest.mark.parametrize("name", INPUTS)
def test_a_browser_plays_it(odd, seen, name):
    found = seen[f"{name}.mp4"]
    assert "error" not in found, found
    decoder = open_path(odd(name), name)
    frames = list(decoder)
    last_s = frames[-1].time_ns / 1e9
    step = 1 / decoder.facts.fps
    assert last_s < found["duration"] <= last_s + 2.1 * step + 0.03
    found["width"], found["height"] = found["size"]
    first = bgr(found, "first")
    if name == "dvd_pal.mpg":
        assert found["size"][0] / found["size"][1] == pytest.approx(16 / 9, abs=0.01)
    assert cards.worst_corner(first) <= 12
    if name in TAGGED:
        seen[name]["width"], seen[name]["height"] = seen[name]["size"]
        wanted = cards.corners_of(bgr(seen[name], "first"))
    else:
        wanted = cards.corners_of(frames[0].planes.to_bgr() if frames[0].planes is not None else frames[0].pixels)
    far = np.abs(np.array(cards.corners_of(first)) - wanted)
    assert far.max() <= (3 if name in TAGGED else 6), far
    assert found["seek_ms"] <= 200
    assert (found["audio"] > 0) == (name == "sound.mp4")
