"""Where frames come from: cameras, files, images, networks, and two synthetic sources.

Owns the choice of a source by its address. Each kind lives in a file of its own, exports a `SourceDescriptor`, and
has one line ``scheme = "module:descriptor"`` in the entry points ``steadyframe.sources`` of an installed package.
"""

from __future__ import annotations

from ...descriptors import find_descriptor, names_of
from ...errors import SourceNotFound
from ..address import scheme_of
from ..info import Source
from .descriptor import SourceDescriptor

GROUP = "steadyframe.sources"


def open_source(address: str, *, sequence: bool = False) -> Source:
    """Open a source by its address.

    Parameters
    ----------
    address : a video file, an image, a folder or quoted pattern of images, ``0``, ``/dev/video0``, or
        ``scheme://…`` with the scheme of an installed source
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
    path = address.split("://", 1)[1] if scheme == "file" else address
    if scheme in ("", "file"):
        scheme = "v4l2" if path.isdecimal() or path.startswith("/dev/video") else "file"
    descriptor: SourceDescriptor | None = find_descriptor(GROUP, scheme)
    if descriptor is None:
        raise SourceNotFound(
            f"There is no kind of source {scheme}://", available=[f"{name}://" for name in names_of(GROUP)]
        )
    return descriptor.open(path if scheme == "file" else address, sequence=sequence)
