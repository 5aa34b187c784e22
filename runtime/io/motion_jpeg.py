"""Images of a motion-JPEG stream, whatever its server thinks of boundaries, lengths and types.

Owns `jpegs_of`. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..image_file.header import jpeg_end

_BEGIN = b"\xff\xd8\xff"
_READ_BYTES = 1 << 16
_LARGEST = 64 << 20  # bytes without an end: no stream of images


def jpegs_of(response: Any) -> Iterator[bytes]:
    """Yield each JPEG as soon as its last byte is there, until the stream ends.

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
            yield pending[begin:end] if whole else b""
            pending = pending[end:]
            continue
        more = response.read1(_READ_BYTES)
        if not more:
            return
        pending = (pending if begin >= 0 else pending[-2:]) + more
