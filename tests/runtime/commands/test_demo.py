"""`steadyframe demo`, with a small colorizer in place of the shipped one."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from steadyframe.runtime.bundle import bundle
from steadyframe.runtime.commands import main
from steadyframe.runtime.commands.demo import panels
from steadyframe.runtime.io.sources import open_source


@pytest.fixture
def demo(monkeypatch, tmp_path, tiny_bundle):
    """Run the demo in an empty folder, without a screen."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    tiny_bundle.rename(shipped / "colorize")
    for name in ("pose", "stylize-wave"):
        (shipped / name).symlink_to(bundle.SHIPPED / name)
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(bundle, "SHIPPED", shipped)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("DISPLAY", raising=False)
    return lambda *arguments: CliRunner().invoke(main, ["demo", *arguments])


def test_it_writes_four_panels_and_prints_its_table_and_where_the_video_is(demo, tmp_path):
    pytest.importorskip("skimage", reason="the [demo] extra is not installed")
    result = demo("--limit", "8")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == "demo.mp4"
    assert all(name in result.stderr for name in ("colorize", "pose", "stylize-wave", "8 frames in"))
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["demo.mp4"]
    frames = [frame.pixels for frame in open_source(str(tmp_path / "here" / "demo.mp4"))]
    assert len(frames) == 8
    assert frames[0].shape == (2 * 480, 2 * 640, 3)
    original, _, people, styled = (
        frames[4][y : y + 440, x : x + 640].astype(int) for y in (0, 480) for x in (0, 640)
    )
    assert np.ptp(original, axis=2).mean() > 30
    assert np.abs(people - original).mean() < 8  # there is nobody in a cup of coffee; the codec moves it a little
    assert np.abs(styled - original).mean() > 20


def test_another_input_and_output(demo, tmp_path):
    result = demo("test://?size=96x64&frames=3", "-o", "three.mkv")
    assert result.exit_code == 0, result.stderr
    assert len(list(open_source(str(tmp_path / "here" / "three.mkv")))) == 3


def test_an_output_that_cannot_be_written_is_told_first(demo, tmp_path):
    (tmp_path / "here" / "file").write_text("")
    result = demo("-o", "file/demo.mp4")
    assert result.exit_code == 5
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["file"]


def test_the_panels_are_the_images_and_the_arguments_stay_as_they_were():
    images = [np.full((60, 80, 3), level, np.uint8) for level in (40, 90, 140, 190)]
    shown = panels(images)
    assert shown.shape == (120, 160, 3)
    for number, image in enumerate(images):
        y, x = 60 * (number // 2), 80 * (number % 2)
        assert np.array_equal(shown[y : y + 30, x : x + 80], image[:30])  # above the names
        assert len(np.unique(image)) == 1
