"""Images of a motion-JPEG stream, whatever its server thinks of boundaries, lengths and types.

Owns `jpegs_of` and `stamp_ns_of`. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..image_file.header import jpeg_end

_BEGIN = b"\xff\xd8\xff"
_READ_BYTES = 1 << 16
_HEAD_BYTES = 1024
_STAMP = re.compile(rb"^X-Timestamp:[ \t]*(\d{9,11}(?:\.\d{1,9})?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_LARGEST = 64 << 20  # bytes without an end: no stream of images


def jpegs_of(response: Any) -> Iterator[tuple[bytes, bytes]]:
    """Yield each JPEG as soon as its last byte is there, and the header lines before it, until the stream ends.

    Where an image ends is read from its own markers, so that lengths, types and boundaries, which cameras get wrong
    in every way, do not matter. An image that was cut off is yielded as an empty one.

    Parameters
    ----------
    response : of `http.open_http`, or any object with `read1`
    """
    pending = b""
    while len(pending) <= _LARGEST:
        begin = pending.find(_BEGIN)
        end, whole = jpeg_end(pending, begin) if begin >= 0 else (None, False)
        if end is not None:
            yield (pending[begin:end] if whole else b""), pending[max(0, begin - _HEAD_BYTES) : begin]
            pending = pending[end:]
            continue
        more = response.read1(_READ_BYTES)
        if not more:
            return
        pending = (pending if begin >= 0 else pending[-_HEAD_BYTES:]) + more


def stamp_ns_of(head: bytes) -> int | None:
    r"""Read the time of capture on the camera's UNIX clock, in ns, from header lines; None if they do not tell it.

    Examples
    --------
    >>> stamp_ns_of(b"Content-Type: image/jpeg\r\nX-Timestamp: 1700000000.25\r\n\r\n")
    1700000000250000000
    """
    found = _STAMP.findall(head)
    if not found:
        return None
    seconds, _, share = found[-1].decode().partition(".")
    return int(seconds) * 1_000_000_000 + int((share + "000000000")[:9])
