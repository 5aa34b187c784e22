"""Where frames come from: cameras, files, images, networks, and two synthetic sources.

Owns the choice of a source by its address. Each kind lives in a file of its own, exports a `SourceDescriptor`, and
has one line ``scheme = "module:descriptor"`` in the entry points ``steadyframe.sources`` of an installed package.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...descriptors import find_descriptor, names_of
from ...errors import SourceNotFound, UsageError
from ..address import scheme_of
from ..info import Source
from ..live.policy import LivePolicy
from ..names import is_stdin
from .descriptor import SourceDescriptor

GROUP = "steadyframe.sources"


def open_source(address: object, *, sequence: bool = False, policy: LivePolicy | None = None) -> Source:
    """Open a source by its address.

    Parameters
    ----------
    address : a video file, an image, a folder or quoted pattern of images, ``-`` (standard input), a FIFO, ``0``,
        ``/dev/video0``, ``v4l2:///dev/video0``, ``csi://0``, ``gst://PIPELINE``, ``rtsp://…``, ``http://…``,
        ``sample://`` or ``test://``; or a `Path`, the number of a camera, an (H, W, 3) image, an (N, H, W, 3) video,
        an open binary file; a source that is open already is given back
    sequence : the images of a folder or pattern are frames of one video
    policy : of live sources: how long one is waited for, and when it counts as lost

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
        return _by_ending(os.fsdecode(address), sequence=sequence)
    if not isinstance(address, str):
        return _from_object(address, policy)
    if is_stdin(address):
        return _by_scheme("file", address, sequence=sequence)
    scheme = scheme_of(address)
    if scheme in ("", "file"):
        path = address.split("://", 1)[1] if scheme else address
        number = path.partition("?")[0]
        camera = path.startswith("/dev/video") or (number.isdecimal() and not _is_only_a_file(path))
        if not camera:
            return _by_ending(path, sequence=sequence)
        return _by_scheme("v4l2", path, sequence=sequence, policy=policy)
    return _by_scheme(scheme, address, sequence=sequence, policy=policy)


def _by_scheme(scheme: str, address: str, *, sequence: bool = False, policy: LivePolicy | None = None) -> Source:
    descriptor: SourceDescriptor | None = find_descriptor(GROUP, scheme)
    if descriptor is None:
        raise SourceNotFound(
            f"There is no kind of source {scheme}://", available=[f"{name}://" for name in names_of(GROUP)]
        )
    if descriptor.live:
        return descriptor.open(address, sequence=sequence, policy=policy)
    return descriptor.open(address, sequence=sequence)


def _by_ending(path: str, *, sequence: bool) -> Source:
    """Open a path: where its ending has a kind of source of its own, such as ``.mcap``, that one."""
    ending = os.path.splitext(path)[1].lower().removeprefix(".")
    if ending in names_of(GROUP) and os.path.isfile(path):
        descriptor: SourceDescriptor = find_descriptor(GROUP, ending)
        if descriptor.reads_files:
            return descriptor.open(path, sequence=sequence)
    return _by_scheme("file", path, sequence=sequence)


def _is_only_a_file(number: str) -> bool:
    """Whether a name that could be a camera's number is that of a file, and there is no such camera."""
    return os.path.exists(number) and not os.path.exists(f"/dev/video{number}")


def _from_object(given: object, policy: LivePolicy | None) -> Source:
    """Open an object that a program passes instead of an address."""
    if isinstance(given, int) and not isinstance(given, bool):
        return _by_scheme("v4l2", str(given), policy=policy)
    if isinstance(given, np.ndarray):
        return _from_array(given)
    if hasattr(given, "info") and hasattr(given, "__iter__"):
        source: Source = given  # type: ignore[assignment]
        return source
    if hasattr(given, "read"):
        from ..decode import Decoder
        from .video import VideoFile

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
    from .images import SEQUENCE_FPS, ImagesInMemory

    if array.ndim == 3:
        return ImagesInMemory([array], "array")
    step_ns = round(1e9 / SEQUENCE_FPS)
    return ImagesInMemory(list(array), "array", times_ns=[place * step_ns for place in range(len(array))])
