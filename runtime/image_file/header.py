"""What an image file says of itself before it is decoded: its size, its orientation, whether it is whole.

Owns `announced_wh`, `orientation_of`, `is_whole` and `is_animated`. Standard library only; nothing is decoded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from .sniff import Kind

_ORIENTATION_TAG = 0x0112
_JPEG_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_BEGIN, _JPEG_END, _JPEG_SCAN, _JPEG_EXIF = 0xD8, 0xD9, 0xDA, 0xE1


def announced_wh(kind: Kind, content: bytes) -> tuple[int, int] | None:
    """Width and height that the header announces, or None where this is not known before decoding."""
    reader = _SIZES.get(kind)
    try:
        return None if reader is None else reader(content)
    except (struct.error, IndexError, ValueError):
        return None


def _png_wh(content: bytes) -> tuple[int, int] | None:
    return _pair(">II", content, 16)


def _gif_wh(content: bytes) -> tuple[int, int] | None:
    return _pair("<HH", content, 6)


def _bmp_wh(content: bytes) -> tuple[int, int] | None:
    width, height = _pair("<ii", content, 18)
    return abs(width), abs(height)


def _jpeg_wh(content: bytes) -> tuple[int, int] | None:
    for marker, start, _ in _jpeg_segments(content):
        if marker in _JPEG_FRAME:
            height, width = _pair(">HH", content, start + 1)
            return width, height
    return None


def _tiff_wh(content: bytes) -> tuple[int, int] | None:
    tags = dict(_ifd_tags(content, 0))
    return (tags[0x100], tags[0x101]) if 0x100 in tags and 0x101 in tags else None


def _heif_wh(content: bytes) -> tuple[int, int] | None:
    sizes = [_pair(">II", content, at + 8) for at in _find_all(content, b"ispe")]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _jp2_wh(content: bytes) -> tuple[int, int] | None:
    at = content.find(b"ihdr", 0, 4096)
    if at < 0:
        return None
    height, width = _pair(">II", content, at + 4)
    return width, height


def _netpbm_wh(content: bytes) -> tuple[int, int] | None:
    words = re.sub(rb"#[^\n]*", b"", content[:512]).split()
    return int(words[1]), int(words[2])


def _webp_wh(content: bytes) -> tuple[int, int] | None:
    form = content[12:16]
    if form == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if form == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8 ":
        width, height = _pair("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


_SIZES = {
    Kind.PNG: _png_wh,
    Kind.GIF: _gif_wh,
    Kind.BMP: _bmp_wh,
    Kind.JPEG: _jpeg_wh,
    Kind.WEBP: _webp_wh,
    Kind.TIFF: _tiff_wh,
    Kind.HEIC: _heif_wh,
    Kind.AVIF: _heif_wh,
    Kind.JPEG2000: _jp2_wh,
    Kind.NETPBM: _netpbm_wh,
}


def orientation_of(kind: Kind, content: bytes) -> int:
    """Orientation that the camera noted, 1 to 8 as in EXIF; 1 is upright."""
    try:
        if kind is Kind.TIFF:
            return _valid(dict(_ifd_tags(content, 0)).get(_ORIENTATION_TAG, 1))
        if kind is Kind.AVIF:
            return _of_transforms(content)
        exif = _exif(kind, content)
        return 1 if exif is None else _valid(dict(_ifd_tags(exif, 0)).get(_ORIENTATION_TAG, 1))
    except (struct.error, IndexError):
        return 1


def _valid(code: int) -> int:
    return code if 1 <= code <= 8 else 1


def _exif(kind: Kind, content: bytes) -> bytes | None:
    """TIFF structure of the EXIF part."""
    if kind is Kind.JPEG:
        for marker, start, length in _jpeg_segments(content):
            if marker == _JPEG_EXIF and content[start : start + 6] == b"Exif\0\0":
                return content[start + 6 : start + length]
    elif kind is Kind.PNG:
        for name, start, length in _png_chunks(content):
            if name == b"eXIf":
                return content[start : start + length]
    elif kind is Kind.WEBP:
        for name, start, length in _riff_chunks(content):
            if name == b"EXIF":
                exif = content[start : start + length]
                return exif[6:] if exif.startswith(b"Exif\0\0") else exif
    return None


def _of_transforms(content: bytes) -> int:
    """Orientation of an AVIF: turns against the clock (irot), then a mirror (imir)."""
    at = content.find(b"irot", 0, 65536)
    code = (1, 8, 3, 6)[content[at + 4] & 3] if at >= 0 else 1
    mirror = content.find(b"imir", 0, 65536)
    if mirror < 0:
        return code
    left_right = bool(content[mirror + 4] & 1)
    return {1: (4, 2), 8: (5, 7), 3: (2, 4), 6: (7, 5)}[code][left_right]


def is_whole(kind: Kind, content: bytes) -> bool:
    """Whether the end mark is there; decoders fill what is missing with grey and say nothing.

    Whatever lies behind the end mark is of no account: phones put a clip there.
    """
    if kind is Kind.JPEG:
        return any(marker == _JPEG_END for marker, _, _ in _jpeg_segments(content, through_scans=True))
    if kind is Kind.PNG:
        return any(name == b"IEND" for name, _, _ in _png_chunks(content))
    if kind is Kind.WEBP:
        return len(content) >= int.from_bytes(content[4:8], "little")
    return True


def is_animated(kind: Kind, content: bytes) -> bool:
    """Whether the file holds several frames or pages."""
    try:
        if kind is Kind.PNG:
            return any(
                name == b"acTL" and content[start : start + 4] > b"\0\0\0\1"
                for name, start, _ in _png_chunks(content)
            )
        if kind is Kind.WEBP:
            return content[12:16] == b"VP8X" and bool(content[20] & 2)
        if kind is Kind.GIF:
            return _gif_has_two(content)
        if kind is Kind.TIFF:
            return _next_ifd(content) != 0
    except (struct.error, IndexError):
        return False
    return kind is Kind.AVIF and content[8:12] == b"avis"


def _gif_has_two(content: bytes) -> bool:
    """Count the images of a GIF up to two."""
    at, found = 13 + _gif_table(content[10]), 0
    while at < len(content):
        mark = content[at]
        if mark == 0x21:
            at = _after_blocks(content, at + 2)
        elif mark == 0x2C:
            found += 1
            if found == 2:
                return True
            at = _after_blocks(content, at + 11 + _gif_table(content[at + 9]))
        else:
            return False
    return False


def _gif_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(content: bytes, at: int) -> int:
    while content[at]:
        at += 1 + content[at]
    return at + 1


def _pair(form: str, content: bytes, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(form, content, at)
    return int(first), int(second)


def _find_all(content: bytes, name: bytes) -> Iterator[int]:
    """Places of a box's name, near the beginning of the file."""
    at = content.find(name, 0, 1 << 20)
    while at >= 0:
        yield at
        at = content.find(name, at + 4, 1 << 20)


def _jpeg_segments(content: bytes, *, through_scans: bool = False) -> Iterator[tuple[int, int, int]]:
    """Marker, place and length of every segment of a JPEG up to its end; without scans, up to the first one."""
    at = 2
    while at + 1 < len(content):
        if content[at] != 0xFF:
            return
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _JPEG_END:
            yield marker, at, 0
            return
        if marker == 1 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        yield marker, at + 4, length - 2
        at += 2 + max(length, 2)
        if marker == _JPEG_SCAN:
            if not through_scans:
                return
            found = _JPEG_NEXT_MARKER.search(content, at)
            if found is None:
                return
            at = found.start()


def jpeg_end(content: bytes, begin: int) -> tuple[int | None, bool]:
    """Find where a JPEG that begins at `begin` ends, and whether it ends well.

    Returns
    -------
    place behind its last byte, or None if more bytes are needed; False if the next JPEG begins before its end
    """
    at = begin + 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            following = content.find(b"\xff\xd8\xff", at)
            return (None, False) if following < 0 else (following, False)
        marker = content[at + 1]
        if marker == _JPEG_BEGIN:
            return at, False
        if marker == 0xFF:
            at += 1
            continue
        at += 2
        if marker == 1 or 0xD0 <= marker <= 0xD7:
            continue
        if marker == _JPEG_END:
            return at, True
        at += int.from_bytes(content[at : at + 2], "big")
        if marker == _JPEG_SCAN:
            found = _JPEG_NEXT_MARKER.search(content, at)
            if found is None:
                return None, False
            at = found.start()
    if content[at : at + 2] == b"\xff\xd9":
        return at + 2, True
    return None, False


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of every chunk that is there to its last byte."""
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if at + 12 + length > len(content):
            return
        name = content[at + 4 : at + 8]
        yield name, at + 8, length
        if name == b"IEND":
            return
        at += 12 + length


def _riff_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while at + 8 <= len(content):
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        yield content[at : at + 4], at + 8, length
        at += 8 + length + length % 2


def _ifd_tags(tiff: bytes, which: int) -> Iterator[tuple[int, int]]:
    """Tags of the first directory whose value is one whole number."""
    order = "<" if tiff[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, at)
    for place in range(at + 2, at + 2 + 12 * count, 12):
        name, form, many = struct.unpack_from(order + "HHI", tiff, place)
        if many == 1 and form in (3, 4):
            (value,) = struct.unpack_from(order + ("H" if form == 3 else "I"), tiff, place + 8)
            yield name, value


def _next_ifd(tiff: bytes) -> int:
    order = "<" if tiff[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, at)
    (following,) = struct.unpack_from(order + "I", tiff, at + 2 + 12 * count)
    return int(following)
