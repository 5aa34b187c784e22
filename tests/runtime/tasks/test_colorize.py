"""The shipped colorizer at work: its own luma, its looks at the whole image, another image's mood."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
from steadyframe.runtime.tasks.colorize import Colorize, ColorizeSettings


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
def counted() -> Iterator[tuple[Bundle, dict[str, Counting]]]:
    bundle = Bundle.load("colorize")
    sessions = {role: Counting(open_session(bundle, role)) for role in bundle.manifest.graphs}
    yield bundle, sessions
    for session in sessions.values():
        session.close()


def color(task: Colorize, frame: Frame) -> np.ndarray:
    feeds, placement = task.preprocess(frame)
    return task.postprocess(task.infer(feeds), placement).pixels


def test_luma_is_the_frames_own(film: list[Frame], data_root: Path) -> None:
    task = open_task("colorize")
    photos = [cv2.imread(str(path)) for path in sorted((data_root / "photos" / "val").iterdir())[::20]]
    colored = 0
    for pixels in [film[0].pixels, *photos]:
        task.reset()
        image = color(task, Frame(pixels))
        assert image.shape == pixels.shape
        inside = ((image > 0) & (image < 255)).all(axis=2)  # elsewhere a color may have left the gamut
        error = np.abs(luma(image).astype(int) - luma(pixels))[inside]
        assert error.mean() <= 0.5
        assert error.max() <= 2
        colored += np.ptp(image.astype(int), axis=2).mean() > 5
    assert colored > len(photos) // 2
    task.close()


def test_the_whole_image_is_looked_at_now_and_then(
    film: list[Frame], counted: tuple[Bundle, dict[str, Counting]]
) -> None:
    bundle, sessions = counted
    task = Colorize(bundle.manifest, sessions, settings=ColorizeSettings(global_every=8))
    runs = []
    for frame in film:
        color(task, frame)
        runs.append(sessions["global"].runs)
    looks = [i for i, (before, now) in enumerate(zip([0, *runs], runs, strict=False)) if now > before]
    assert looks == [0, 8, 16, 20, 28, 36]  # every eighth frame, and at the cut
    assert sessions["color"].runs == len(film)


def test_a_new_look_is_taken_in_slowly_and_a_cut_at_once(film: list[Frame]) -> None:
    settings = ColorizeSettings(global_every=8, global_share=0.25)
    bundle = Bundle.load("colorize")
    sessions = {role: open_session(bundle, role) for role in bundle.manifest.graphs}
    task = Colorize(bundle.manifest, sessions, settings=settings)
    for frame in film[:8]:
        color(task, frame)
    before = task._features.copy()
    color(task, film[8])
    looked = task._describe(task._network_frame(film[8].pixels, "global"))
    np.testing.assert_allclose(task._features, before + 0.25 * (looked - before), atol=1e-6)
    for frame in film[9:21]:
        color(task, frame)
    after_cut = task._describe(task._network_frame(film[20].pixels, "global"))
    np.testing.assert_array_equal(task._features, after_cut)
    task.close()


def test_reset_forgets(film: list[Frame]) -> None:
    task = open_task("colorize")
    alone = color(task, film[25])
    for frame in film[:20]:
        color(task, frame)
    task.reset()
    np.testing.assert_array_equal(color(task, film[25]), alone)
    task.close()


def test_a_reference_gives_the_mood(
    film: list[Frame], counted: tuple[Bundle, dict[str, Counting]], data_root: Path
) -> None:
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
def test_settings_out_of_range(options: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="settings"):
        open_task("colorize", options=options)


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such option"):
        open_task("colorize", options={"sparkle": 1})
    with pytest.raises(SourceError):
        open_task("colorize", options={"reference": tmp_path / "none.jpg"})
