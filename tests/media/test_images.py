"""Every kind of image file is read upright, whole and in its colors, or refused in one line."""

from __future__ import annotations

import resource
import sys
import time

import cards
import numpy as np
import pytest
import stills
from steadyframe.runtime.errors import SourceError
from steadyframe.runtime.image_file import read_image
from steadyframe.runtime.image_file.header import announced_wh
from steadyframe.runtime.image_file.sniff import sniff

SUFFIXES = ("jpg", "png", "webp", "tif", "avif")
ORIENTED = [f"exif_{code}.{suffix}" for code in (1, *stills.STORED) for suffix in SUFFIXES]
PLAIN = (
    *("exif_6.jfif", "exif_6_no_ending", "exif_6_rgba.png", "cmyk.jpg", "progressive.jpg", "photo.mpo", "photo.jp2"),
    *("still.gif", "is_jpeg.png", "is_webp.jpg", "is_png.jpg", "is_gif.jpg", "rgb16.png", "rgb16.tif", "float.tif"),
    *("motion_photo.jpg", "photo.heic", "is_heic.jpg"),
)


@pytest.mark.parametrize("name", [*ORIENTED, *PLAIN])
def test_it_is_upright_and_has_its_colors(odd, name):
    notes: list[str] = []
    pixels = read_image(odd(name), notes)
    assert pixels.shape == (120, 160, 3)
    assert cards.worst_corner(pixels) <= 8
    assert notes == []


@pytest.mark.parametrize("name", ["palette.png", "grey.png", "grey.jpg"])
def test_few_colors(odd, name):
    assert read_image(odd(name)).shape == (120, 160, 3)


def test_a_phones_tiles_are_assembled(odd):
    pytest.importorskip("pillow_heif")
    pixels = read_image(odd("tiled.heic"))
    assert pixels.shape == (512, 512, 3)
    assert cards.worst_corner(pixels) <= 8


def test_without_pillow_heif_there_is_one_clear_line(odd, monkeypatch):
    path = odd("photo.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(SourceError, match=r"needs pillow-heif.*pip install 'steadyframe\[heif\]'"):
        read_image(path)


@pytest.mark.parametrize("name", ["half_clear.png", "half_clear.webp"])
def test_what_is_transparent_lies_over_black(odd, name):
    corners = cards.corners_of(read_image(odd(name)))
    assert corners[1] == corners[3] == (0, 0, 0)


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "cut.webp"])
def test_a_cut_file_is_told(odd, name):
    with pytest.raises(SourceError, match="is cut off"):
        read_image(odd(name))


def test_an_empty_file_and_a_web_page(odd):
    with pytest.raises(SourceError, match="is empty"):
        read_image(odd("empty.jpg"))
    with pytest.raises(SourceError, match="web page"):
        read_image(odd("page.jpg"))


def test_a_bomb_is_refused_before_memory_is_spent(odd):
    path = odd("bomb.png")
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(SourceError, match=r"too large.*30000x30000"):
        read_image(path)
    assert time.monotonic() - started < 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize(
    ("name", "word"), [("twelve_bits_in_16.png", "nearly black"), ("float_255.tif", "nearly white")]
)
def test_a_depth_that_is_hardly_meant_so_gets_a_word(odd, name, word):
    notes: list[str] = []
    read_image(odd(name), notes)
    assert len(notes) == 1
    assert word in notes[0]


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp", "moving.png", "pages.tif"])
def test_where_only_the_first_frame_is_used_it_is_said(odd, name):
    notes: list[str] = []
    pixels = read_image(odd(name), notes)
    assert cards.number_of(pixels) == 0
    assert any("only the first" in note for note in notes)


@pytest.mark.parametrize(
    "name",
    [
        "exif_1.jpg",
        "exif_1.png",
        "exif_1.webp",
        "half_clear.webp",
        "exif_1.tif",
        "exif_1.avif",
        "still.gif",
        "photo.heic",
        "photo.jp2",
    ],
)
def test_the_size_is_known_before_decoding(odd, name):
    content = odd(name).read_bytes()
    assert announced_wh(sniff(content), content) == (160, 120)


def test_headers_of_noise_never_raise():
    noise = np.random.default_rng(0)
    starts = (
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"II*\0",
        b"RIFF\0\0\0\0WEBPVP8X",
        b"BM",
        b"P6 ",
        b"\0\0\0\x1cftypavif",
    )
    for start in starts:
        for length in (0, 1, 10, 100, 5000):
            content = start + noise.integers(0, 256, length, np.uint8).tobytes()
            announced_wh(sniff(content), content)


def test_the_first_frame_of_an_animated_webp_is_a_file_of_its_own(odd):
    """OpenCV 4.8 refuses animated files."""
    import cv2
    from steadyframe.runtime.image_file.webp import first_still

    still = first_still(odd("moving.webp").read_bytes())
    pixels = cv2.imdecode(np.frombuffer(still, np.uint8), cv2.IMREAD_COLOR)
    assert cards.number_of(pixels) == 0
    assert cards.worst_corner(pixels) <= 8
    assert first_still(odd("exif_1.webp").read_bytes()) is None
