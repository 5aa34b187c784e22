"""Image files as 8-bit BGR pixels: recognized by content, turned upright in one place, limited before reading.

Owns `read_image`, `decode_image` and the table of endings. Imports numpy and OpenCV; PyAV for GIF, APNG and AVIF, and
pillow-heif for HEIC, where such a file is met.
"""

from __future__ import annotations

from .header import is_animated
from .read import IMAGE_SUFFIXES, decode_image, over_black, read_image
from .sniff import HEAD_BYTES, Kind, sniff

__all__ = ["HEAD_BYTES", "IMAGE_SUFFIXES", "Kind", "decode_image", "is_animated", "over_black", "read_image", "sniff"]
