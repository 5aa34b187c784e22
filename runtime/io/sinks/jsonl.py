"""One JSON object a result, in a file or on stdout.

Owns `JsonLinesSink` and the fields that results of every task share; a result adds its own by `as_json()`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from ...errors import SinkError
from ...files import Presence, behind_link, drop_stdout, refuse_long_name, remove, sweep, unfinished_name
from ...tasks.task import Result
from ..info import SourceInfo
from .descriptor import SinkDescriptor
from .sink import StopStream, make_folder
from .video_options import VideoOptions

SCHEMA = 1


def as_line(result: Result[Any], task: str) -> dict[str, Any]:
    """Turn a result into the object that is written for it; lengths in pixels of the frame, times in ms."""
    frame = result.frame
    own = getattr(result.output, "as_json", None)
    return {
        "schema": SCHEMA,
        "source": frame.source,
        "index": frame.index,
        "captured_ns": frame.captured_ns,
        "wall_ns": frame.wall_ns,
        "time_ns": frame.time_ns,
        "age_ms": round(result.age_ms, 3),
        "size": list(frame.size_wh),
        "task": task,
        "keyframe": result.keyframe,
        **(own() if own is not None else {}),
        "timings_ms": {stage: round(spent, 4) for stage, spent in result.timings_ms.items()},
    }


class JsonLinesSink:
    """Write one line of JSON a result.

    Of a live source each line is in the file at once: `tail -f` follows it, and what was written stays, whatever ends
    the program. Of a file, the lines appear whole or not at all.

    Parameters
    ----------
    address : a path ending in .jsonl, or ``-`` for stdout
    task : name of the task
    live : whether the source is live

    Raises
    ------
    SinkError
        If the file cannot be written.
    """

    in_callers_thread = False
    wants = "every"
    notes = ()

    def __init__(self, address: str, task: str, *, live: bool = False) -> None:
        self.address = address
        self._task = task
        self._path = None if address == "-" else behind_link(Path(address))
        self._by_line = live or self._path is None
        self._unfinished = unfinished_name(self._path) if self._path and not live else None
        self._presence = Presence(self._unfinished, self._path) if self._unfinished and self._path else None
        self._file: TextIO = sys.stdout
        if self._path is not None:
            if self._path.is_dir():
                raise SinkError(f"{self._path} is a folder, not a file")
            refuse_long_name(self._path)
            make_folder(self._path.parent)
            sweep(self._path.parent)
            self._file = (self._unfinished or self._path).open("w", encoding="utf-8")

    def write(self, result: Result[Any]) -> None:
        """Append one line.

        Raises
        ------
        SinkError
            If it cannot be written.
        StopStream
            If the reader of the pipe has closed it.
        """
        if self._presence is not None:
            self._presence.check()
        try:
            self._file.write(json.dumps(as_line(result, self._task), separators=(",", ":")) + "\n")
            if self._by_line:
                self._file.flush()  # the reader of a pipe wants each result when it is ready
        except BrokenPipeError as error:
            drop_stdout()  # whoever read the lines has gone, and has seen enough
            raise StopStream from error
        except OSError as error:
            raise SinkError(f"{self.address} cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises
        ------
        SinkError
            If it cannot be written.
        """
        if self._path is None:
            return
        try:
            self._file.close()
            if self._unfinished is not None:
                self._unfinished.replace(self._path)
        except OSError as error:
            self.discard()
            raise SinkError(f"{self._path} cannot be written ({error.strerror})") from error

    def discard(self) -> None:
        """Remove what was begun; lines of a live source stay."""
        if self._path is not None:
            self._file.close()
        if self._unfinished is not None:
            remove(self._unfinished)


def open_jsonl(address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> JsonLinesSink:
    """Open lines of JSON for the results of a task."""
    del video
    return JsonLinesSink(address, task, live=info.live)


descriptor = SinkDescriptor(open=open_jsonl)
