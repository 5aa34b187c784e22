"""Files, folders and patterns of images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import SourceError, SourceNotFound
from steadyframe.runtime.io.sources import open_source


@pytest.fixture
def album(tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    for number in (1, 2, 9, 10, 100):
        cv2.imwrite(str(folder / f"img_{number}.png"), np.full((number % 7 + 1, 4, 3), number, np.uint8))
    (folder / "notes.txt").write_text("no image")
    (folder / ".img_3.png").write_bytes(b"hidden")
    (folder / "sub.png").mkdir()
    return folder


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/img_*.png", "file://{}", "{}/img_?*.[pP]ng"])
def test_images_come_in_natural_order(album, form):
    source = open_source(form.format(album))
    frames = list(source)
    assert [frame.pixels[0, 0, 0] for frame in frames] == [1, 2, 9, 10, 100]
    assert [frame.source for frame in frames] == [str(album / f"img_{n}.png") for n in (1, 2, 9, 10, 100)]
    assert source.info.independent and all(frame.independent for frame in frames)
    assert source.info.count == 5
    assert source.info.fps is None


def test_a_sequence_is_a_video(album):
    source = open_source(str(album), sequence=True)
    assert not source.info.independent and not any(frame.independent for frame in source)
    assert source.info.fps == 30


def test_one_image_is_a_set_of_one(album):
    frames = list(open_source(str(album / "img_9.png")))
    assert [frame.pixels.shape for frame in frames] == [(3, 4, 3)]


def test_a_name_with_brackets_that_exists_is_a_name(tmp_path):
    path = tmp_path / "a[1].png"
    cv2.imwrite(str(path), np.zeros((2, 2, 3), np.uint8))
    assert open_source(str(path)).info.count == 1


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("{}/none", "no file or folder"),
        ("{}/none.jpg", "no file or folder"),
        ("{}/x_*.jpg", "No image matches"),
        ("{}/empty", "an empty folder"),
        ("{}/texts", "1 other entries"),
    ],
)
def test_where_there_are_no_images_the_error_says_so(tmp_path, address, text):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("")
    with pytest.raises(SourceNotFound, match=text):
        open_source(address.format(tmp_path))


def test_a_damaged_image_is_named_after_the_good_ones_were_read(album):
    (album / "img_10.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    frames = iter(open_source(str(album)))
    assert [next(frames).index for _ in range(3)] == [0, 1, 2]
    assert next(frames).source.endswith("img_100.png")
    with pytest.raises(SourceError, match=r"1 of 5 images could not be read.*img_10\.png is cut off"):
        next(frames)
