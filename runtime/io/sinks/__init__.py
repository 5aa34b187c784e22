"""Where results go: windows, videos, images, lines of JSON, nowhere.

Owns the choice of a sink by its address. Each kind lives in a file of its own, exports a `SinkDescriptor`, and has
one line ``name = "module:descriptor"`` a scheme or ending in the entry points ``steadyframe.sinks`` of an installed
package.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ...descriptors import find_descriptor, names_of
from ...errors import UsageError
from ..address import redact, scheme_of
from ..info import SourceInfo
from ..names import shown
from .callback import CallbackSink
from .descriptor import SinkDescriptor
from .images import is_numbered
from .sink import Sink
from .video_options import VideoOptions

GROUP = "steadyframe.sinks"


def open_sink(address: object, info: SourceInfo, *, task: str = "", video: VideoOptions | None = None) -> Sink:
    """Open a sink by its address, and prove that it can be written.

    Parameters
    ----------
    address : one of ``display://``, a video file, ``folder/``, ``'out_%05d.png'``, ``out.png`` (for one image),
        ``out.jsonl``, ``-`` (JSON lines on stdout), ``null://``; or a `Path`; a function, which is called with each
        result in a thread of its own; a sink that is open already is given back
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
        if callable(address):
            return CallbackSink(address)
        raise UsageError("There is no such kind of output", found=type(address).__name__, available=names_of(GROUP))
    name = _name_of(address)
    descriptor: SinkDescriptor | None = find_descriptor(GROUP, name) if name else None
    if descriptor is None:
        if scheme_of(address):
            raise UsageError(f"There is no kind of output {name}:// ({redact(address)})", available=names_of(GROUP))
        raise _unknown_file(address)
    return descriptor.open(address, info, task=task, video=video)


def _name_of(address: str) -> str:
    """Name of the entry point for an address: its scheme, its ending (before any pattern), or ``folder``."""
    scheme = scheme_of(address)
    if scheme:
        return scheme
    if address == "-":
        return "jsonl"
    ending = Path(address).suffix.lower().removeprefix(".")
    if address.endswith("/") or os.path.isdir(address):
        return "folder"
    return "folder" if is_numbered(address) and ending not in names_of(GROUP) else ending


def _unknown_file(address: str) -> UsageError:
    """Error for a file whose ending names no kind of output."""
    ending = Path(address).suffix
    problem = f"ends in {ending}, a kind of file that cannot be written" if ending else "has no file ending"
    return UsageError(
        f"The output '{shown(address)}' {problem}",
        expected="a file such as out.mp4, out.png or out.jsonl; a folder/; or - for JSON lines on stdout",
        available=names_of(GROUP),
    )


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
