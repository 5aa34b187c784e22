"""Where frames come from: cameras, files, images, networks, and two synthetic sources.

Owns the choice of a source by its address; each kind lives in a file of its own.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import SourceNotFound
from ...image_file import IMAGE_SUFFIXES
from ..address import NETWORK_SCHEMES, SCHEMES, redact, scheme_of
from ..info import Signal, Source, SourceInfo
from .images import ImageSet, images_in, images_matching, is_pattern
from .video import VideoFile

__all__ = ["Signal", "Source", "SourceInfo", "open_source", "redact"]


def open_source(address: str, *, sequence: bool = False) -> Source:
    """Open a source by its address.

    Parameters
    ----------
    address : a video file, an image, a folder or quoted pattern of images, ``0``, ``/dev/video0``,
        ``v4l2:///dev/video0``, ``csi://0``, ``gst://PIPELINE``, ``rtsp://…``, ``http://…``, ``sample://`` or
        ``test://``
    sequence : the images of a folder or pattern are frames of one video

    Raises
    ------
    SourceNotFound
        If there is nothing to read at the address; the text says what was looked for.

    Examples
    --------
    >>> open_source("test://?size=64x48&frames=3").info.count
    3
    """
    scheme = scheme_of(address)
    if scheme in ("", "file"):
        path = address.split("://", 1)[1] if scheme else address
        if path.isdecimal() or path.startswith("/dev/video"):
            return _camera(path)
        return _from_disk(path, sequence=sequence)
    if scheme not in SCHEMES:
        raise SourceNotFound(f"There is no kind of source {scheme}://", available=[f"{name}://" for name in SCHEMES])
    if scheme in NETWORK_SCHEMES:
        from .camera import open_network

        return open_network(address)
    if scheme == "sample":
        from .sample import SampleCamera

        return SampleCamera(address)
    if scheme == "test":
        from .pattern import TestPattern

        return TestPattern(address)
    return _camera(address)


def _camera(address: str) -> Source:
    from .camera import open_camera

    return open_camera(address)


def _from_disk(text: str, *, sequence: bool) -> Source:
    """Open a file, folder or pattern."""
    if is_pattern(text):
        return ImageSet(images_matching(text), text, sequence=sequence)
    path = Path(text)
    if path.is_dir():
        return ImageSet(images_in(path), text, sequence=sequence)
    if not path.exists():
        raise SourceNotFound(
            f"There is no file or folder {redact(text)!r}",
            expected="a video, an image, a folder, a quoted pattern, a camera number, or an address",
            available=[f"{name}://" for name in SCHEMES],
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSet([path], text, sequence=sequence)
    return VideoFile(text)
