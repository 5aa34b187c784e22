"""What lies on the disk or comes on standard input: a video, an image, a folder or a pattern of images.

Owns the choice between them.
"""

from __future__ import annotations

from pathlib import Path

from ...descriptors import names_of
from ...errors import SourceNotFound
from ...image_file import HEAD_BYTES, IMAGE_SUFFIXES, Kind, is_animated, sniff
from ..address import redact
from ..info import Source
from ..names import is_stdin, shown
from .descriptor import SourceDescriptor
from .images import ImageSet, images_in, images_matching, is_pattern
from .video import open_stdin, open_video


def open_file(address: str, *, sequence: bool = False) -> Source:
    """Open standard input, a file, folder or pattern; files are recognized by their content.

    Raises
    ------
    SourceNotFound
        If there is none.
    """
    if is_stdin(address):
        return open_stdin()
    if is_pattern(address):
        return ImageSet(images_matching(address), address, sequence=sequence)
    path = Path(address)
    if path.is_dir():
        return ImageSet(images_in(path), address, sequence=sequence)
    if not path.exists():
        raise SourceNotFound(
            f"There is no file or folder '{shown(redact(address))}'",
            expected="a video, an image, a folder, a quoted pattern, a camera number, or an address",
            available=[f"{name}://" for name in names_of("steadyframe.sources")],
        )
    return _open_one(path, address, sequence=sequence)


def _open_one(path: Path, address: str, *, sequence: bool) -> Source:
    """Open one file by its content."""
    if not path.is_file():  # a FIFO or a device: nothing may be read twice
        return open_video(path, address)
    kind = sniff(_head_of(path))
    if kind is Kind.OTHER and path.suffix.lower() not in IMAGE_SUFFIXES:
        return open_video(path, address)
    if kind.is_image and kind is not Kind.HEIC and is_animated(kind, path.read_bytes()):
        from .animation import open_animation

        moving = open_animation(path, address, kind)
        if moving is not None:
            return moving
    return ImageSet([path], address, sequence=sequence)


def _head_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise SourceNotFound(f"{shown(path)} cannot be read ({error.strerror})") from error


descriptor = SourceDescriptor(open=open_file)
