"""What lies on the disk: a video, an image, a folder or a pattern of images.

Owns the choice between them.
"""

from __future__ import annotations

from pathlib import Path

from ...descriptors import names_of
from ...errors import SourceNotFound
from ...image_file import IMAGE_SUFFIXES
from ..address import redact
from ..info import Source
from .descriptor import SourceDescriptor
from .images import ImageSet, images_in, images_matching, is_pattern
from .video import VideoFile


def open_file(address: str, *, sequence: bool = False) -> Source:
    """Open a file, folder or pattern.

    Raises
    ------
    SourceNotFound
        If there is none.
    """
    if is_pattern(address):
        return ImageSet(images_matching(address), address, sequence=sequence)
    path = Path(address)
    if path.is_dir():
        return ImageSet(images_in(path), address, sequence=sequence)
    if not path.exists():
        raise SourceNotFound(
            f"There is no file or folder {redact(address)!r}",
            expected="a video, an image, a folder, a quoted pattern, a camera number, or an address",
            available=[f"{name}://" for name in names_of("steadyframe.sources")],
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSet([path], address, sequence=sequence)
    return VideoFile(address)


descriptor = SourceDescriptor(open=open_file)
