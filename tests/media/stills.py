"""Image files of the kinds that people have, made of one test card.

Owns `STILLS`, name -> maker, in the form of `clips.CLIPS`. Formats of phones (HEIC) need pillow-heif.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cards
import cv2
import numpy as np
from clips import Make, Maker, ffmpeg, noise
from PIL import Image

STILLS: dict[str, Maker] = {}
SIZE = (160, 120)
ORIENTATION = 0x0112
# Orientation code -> how a camera that was held so stores an upright scene.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photo(orientation: int = 1) -> Image.Image:
    """Give the card as a camera stores it."""
    image = Image.fromarray(cards.card(*SIZE))
    return image.transpose(STORED[orientation]) if orientation in STORED else image


def exif(orientation: int) -> bytes:
    """EXIF that notes how the camera was held."""
    found = Image.Exif()
    found[ORIENTATION] = orientation
    return found.tobytes()


def _still(name: str, make: Callable[[Path], object]) -> None:
    STILLS[name] = lambda path, _: make(path)


def _saved(name: str, image: Callable[[], Image.Image] = photo, **words: object) -> None:
    _still(name, lambda path: image().save(path, **words))  # type: ignore[arg-type]


for _code in (1, *STORED):
    for _suffix in ("jpg", "png", "webp", "avif"):
        _saved(f"exif_{_code}.{_suffix}", lambda code=_code: photo(code), exif=exif(_code), quality=95)
    _saved(f"exif_{_code}.tif", lambda code=_code: photo(code), tiffinfo={ORIENTATION: _code})
_saved("exif_6.jfif", lambda: photo(6), format="JPEG", exif=exif(6), quality=95)
_saved("exif_6_no_ending", lambda: photo(6), format="JPEG", exif=exif(6), quality=95)


def _clear(orientation: int = 1, right: int = 255) -> Image.Image:
    """RGBA; the right half as transparent as told."""
    image = photo(orientation).convert("RGBA")
    alpha = np.full((image.height, image.width), 255, np.uint8)
    alpha[:, image.width // 2 :] = right
    image.putalpha(Image.fromarray(alpha))
    return image


_saved("exif_6_rgba.png", lambda: _clear(6), exif=exif(6))
_saved("half_clear.png", lambda: _clear(right=0))
_saved("half_clear.webp", lambda: _clear(right=0), lossless=True)
_saved("cmyk.jpg", lambda: photo().convert("CMYK"), quality=95)
_saved("palette.png", lambda: photo().quantize(64))
_saved("progressive.jpg", quality=95, progressive=True)
_saved("photo.mpo", format="JPEG", quality=95)
_saved("photo.jp2")
_saved("still.gif")
_saved("is_jpeg.png", format="JPEG", quality=95)
_saved("is_webp.jpg", format="WEBP", quality=95)
_saved("is_png.jpg", format="PNG")
_saved("is_gif.jpg", format="GIF")
_saved("grey.png", lambda: photo().convert("L"))
_saved("grey.jpg", lambda: photo().convert("L"), quality=95)


def _deep(scale: int) -> np.ndarray:
    return cards.card(*SIZE)[..., ::-1].astype(np.uint16) * scale


_still("rgb16.png", lambda path: cv2.imwrite(str(path), _deep(257)))
_still("rgb16.tif", lambda path: cv2.imwrite(str(path), _deep(257)))
_still("twelve_bits_in_16.png", lambda path: cv2.imwrite(str(path), _deep(16)))
_still("float.tif", lambda path: cv2.imwrite(str(path), _deep(1).astype(np.float32) / 255))
_still("float_255.tif", lambda path: cv2.imwrite(str(path), _deep(1).astype(np.float32)))
_still("empty.jpg", lambda path: path.write_bytes(b""))
_still("page.jpg", lambda path: path.write_text("<!DOCTYPE html><title>404 Not Found</title>"))


def still(name: str) -> Callable[[Maker], Maker]:
    """Register the maker of a file."""

    def register(maker: Maker) -> Maker:
        STILLS[name] = maker
        return maker

    return register


@still("motion_photo.jpg")
def _motion_photo(path: Path, make: Make) -> None:
    """A phone's photo with a clip behind it, whose bytes hold every marker of a JPEG."""
    clip = b"\0\0\0\x18ftypmp42" + noise(30_000) + b"\xff\xda" + bytes(200)
    path.write_bytes(make("progressive.jpg").read_bytes() + clip)


@still("cut.jpg")
def _cut_jpg(path: Path, make: Make) -> None:
    path.write_bytes(make("progressive.jpg").read_bytes()[:-500])


@still("cut.png")
def _cut_png(path: Path, make: Make) -> None:
    path.write_bytes(make("exif_1.png").read_bytes()[:-500])


@still("cut.webp")
def _cut_webp(path: Path, make: Make) -> None:
    path.write_bytes(make("exif_1.webp").read_bytes()[:-500])


@still("bomb.png")
def _bomb(path: Path, make: Make) -> None:
    """30000x30000 pixels of one bit in a small file."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    packer = zlib.compressobj(9)
    row = bytes(30_000 // 8 + 1)
    packed = b"".join(packer.compress(row) for _ in range(30_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def _moving(path: Path, **words: object) -> None:
    first, *rest = (Image.fromarray(cards.card(*SIZE, number)) for number in range(10))
    first.save(path, save_all=True, append_images=rest, **words)  # type: ignore[arg-type]


_still("moving.gif", lambda path: _moving(path, duration=100, loop=0))
_still("moving.webp", lambda path: _moving(path, duration=100, loop=0, quality=95))
_still("moving.png", lambda path: _moving(path, duration=100, loop=0))
_still("pages.tif", _moving)


def _heif(path: Path, **words: object) -> None:
    import pytest

    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    photo().save(path, format="HEIF", quality=95, **words)


_still("photo.heic", _heif)
_still("is_heic.jpg", _heif)


@still("tiled.heic")
def _tiled(path: Path, make: Make) -> None:
    """Four tiles of one image under a grid, as every iPhone stores a photo."""
    side, image = 256, cards.card(512, 512)
    samples, config = [], b""
    for down in (0, 1):
        for across in (0, 1):
            tile = image[down * side : (down + 1) * side, across * side : (across + 1) * side]
            clip = path.with_suffix(".tile.mp4")
            ffmpeg(
                "-f",
                "rawvideo",
                "-pix_fmt",
                "rgb24",
                "-s",
                f"{side}x{side}",
                "-i",
                "-",
                "-frames:v",
                "1",
                "-pix_fmt",
                "yuv420p",
                "-c:v",
                "libx265",
                "-x265-params",
                "log-level=error:info=0:crf=8",
                "-tag:v",
                "hvc1",
                clip,
                given=tile.tobytes(),
            )
            content = clip.read_bytes()
            config = _whole_box(content, b"hvcC")
            samples.append(_whole_box(content, b"mdat")[8:])
    path.write_bytes(_grid_file(side, samples, config))


def _whole_box(content: bytes, name: bytes) -> bytes:
    at = content.find(name) - 4
    return content[at : at + int.from_bytes(content[at : at + 4], "big")]


def _box(name: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + name + content


def _full_box(name: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(name, struct.pack(">I", version << 24 | flags), *parts)


def _grid_file(side: int, tiles: list[bytes], config: bytes) -> bytes:
    """Lay HEVC tiles into an image file (ISO/IEC 23008-12): items 1 to 4 are tiles, item 5 their grid."""
    items = [*tiles, struct.pack(">BBBBHH", 0, 0, 1, 1, 2 * side, 2 * side)]
    grid, count = len(items), len(items)
    infos = [_full_box(b"infe", 2, 1, struct.pack(">HH", one, 0), b"hvc1\0") for one in range(1, grid)]
    infos.append(_full_box(b"infe", 2, 0, struct.pack(">HH", grid, 0), b"grid\0"))
    sizes = [_full_box(b"ispe", 0, 0, struct.pack(">II", edge, edge)) for edge in (side, 2 * side)]
    links = [struct.pack(">HBBB", one, 2, 0x81, 2) for one in range(1, grid)]
    links.append(struct.pack(">HBB", grid, 1, 3))
    boxes = [
        _full_box(b"hdlr", 0, 0, struct.pack(">I", 0), b"pict", bytes(13)),
        _full_box(b"pitm", 0, 0, struct.pack(">H", grid)),
        _full_box(b"iinf", 0, 0, struct.pack(">H", count), *infos),
        _full_box(b"iref", 0, 0, _box(b"dimg", struct.pack(">HH4H", grid, 4, 1, 2, 3, 4))),
        _box(b"iprp", _box(b"ipco", config, *sizes), _full_box(b"ipma", 0, 0, struct.pack(">I", count), *links)),
    ]
    kind = _box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    places_bytes = 16 + 14 * count  # of the box that says where each item lies
    at = len(kind) + 12 + sum(map(len, boxes)) + places_bytes + 8
    places = []
    for number, item in enumerate(items, 1):
        places.append(struct.pack(">HHHII", number, 0, 1, at, len(item)))
        at += len(item)
    boxes.append(_full_box(b"iloc", 0, 0, struct.pack(">HH", 0x4400, count), *places))
    return kind + _full_box(b"meta", 0, 0, *boxes) + _box(b"mdat", *items)
