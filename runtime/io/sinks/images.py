"""Images: one file, numbered files, or a folder.

Owns `ImageSink`. Every image is encoded in memory and appears whole or not at all.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2

from ...errors import SinkError, UsageError
from ...files import refuse_long_name, sweep, write_whole
from ...opencv_settings import quiet
from ...tasks.task import Result
from ..info import SourceInfo
from .descriptor import SinkDescriptor
from .sink import image_of, make_folder, refuse_inputs_folder
from .video_options import VideoOptions

WRITABLE = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"))
_NUMBER = re.compile(r"%0?\d*[di]")
_QUALITY = {
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 95),
    ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 95),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 95),
    ".png": (cv2.IMWRITE_PNG_COMPRESSION, 1),  # level 1 writes four times as fast as level 6, a tenth larger
}


def is_numbered(address: str) -> bool:
    """Whether the address is a pattern such as ``out_%05d.png``."""
    return bool(_NUMBER.search(Path(address).name))


class ImageSink:
    """Write every result as an image of its own.

    Parameters
    ----------
    address : ``folder/`` (images keep the names of their inputs; frames of a video are numbered),
        ``out_%05d.png`` (numbered by the frame's index), or ``out.png`` (a source of one image)
    info : of the source

    Raises
    ------
    SinkError
        If the folder cannot be written, the images would lie over their own inputs, two inputs have one name, or
        there are more frames than names.
    UsageError
        If the pattern has more than one number.
    """

    in_callers_thread = False
    wants = "every"
    notes = ()

    def __init__(self, address: str, info: SourceInfo) -> None:
        self.address = address
        path = Path(address)
        self._numbered = is_numbered(address)
        self._single = not self._numbered and path.suffix.lower() in WRITABLE and not address.endswith("/")
        self._folder = path.parent if self._numbered or self._single else path
        self._pattern = path.name
        self._names: set[str] = set()
        self._named_by_input = info.independent
        if self._numbered and len(_NUMBER.findall(path.name)) + path.name.count("%") != 2:
            raise UsageError(
                f"{address!r} is not a pattern for numbered files", expected="one number, as in out_%05d.png"
            )
        if self._numbered and path.suffix.lower() not in WRITABLE:
            raise UsageError(f"{address!r} names no image format", available=sorted(WRITABLE))
        if self._single and info.count != 1:
            many = f"{info.count} frames" if info.count else "a stream"
            raise SinkError(
                f"{address} holds one image",
                expected="a source of one image",
                found=many,
                todo="Write to a folder/ or to numbered images such as 'out_%05d.png'",
            )
        refuse_long_name(path)
        if self._folder.exists() and not self._folder.is_dir():
            raise SinkError(f"{self._folder} is a file, not a folder")
        if not self._single and not self._numbered:
            refuse_inputs_folder(self._folder, info, address)
        make_folder(self._folder)
        sweep(self._folder)
        self._refuse_same_names(info)

    def _refuse_same_names(self, info: SourceInfo) -> None:
        """Tell before the start that two inputs would be written to one file."""
        if self._single or self._numbered or not self._named_by_input:
            return
        taken: dict[str, str] = {}
        for source in info.files:
            name = self._name_by_input(source)
            if name in taken:
                raise SinkError(
                    f"{taken[name]} and {source} would both be written to {self._folder / name}",
                    todo="Write numbered images, such as 'out_%05d.png'",
                )
            taken[name] = source

    @staticmethod
    def _name_by_input(source: str) -> str:
        """Name of the output for an input: its own, where that format can be written."""
        given = Path(source)
        return given.name if given.suffix.lower() in WRITABLE else given.stem + ".png"

    def _path_for(self, result: Result[Any]) -> Path:
        """Name of the image of one result."""
        frame = result.frame
        if self._single:
            path = self._folder / self._pattern
        elif self._numbered:
            path = self._folder / _NUMBER.sub(
                lambda spec: spec.group(0).replace("i", "d") % frame.index, self._pattern
            )
        elif self._named_by_input:
            path = self._folder / self._name_by_input(frame.source)
        else:
            path = self._folder / f"{frame.index:06d}.png"
        if path.name in self._names:
            raise SinkError(f"Two inputs would both be written to {path}", todo="Run them one folder at a time")
        if self._named_by_input:
            if path.exists() and path.samefile(frame.source):
                raise SinkError(f"{path} is being read, and would be written over", todo="Name another output")
            self._names.add(path.name)
        return path

    def write(self, result: Result[Any]) -> None:
        """Encode one image and write its file.

        Raises
        ------
        SinkError
            If it cannot be encoded or written.
        """
        pixels = image_of(result)
        path = self._path_for(result)
        suffix = path.suffix.lower()
        with quiet():
            try:
                good, content = cv2.imencode(suffix, pixels, _QUALITY.get(suffix, ()))
            except cv2.error as error:
                raise SinkError(f"{path} cannot be encoded ({error.err})") from error
        if not good:
            raise SinkError(f"{path} cannot be encoded as {suffix}")
        write_whole(path, content.tobytes())

    def close(self) -> None:
        """Every image is whole already."""

    def discard(self) -> None:
        """Every image is whole already; those that were written stay."""


def open_images(address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> ImageSink:
    """Open a folder, numbered files, or one file."""
    del task, video
    return ImageSink(address, info)


descriptor = SinkDescriptor(open=open_images)
