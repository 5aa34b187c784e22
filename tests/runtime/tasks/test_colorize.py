"""The shipped colorizer at work: its own luma, its looks at the whole image, another image's mood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.errors import BundleError, SourceError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.image import luma
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opening import open_task
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.tasks.colorize import Colorize, ColorizeSettings
from steadyframe.runtime.tasks.sessions import TaskSessions
from steadyframe.runtime.tasks.task import Task
from steadyframe.runtime.temporal.options import SteadyOptions


@pytest.fixture(scope="module")
def film() -> list[Frame]:
    """Two scenes of the sample camera, 20 frames each."""
    source = open_source("sample://?size=320x240&frames=400")
    frames = list(source)
    source.close()
    first, second = frames[:20], frames[-20:]
    return [Frame(f.pixels, index=i, source=f.source) for i, f in enumerate([*first, *second])]


class Counting:
    """A real session that counts its runs."""

    def __init__(self, session: object) -> None:
        self._session = session
        self.runs = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.runs += 1
        return self._session.run(feeds)


@pytest.fixture
def counted() -> Iterator[tuple[Bundle, TaskSessions]]:
    bundle = Bundle.load("colorize")
    sessions = {role: Counting(open_session(bundle, role)) for role in bundle.manifest.graphs}
    yield bundle, TaskSessions(sessions, name="colorize")
    for session in sessions.values():
        session.close()


def color(task: Task, *frames: Frame) -> np.ndarray:
    """Color the frames of one stream; the last image."""
    with Processor(task) as processor:
        return [processor.process(frame)[0].output.pixels for frame in frames][-1]


def test_luma_is_the_frames_own(film: list[Frame], data_root: Path) -> None:
    task = open_task("colorize")
    photos = [cv2.imread(str(path)) for path in sorted((data_root / "photos" / "val").iterdir())[::20]]
    colored = 0
    for pixels in [film[0].pixels, *photos]:
        image = color(task, Frame(pixels))
        assert image.shape == pixels.shape
        inside = ((image > 0) & (image < 255)).all(axis=2)  # elsewhere a color may have left the gamut
        error = np.abs(luma(image).astype(int) - luma(pixels))[inside]
        assert error.mean() <= 0.5
        assert error.max() <= 2
        colored += np.ptp(image.astype(int), axis=2).mean() > 5
    assert colored > len(photos) // 2
    task.close()


def test_the_whole_image_is_looked_at_now_and_then(film: list[Frame], counted: tuple[Bundle, TaskSessions]) -> None:
    bundle, sessions = counted
    task = Colorize(bundle.manifest, sessions, settings=ColorizeSettings(global_every=8))
    runs = []
    with Processor(task) as processor:
        for frame in film:
            processor.process(frame)
            runs.append(sessions["global"].runs)
    looks = [i for i, (before, now) in enumerate(zip([0, *runs], runs, strict=False)) if now > before]
    assert looks == [0, 8, 16, 20, 28, 36]  # every eighth frame, and at the cut
    assert sessions["color"].runs == len(film)


def test_a_new_look_is_taken_in_slowly_and_a_cut_at_once(film: list[Frame]) -> None:
    settings = ColorizeSettings(global_every=8, global_share=0.25)
    bundle = Bundle.load("colorize")
    sessions = {role: open_session(bundle, role) for role in bundle.manifest.graphs}
    task = Colorize(bundle.manifest, TaskSessions(sessions, owned=True), settings=settings)
    processor = Processor.owning(task)
    for frame in film[:8]:
        processor.process(frame)
    before = task._features.copy()
    processor.process(film[8])
    looked = task._describe(task._network_frame(film[8].pixels, "global"))
    np.testing.assert_allclose(task._features, before + 0.25 * (looked - before), atol=1e-6)
    for frame in film[9:21]:
        processor.process(frame)
    after_cut = task._describe(task._network_frame(film[20].pixels, "global"))
    np.testing.assert_array_equal(task._features, after_cut)
    processor.close()


def _anew(processor: Processor, frame: Frame) -> np.ndarray:
    processor.close()
    return color(processor.task, frame)


def _after_a_reset(processor: Processor, frame: Frame) -> np.ndarray:
    processor.reset()
    return processor.process(frame)[0].output.pixels


def _independent(processor: Processor, frame: Frame) -> np.ndarray:
    alone = Frame(frame.pixels, index=frame.index, independent=True)
    return processor.process(alone)[-1].output.pixels  # after those that look-ahead held back


@pytest.mark.parametrize("mode", ["off", "blend", "keyframe"])
@pytest.mark.parametrize("forget", [_anew, _after_a_reset, _independent])
def test_a_restart_forgets(film: list[Frame], mode: str, forget: Callable[..., np.ndarray]) -> None:
    fresh, task = open_task("colorize"), open_task("colorize")
    with Processor(task, task.make_stage(SteadyOptions(mode=mode))) as processor:
        for frame in film[:13]:
            processor.process(frame)
        np.testing.assert_array_equal(forget(processor, film[25]), color(fresh, film[25]))
    fresh.close()
    task.close()


def test_without_motion_every_frame_is_a_first_one(film: list[Frame]) -> None:
    task = open_task("colorize")
    for frame in film[:3]:
        feeds, _ = task.preprocess(frame)
        assert feeds["cut"] and "global_frame" in feeds
    task.close()


def test_a_reference_gives_the_mood(film: list[Frame], counted: tuple[Bundle, TaskSessions], data_root: Path) -> None:
    bundle, sessions = counted
    references = sorted((data_root / "photos" / "val").iterdir())[::60]
    images = []
    for path in references:
        task = Colorize(bundle.manifest, sessions, reference=cv2.imread(str(path)))
        images.append(color(task, film[0]).astype(int))
    assert sessions["global"].runs == len(references)  # never on the stream itself
    assert np.abs(images[0] - images[1]).mean() > 0.1
    for image in images:
        assert np.abs(luma(image.astype(np.uint8)).astype(int) - luma(film[0].pixels)).mean() <= 0.5


def test_saturation(film: list[Frame]) -> None:
    spreads = []
    for saturation in (0.0, 0.5, 1.0):
        task = open_task("colorize", options={"saturation": saturation})
        spreads.append(np.ptp(color(task, film[0]).astype(int), axis=2).mean())
        task.close()
    assert spreads[0] == 0
    assert spreads[0] < spreads[1] < spreads[2]


@pytest.mark.parametrize("size_wh", [(1, 1), (8, 1000), (641, 479), (31, 17)])
def test_any_size(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    task = open_task("colorize")
    image = color(task, Frame(np.full((height, width, 3), 90, np.uint8)))
    assert image.shape == (height, width, 3)
    task.close()


@pytest.mark.parametrize("options", [{"saturation": 9}, {"global_every": 0}, {"saturation": True}])
def test_options_out_of_range_are_the_users_mistake(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"out of range|is a number"):
        open_task("colorize", options=options)


@pytest.mark.parametrize("settings", [{"saturation": 9}, {"global_every": 0}, {"saturation": True}, {"sparkle": 1}])
def test_settings_out_of_range_are_the_bundles(make_bundle: Callable[..., Path], settings: dict[str, Any]) -> None:
    folder = make_bundle(lambda manifest: manifest["settings"].update(settings))
    with pytest.raises(BundleError, match="settings"):
        open_task(folder)
    with pytest.raises(BundleError, match="settings"):
        open_task(folder, options={"saturation": 1})  # a good option does not mend a broken bundle


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such option"):
        open_task("colorize", options={"sparkle": 1})
    with pytest.raises(SourceError):
        open_task("colorize", options={"reference": tmp_path / "none.jpg"})
