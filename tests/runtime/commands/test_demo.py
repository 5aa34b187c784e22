"""`steadyframe demo`, with a small bundle in place of the shipped one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from steadyframe.runtime.bundle import bundle
from steadyframe.runtime.commands import main
from steadyframe.runtime.commands.demo import side_by_side
from steadyframe.runtime.io.sources import open_source


@pytest.fixture
def demo(monkeypatch, tmp_path, tiny_bundle):
    """Run the demo in an empty folder, without a screen."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    tiny_bundle.rename(shipped / "colorize")
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(bundle, "SHIPPED", shipped)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("DISPLAY", raising=False)
    return lambda *arguments: CliRunner().invoke(main, ["demo", *arguments])


def test_it_writes_three_panels_and_prints_its_table_and_where_the_video_is(demo, tmp_path):
    pytest.importorskip("skimage", reason="the [demo] extra is not installed")
    result = demo("--limit", "8")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == "demo.mp4"
    assert "age of result" in result.stderr
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["demo.mp4"]
    frames = [frame.pixels for frame in open_source(str(tmp_path / "here" / "demo.mp4"))]
    assert len(frames) == 8
    assert frames[0].shape == (480, 3 * 640, 3)
    original, grey, _ = np.split(frames[4].astype(int), 3, axis=1)
    assert np.ptp(grey, axis=2).mean() < 8  # the codec moves grey a little
    assert np.ptp(original, axis=2).mean() > 30


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
    original = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    colorized = 255 - original
    before = original.copy(), colorized.copy()
    left, middle, right = np.split(side_by_side(original, colorized), 3, axis=1)
    upper = slice(0, 30)  # above the names
    assert np.array_equal(left[upper], original[upper])
    assert np.array_equal(right[upper], colorized[upper])
    assert np.array_equal(middle[upper, :, 0], cv2.cvtColor(original, cv2.COLOR_BGR2GRAY)[upper])
    assert np.array_equal(original, before[0])
    assert np.array_equal(colorized, before[1])
