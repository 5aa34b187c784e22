"""Image files of every kind become 8-bit BGR."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import SourceError, SourceNotFound
from steadyframe.runtime.image_file import read_image

COLOR = np.zeros((6, 8, 3), np.uint8)
COLOR[:, :4] = (200, 100, 50)
COLOR[:, 4:] = (10, 20, 250)


def write(path, pixels):
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp", "jpg"])
def test_color_comes_back_as_it_was(tmp_path, suffix):
    read = read_image(write(tmp_path / f"a.{suffix}", COLOR))
    assert read.dtype == np.uint8
    assert read.shape == COLOR.shape
    # Away from the edge between the two colors, which the lossy formats smear.
    assert np.abs(read.astype(int) - COLOR)[:, (0, -1)].max() <= (4 if suffix in ("jpg", "webp") else 0)


def test_grey_becomes_three_equal_channels(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    assert np.array_equal(read_image(write(tmp_path / "a.png", grey)), np.dstack([grey] * 3))


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_from_their_full_range(tmp_path, channels):
    deep = np.zeros((2, 3, channels), np.uint16)
    deep[0], deep[1, 0], deep[1, 1:] = 65535, 257 * 77, 100
    read = read_image(write(tmp_path / "a.png", deep.squeeze()))
    assert read.shape == (2, 3, 3)
    assert (read[0] == 255).all()
    assert (read[1, 0] == 77).all()
    assert (read[1, 1:] == 0).all()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_alpha_is_laid_over_black(tmp_path, depth):
    white = np.iinfo(depth).max
    image = np.full((1, 3, 4), white, depth)
    image[0, :, 3] = (0, white // 2, white)
    assert read_image(write(tmp_path / "a.png", image))[0, :, 0].tolist() == [0, 127, 255]


def test_floats_are_scaled_from_0_to_1_and_clipped(tmp_path):
    values = np.array([[-1.0, 0.0, 0.5, 1.0, 7.0, np.nan]], np.float32)
    path = tmp_path / "a.tiff"
    assert cv2.imwrite(str(path), np.dstack([values] * 3), (cv2.IMWRITE_TIFF_COMPRESSION, 1))  # 1 is none
    read = read_image(path)
    assert read[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


def test_the_orientation_noted_by_a_camera_is_obeyed(tmp_path):
    jpeg = write(tmp_path / "plain.jpg", COLOR).read_bytes()
    tag = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)  # orientation 6: turn right
    exif = b"Exif\0\0" + tag
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert read_image(turned).shape == (8, 6, 3)


def test_one_pixel_is_a_image(tmp_path):
    assert read_image(write(tmp_path / "a.png", COLOR[:1, :1])).tolist() == [[[200, 100, 50]]]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_image_that_is_cut_off_is_refused(tmp_path, suffix, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(SourceError, match="cut off"):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40 + b"IEND", b"\xff\xd8\xff\xd9"])
def test_what_is_no_image_is_refused_quietly(tmp_path, content, capfd):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.png"):
        read_image(path)
    # libpng of older OpenCV wheels writes to stderr by itself, and cannot be asked not to.
    assert capfd.readouterr().err == "" or b"PNG" in content


def test_a_missing_image_is_not_found(tmp_path):
    with pytest.raises(SourceNotFound, match="No such file"):
        read_image(tmp_path / "none.png")
