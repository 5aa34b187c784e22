"""Recordings as MCAP, with the messages and schemas of ROS 2.

Owns `McapSink`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, BinaryIO

from mcap.writer import CompressionType, Writer

from ..errors import SinkError, UsageError
from ..files import Presence, behind_link, refuse_long_name, remove, sweep, unfinished_name
from ..io.address import split_options
from ..io.info import SourceInfo
from ..io.sinks.descriptor import SinkDescriptor
from ..io.sinks.sink import make_folder
from ..io.sinks.video_options import VideoOptions
from ..tasks.task import Result
from .codec import Message, schema_of
from .conversion import Wanted, messages_of
from .frames import DEFAULT_FRAME_ID, Stamps

_OPTIONS = ("images", "camera", "frame_id")
_CHUNK_S = 0.5  # a live recording is flushed so often: a crash costs less than a second
_CHUNK_BYTES = 4 << 20


class McapSink:
    """Write results as ROS 2 messages into an MCAP file.

    A recording of a live source is written under its own name, in chunks of half a second, so that what a crash
    leaves can be read. That of a file appears when it is whole.

    Parameters
    ----------
    path : of the file
    info : of the source
    task : name of the task
    wanted : which messages
    frame_id : of frames that came in no message

    Raises
    ------
    SinkError
        If the file cannot be written.
    """

    in_callers_thread = False
    wants = "every"
    notes = ()

    def __init__(self, path: Path, info: SourceInfo, task: str, wanted: Wanted, frame_id: str) -> None:
        self.address = str(path)
        self._path, self._task, self._wanted, self._live = path, task, wanted, info.live
        self._stamps = Stamps(live=info.live, frame_id=frame_id)
        refuse_long_name(path)
        if path.is_dir():
            raise SinkError(f"{path} is a folder, not a file")
        self._target = behind_link(path)
        make_folder(self._target.parent)
        sweep(self._target.parent)
        self._writes_to = self._target if info.live else unfinished_name(self._target)
        self._presence = Presence(self._writes_to, path)
        self._file: BinaryIO | None = None
        self._writer: Any = None  # a `Writer`, whose methods have no types
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._sequences: dict[str, int] = {}
        self._flushed_s = 0.0

    def write(self, result: Result[Any]) -> None:
        """Append the messages of one result.

        Raises
        ------
        SinkError
            If they cannot be written.
        """
        stamp_ns, frame_id = self._stamps.of(result.frame)
        try:
            if self._writer is None:
                self._begin()
            else:
                self._presence.check()
            for message in messages_of(result, self._task, stamp_ns, frame_id, self._wanted):
                self._append(message)
            self._flush()
        except OSError as error:
            raise SinkError(f"{self._path} cannot be written ({error.strerror})") from error

    def _begin(self) -> None:
        self._file = self._writes_to.open("wb")
        compression = CompressionType.NONE if not self._wanted.raw else CompressionType.ZSTD
        self._writer = Writer(self._file, chunk_size=_CHUNK_BYTES, compression=compression)
        self._writer.start(profile="ros2", library="steadyframe")
        self._flushed_s = time.monotonic()

    def _append(self, message: Message) -> None:
        channel = self._channel(message)
        sequence = self._sequences[message.topic] = self._sequences.get(message.topic, -1) + 1
        self._writer.add_message(
            channel, log_time=message.stamp_ns, publish_time=message.stamp_ns, sequence=sequence,
            data=message.encoded(),
        )  # fmt: skip

    def _channel(self, message: Message) -> int:
        if message.topic not in self._channels:
            if message.typename not in self._schemas:
                self._schemas[message.typename] = self._writer.register_schema(
                    message.typename, "ros2msg", schema_of(message.typename).encode()
                )
            self._channels[message.topic] = self._writer.register_channel(
                f"/{message.topic}", "cdr", self._schemas[message.typename]
            )
        return self._channels[message.topic]

    def _flush(self) -> None:
        """End the chunk of a live recording when it is due."""
        now_s = time.monotonic()
        if self._live and self._writer is not None and now_s - self._flushed_s >= _CHUNK_S:
            self._writer.flush()
            self._flushed_s = now_s

    def close(self) -> None:
        """Write the index and give the file its name.

        Raises
        ------
        SinkError
            If it cannot be written.
        """
        writer, self._writer = self._writer, None
        file, self._file = self._file, None
        if writer is None or file is None:
            return
        try:
            writer.finish()
            file.close()
            if self._writes_to != self._target:
                os.replace(self._writes_to, self._target)
        except OSError as error:
            file.close()
            self.discard()
            raise SinkError(f"{self._path} cannot be written ({error.strerror})") from error

    def discard(self) -> None:
        """Remove what was begun; a live recording is kept, with its index."""
        if self._live:
            self.close()
            return
        self._writer = None
        if self._file is not None:
            self._file.close()
            self._file = None
        remove(self._writes_to)


def open_mcap(address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> McapSink:
    """Open ``out.mcap``, or ``mcap://out.mcap?images=raw&camera=yes&frame_id=front``.

    Raises
    ------
    SinkError
        If it is the input, or cannot be written.
    UsageError
        If there is no such option.
    """
    del video
    text, options = address, {}
    if address.startswith("mcap://"):
        text, mark, rest = address.removeprefix("mcap://").partition("?")
        options = split_options(f"mcap://{mark}{rest}", _OPTIONS)
    for name, choices in (("images", ("jpeg", "raw")), ("camera", ("yes", "no"))):
        if options.get(name, choices[0]) not in choices:
            raise UsageError(f"Option {name!r} of an MCAP file is one of two", available=choices, found=options[name])
    path = Path(text)
    if path.exists() and os.path.exists(info.address) and path.samefile(info.address):
        raise SinkError(f"{path} is the input", todo="Name another output")
    # Whoever records people wants to see them later; a painted image is there already.
    camera = options.get("camera", "no" if task in ("colorize", "stylize") else "yes") == "yes"
    raw = options.get("images") == "raw"
    wanted = Wanted(raw=raw, jpeg=not raw, camera=camera, result=True)
    return McapSink(path, info, task, wanted, options.get("frame_id", DEFAULT_FRAME_ID))


descriptor = SinkDescriptor(open=open_mcap)
