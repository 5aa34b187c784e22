"""Images of an MCAP file as frames.

Owns `McapSource`. A recording that was cut off by a crash is read up to where it ends, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from mcap.exceptions import EndOfFile
from mcap.reader import SeekingReader
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader

from ..errors import SourceError, SourceNotFound
from ..frame import Frame
from ..io.address import split_options
from ..io.info import Media, SourceInfo
from ..io.live.signal import Signal
from ..io.names import shown
from ..io.sources.descriptor import SourceDescriptor
from .codec import decode
from .frames import COMPRESSED, IMAGE, frame_of

_OPTIONS = ("topic",)
_TYPES = (COMPRESSED, IMAGE)
_LARGEST = 1 << 30  # bytes of one record


class McapSource:
    """Read the images of one topic.

    Parameters
    ----------
    path : of the file
    address : as given
    topic : of the images; empty takes the only one, or the first of several, which is said

    Raises
    ------
    SourceNotFound
        If it is no MCAP file, or holds no images.
    """

    def __init__(self, path: Path, address: str, topic: str = "") -> None:
        self.notes: list[str] = []
        self._path = path
        self._stopped = False
        self.signal = Signal.LIVE
        topics, span_ns = self._look()
        if not topics or (topic and topic not in topics):
            raise SourceNotFound(
                f"{shown(path)} has no images" + (f" on the topic {topic}" if topic else ""),
                expected=" or ".join(_TYPES), available=sorted(topics),
            )  # fmt: skip
        self._topic = topic or _first_of(topics)
        if not topic and len(topics) > 1:
            others = ", ".join(sorted(set(topics) - {self._topic}))
            self.notes.append(f"{shown(path)}: the images of {self._topic}; others: {others} (mcap://FILE?topic=…)")
        count = topics[self._topic]
        fps = (count - 1) * 1e9 / span_ns if count > 1 and span_ns > 0 else None
        self.info = SourceInfo(
            address=address, fps=fps, count=count or None, media=Media(time_base=Fraction(1, 90000))
        )

    def _look(self) -> tuple[dict[str, int], int]:
        """Find topics of images with the number of their messages, and the length in nanoseconds."""
        try:
            with self._path.open("rb") as file:
                summary = SeekingReader(file, record_size_limit=_LARGEST).get_summary()
        except OSError as error:
            raise SourceNotFound(f"{shown(self._path)} cannot be read ({error.strerror})") from error
        except Exception:  # mcap raises whatever struct, zlib or a dict do; its messages are looked through then
            summary = None
        if summary is not None and summary.statistics is not None:
            counts = summary.statistics.channel_message_counts
            topics: dict[str, int] = {}
            for channel in summary.channels.values():
                schema = summary.schemas.get(channel.schema_id)
                if _is_image(schema, channel):
                    topics[channel.topic] = topics.get(channel.topic, 0) + counts.get(channel.id, 0)
            return topics, summary.statistics.message_end_time - summary.statistics.message_start_time
        return self._look_through()

    def _look_through(self) -> tuple[dict[str, int], int]:
        """Read a file without an index once, for what an index would say."""
        topics: dict[str, int] = {}
        first = last = 0
        for schema, channel, message in self._messages():
            if _is_image(schema, channel):
                topics[channel.topic] = topics.get(channel.topic, 0) + 1
                first = first or message.log_time
                last = message.log_time
        return topics, last - first

    def _messages(self) -> Iterator[tuple[Schema | None, Channel, Message]]:
        """Every message in the order of the file, up to its end or to where it was cut off."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        try:
            with self._path.open("rb") as file:
                for record in StreamReader(file, record_size_limit=_LARGEST).records:
                    if isinstance(record, Schema):
                        schemas[record.id] = record
                    elif isinstance(record, Channel):
                        channels[record.id] = record
                    elif isinstance(record, Message) and record.channel_id in channels:
                        channel = channels[record.channel_id]
                        yield schemas.get(channel.schema_id), channel, record
        except EndOfFile:
            self._note(f"{shown(self._path)} was cut off: it is read up to there")
        except OSError as error:
            raise SourceError(f"{shown(self._path)} cannot be read ({error.strerror})") from error
        except Exception as error:  # as above: of a damaged file, what lies before the damage is good
            if not channels:
                raise SourceNotFound(f"{shown(self._path)} is no MCAP file", kind="NOT_MEDIA") from error
            self._note(f"{shown(self._path)} is damaged: it is read up to there")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def __iter__(self) -> Iterator[Frame]:
        """Decode the images in the order of the file.

        Raises
        ------
        SourceError
            If an image cannot be decoded.
        """
        index, zero_ns = 0, -1
        for schema, channel, message in self._messages():
            if self._stopped:
                return
            if channel.topic != self._topic or schema is None or not _is_image(schema, channel):
                continue
            zero_ns = message.log_time if zero_ns < 0 else zero_ns
            body: Any = decode(message.data, schema.name)
            time_ns = max(0, message.log_time - zero_ns)
            yield frame_of(body, schema.name, index, self.info.address, time_ns=time_ns)
            index += 1
        self.signal = Signal.ENDED

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held open."""


def _is_image(schema: Schema | None, channel: Channel) -> bool:
    return (
        schema is not None
        and schema.name in _TYPES
        and schema.encoding == "ros2msg"
        and channel.message_encoding == "cdr"
    )


def _first_of(topics: dict[str, int]) -> str:
    """Of several topics, that of a camera, else the first."""
    return min(topics, key=lambda topic: ("camera" not in topic, topic))


def open_mcap(address: str, *, sequence: bool = False) -> McapSource:
    """Open ``clip.mcap``, or ``mcap://clip.mcap?topic=/camera/image``.

    Raises
    ------
    SourceNotFound
        If there is no such file, or it holds no images.
    """
    del sequence  # it is one anyway
    text, topic = address, ""
    if address.startswith("mcap://"):
        text, mark, rest = address.removeprefix("mcap://").partition("?")
        topic = split_options(f"mcap://{mark}{rest}", _OPTIONS).get("topic", "")
    path = Path(text)
    if not os.path.isfile(path):
        raise SourceNotFound(f"There is no file '{shown(path)}'", kind="NOT_FOUND")
    return McapSource(path, text, f"/{topic.lstrip('/')}" if topic else "")


descriptor = SourceDescriptor(open=open_mcap, reads_files=True)
