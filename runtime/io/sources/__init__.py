"""Where frames come from: cameras, files, images, networks, and two synthetic sources.

Owns the choice of a source by its address; each kind lives in a file of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceNotFound, UsageError
from ...image_file import HEAD_BYTES, IMAGE_SUFFIXES, Kind, is_animated, sniff
from ..address import NETWORK_SCHEMES, SCHEMES, redact, scheme_of
from ..decode import Decoder
from ..info import Signal, Source, SourceInfo
from ..names import is_stdin, shown
from .images import SEQUENCE_FPS, ImageSet, ImagesInMemory, images_in, images_matching, is_pattern
from .video import VideoFile, open_stdin, open_video

__all__ = ["Signal", "Source", "SourceInfo", "open_source", "redact"]


def open_source(address: object, *, sequence: bool = False) -> Source:
    """Open a source by its address.

    Parameters
    ----------
    address : a video file, an image, a folder or quoted pattern of images, ``-`` (standard input), a FIFO, ``0``,
        ``/dev/video0``, ``v4l2:///dev/video0``, ``csi://0``, ``gst://PIPELINE``, ``rtsp://…``, ``http://…``,
        ``sample://`` or ``test://``; or a `Path`, the number of a camera, an (H, W, 3) image, an (N, H, W, 3) video,
        an open binary file; a source that is open already is given back
    sequence : the images of a folder or pattern are frames of one video

    Raises
    ------
    SourceNotFound
        If there is nothing to read at the address; the text says what was looked for.
    UsageError
        If it is no address at all.

    Examples
    --------
    >>> open_source("test://?size=64x48&frames=3").info.count
    3
    """
    if isinstance(address, os.PathLike):
        return _from_disk(os.fsdecode(address), sequence=sequence)
    if not isinstance(address, str):
        return _from_object(address)
    if is_stdin(address):
        return open_stdin()
    scheme = scheme_of(address)
    if scheme in ("", "file"):
        path = address.split("://", 1)[1] if scheme else address
        if path.startswith("/dev/video") or (path.isdecimal() and not _is_only_a_file(path)):
            return _camera(path)
        return _from_disk(path, sequence=sequence)
    if scheme not in SCHEMES:
        raise SourceNotFound(f"There is no kind of source {scheme}://", available=[f"{name}://" for name in SCHEMES])
    return _by_scheme(scheme, address)


def _by_scheme(scheme: str, address: str) -> Source:
    if scheme in NETWORK_SCHEMES:
        from .network import open_network

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


def _is_only_a_file(number: str) -> bool:
    """Whether a name that could be a camera's number is that of a file, and there is no such camera."""
    return os.path.exists(number) and not os.path.exists(f"/dev/video{number}")


def _from_disk(text: str, *, sequence: bool) -> Source:
    """Open a file, folder or pattern; files are told apart by their content."""
    if is_pattern(text):
        return ImageSet(images_matching(text), text, sequence=sequence)
    path = Path(text)
    if path.is_dir():
        return ImageSet(images_in(path), text, sequence=sequence)
    if not path.exists():
        raise SourceNotFound(
            f"There is no file or folder '{shown(redact(text))}'",
            expected="a video, an image, a folder, a quoted pattern, a camera number, or an address",
            available=[f"{name}://" for name in SCHEMES],
        )
    if not path.is_file():  # a FIFO or a device: nothing may be read twice
        return open_video(path, text)
    kind = sniff(_head_of(path))
    if kind is Kind.OTHER and path.suffix.lower() not in IMAGE_SUFFIXES:
        return open_video(path, text)
    if kind.is_image and kind is not Kind.HEIC and is_animated(kind, path.read_bytes()):
        from .animation import open_animation

        moving = open_animation(path, text, kind)
        if moving is not None:
            return moving
    return ImageSet([path], text, sequence=sequence)


def _head_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise SourceNotFound(f"{shown(path)} cannot be read ({error.strerror})") from error


def _from_object(given: object) -> Source:
    """Open what a program may hand over instead of an address."""
    if isinstance(given, int) and not isinstance(given, bool):
        return _camera(str(given))
    if isinstance(given, np.ndarray):
        return _from_array(given)
    if hasattr(given, "info") and hasattr(given, "__iter__"):
        source: Source = given  # type: ignore[assignment]
        return source
    if hasattr(given, "read"):
        return VideoFile(Decoder(given, "an open file"), "an open file")  # type: ignore[arg-type]
    raise UsageError(
        "There is no such kind of source",
        expected="an address, a Path, a number, an (H, W, 3) or (N, H, W, 3) uint8 array, or an open binary file",
        found=type(given).__name__,
    )


def _from_array(array: NDArray[Any]) -> Source:
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[-1] != 3 or array.size == 0:
        expected = "(H, W, 3) or (N, H, W, 3) uint8, BGR"
        raise UsageError("The array is no image", expected=expected, found=f"{array.shape} {array.dtype}")
    if array.ndim == 3:
        return ImagesInMemory([array], "array")
    step_ns = round(1e9 / SEQUENCE_FPS)
    return ImagesInMemory(list(array), "array", times_ns=[place * step_ns for place in range(len(array))])
