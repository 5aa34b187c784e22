"""The first frame of an animated WebP, as a file of its own.

Owns `first_still`, for versions of OpenCV that refuse animated files (before 4.11). Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_FRAME_HEAD = 16  # place, size, duration and flags of a frame, before its own chunks
_ALPHA = 0x10


def first_still(content: bytes) -> bytes | None:
    """Take the first frame of an animated WebP out of its file; None if there is none."""
    frame = next((body for name, body in _chunks(content[12:]) if name == b"ANMF"), None)
    if frame is None or len(frame) <= _FRAME_HEAD:
        return None
    parts = frame[_FRAME_HEAD:]
    if any(name == b"ALPH" for name, _ in _chunks(parts)):
        parts = b"VP8X" + struct.pack("<II", 10, _ALPHA) + frame[6:12] + parts  # 24 bits of width and height, less 1
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WEBP" + parts


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of every chunk."""
    at = 0
    while at + 8 <= len(content):
        (size,) = struct.unpack("<I", content[at + 4 : at + 8])
        yield content[at : at + 4], content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
