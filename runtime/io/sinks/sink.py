"""What every sink offers.

Owns the `Sink` protocol, `StopStream`, and the small checks that several sinks share.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import SinkError
from ...planes import Planes
from ...tasks.task import Result
from ..info import SourceInfo


class StopStream(Exception):
    """Raised by a sink when its user has seen enough; the stream ends cleanly."""


class Sink(Protocol):
    """A place where results go. Opening one raises `SinkError` if it could not be written later.

    `write` is called in one thread of the sink's own; with `in_callers_thread` it is the thread that consumes the
    stream, which windows insist on; such a sink may have `idle`, which is called there with the source's
    `SignalEvent` or None, ten times a second, while no result comes. A sink may say `instant = True`: its `write`
    takes no time, so that results of a file need no thread to wait in. A sink may have `notes`, lines of text that
    say what could not be kept; they are complete after `close`.

    Attributes
    ----------
    address : as the user named it
    in_callers_thread : whether `write` is called in the thread that consumes the stream
    wants : of a live stream, ``every`` result that fits into a bounded queue, or only the ``newest``
    """

    address: str
    in_callers_thread: bool
    wants: str

    def write(self, result: Result[Any]) -> None:
        """Take one result."""

    def close(self) -> None:
        """End well: what was written stays."""

    def discard(self) -> None:
        """End after a failure: nothing half-written stays."""


def planes_of(result: Result[Any]) -> Planes | None:
    """Planes of a result's image, where it is held as planes."""
    found = getattr(result.output, "planes", None)
    return found if isinstance(found, Planes) else None


def image_of(result: Result[Any]) -> NDArray[np.uint8]:
    """Pixels to show of a result: (H, W, 3) uint8 BGR.

    Raises
    ------
    SinkError
        If the result has no pixels.
    """
    pixels = getattr(result.output, "pixels", None)
    if pixels is None:
        raise SinkError(f"A {type(result.output).__name__} has no image to write", todo="Write it to a .jsonl file")
    return np.asarray(pixels, np.uint8)


def make_folder(folder: Path) -> None:
    """Make a folder, parents included, and check that a file can be written in it.

    Raises
    ------
    SinkError
        If nothing can be written there.
    """
    probe = folder / f".write-test.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise SinkError(
            f"Nothing can be written in {folder} ({error.strerror})", todo="Name another folder, or change its rights"
        ) from error


def refuse_inputs_folder(folder: Path, info: SourceInfo, what: str) -> None:
    """Refuse to write over the images that are being read.

    Raises
    ------
    SinkError
        If `folder` is one that the source reads.
    """
    if str(folder.resolve()) in info.folders and info.independent:
        raise SinkError(f"{what} would write over the images it reads in {folder}", todo="Name another folder")
