"""Where results go: windows, videos, images, lines of JSON, nowhere.

Owns the choice of a sink by its address; each kind lives in a file of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ...errors import SinkError, UsageError
from ..address import redact, scheme_of
from ..info import SourceInfo
from ..names import shown
from .images import WRITABLE, ImageSink, is_numbered
from .jsonl import JsonLinesSink
from .null import NullSink
from .sink import Sink, StopStream
from .video import CODECS, VideoOptions, VideoSink

__all__ = ["Sink", "StopStream", "VideoOptions", "open_sink", "refuse_doubles"]

KINDS = (
    "display://",
    "out.mp4",
    "out.mkv",
    "out.webm",
    "out.avi",
    "folder/",
    "'out_%05d.png'",
    "out.png",
    "out.jsonl",
    "-",
    "null://",
)


def open_sink(address: object, info: SourceInfo, *, task: str = "", video: VideoOptions | None = None) -> Sink:
    """Open a sink by its address, and prove that it can be written.

    Parameters
    ----------
    address : one of ``display://``, a video file, ``folder/``, ``'out_%05d.png'``, ``out.png`` (for one image),
        ``out.jsonl``, ``-`` (JSON lines on stdout), ``null://``; or a `Path`; a sink that is open already is given
        back
    info : of the source: its rate, its count, the folders that must not be written over
    task : name of the task, for lines of JSON
    video : quality and encoder of video files

    Raises
    ------
    SinkError
        If nothing could be written there.
    UsageError
        If there is no such kind of output.
    """
    if isinstance(address, os.PathLike):
        address = os.fsdecode(address)
    if not isinstance(address, str):
        if hasattr(address, "write") and hasattr(address, "discard"):
            sink: Sink = address  # type: ignore[assignment]
            return sink
        raise UsageError("There is no such kind of output", found=type(address).__name__, available=KINDS)
    scheme = scheme_of(address)
    if scheme == "null":
        return NullSink()
    if scheme == "display":
        from .display import DisplaySink

        return DisplaySink(address, info)
    if scheme:
        raise UsageError(f"There is no kind of output {scheme}:// ({redact(address)})", available=KINDS)
    return _on_disk(address, info, task, video)


def _on_disk(address: str, info: SourceInfo, task: str, video: VideoOptions | None) -> Sink:
    """Open a file or folder; its ending says which, before any pattern in its name."""
    suffix = Path(address).suffix.lower()
    if address == "-" or suffix == ".jsonl":
        return JsonLinesSink(address, task)
    if suffix in CODECS and not address.endswith("/") and not Path(address).is_dir():
        _refuse_input(Path(address), info)
        return VideoSink(Path(address), info, video)
    if address.endswith("/") or Path(address).is_dir() or is_numbered(address) or suffix in WRITABLE:
        return ImageSink(address, info)
    raise UsageError(f"The ending of output '{shown(address)}' says nothing", available=KINDS)


def refuse_doubles(addresses: Sequence[object]) -> None:
    """Refuse two outputs that are one, however they are spelled.

    Raises
    ------
    UsageError
        If there are any.
    """
    seen: dict[str, str] = {}
    for address in addresses:
        text = os.fsdecode(address) if isinstance(address, str | os.PathLike) else ""
        if not text:
            continue
        key = text if text == "-" or scheme_of(text) else os.path.realpath(text)
        if key in seen:
            raise UsageError("An output is named twice", found=f"{seen[key]} and {text}")
        seen[key] = text


def _refuse_input(path: Path, info: SourceInfo) -> None:
    """Refuse to write a video over the one that is read."""
    target = info.media.target.removeprefix("file:") if info.media is not None else ""
    given = Path(target or info.address)
    if path.exists() and given.exists() and path.samefile(given):
        raise SinkError(f"{path} is the input", todo="Name another output")
