"""Images of a topic as a live source.

Owns `TopicSource`. Which transport carries them is decided by whoever makes the descriptor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import SourceError, UsageError
from ..frame import Frame
from ..io.info import Media, Source
from ..io.live.feed import Taken
from ..io.live.policy import LivePolicy
from ..io.live.source import LiveSource
from ..io.sources.descriptor import SourceDescriptor
from ..stream.channel import Channel, Ended
from .codec import decode
from .frames import COMPRESSED, IMAGE, StampedFrame, frame_of
from .topics import Subscription, TopicAddress, Transport

_OPTIONS = ("type",)
_TYPES = {"image": IMAGE, "compressed": COMPRESSED}
_HEADERS = 64  # of frames under way

Opener = Callable[[TopicAddress], Transport]


class TopicFeed:
    """One subscription; keeps the newest message only."""

    frozen_frames = 0  # a simulated camera may well stand still
    fps: float | None = None
    media: Media | None = None

    def __init__(self, transport: Transport, address: TopicAddress, typename: str, headers: Headers) -> None:
        self._typename, self._shown, self._headers = typename, address.shown, headers
        self._transport = transport
        self._newest: Channel[bytes] = Channel(1, newest=True)
        self._broken = 0
        self._subscription: Subscription = transport.subscribe(address.name, typename, self._take)

    def _take(self, content: bytes) -> None:
        """Keep a message; called in a thread of the transport."""
        self._newest.put(content)

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether messages could not be decoded."""
        return (f"{self._broken} messages could not be decoded and were left out",) if self._broken else ()

    def __iter__(self) -> Iterator[Taken]:
        """Decode the newest message, again and again."""
        while True:
            try:
                content = self._newest.get()
            except Ended:
                return
            try:
                frame = frame_of(decode(content, self._typename), self._typename, 0, self._shown)
            except SourceError:
                self._broken += 1
                continue
            self._headers.put(frame)
            yield Taken(frame.image, frame.captured_ns)

    def cancel(self) -> None:
        """Wake the thread that waits for a message."""
        self._newest.abort()

    def close(self) -> None:
        """Stop listening, and leave."""
        self._newest.abort()
        self._subscription.close()
        self._transport.close()


class Headers:
    """Headers of frames that are on their way through a live source, found by their time of capture."""

    def __init__(self) -> None:
        self._found: OrderedDict[int, StampedFrame] = OrderedDict()

    def put(self, frame: StampedFrame) -> None:
        """Keep a header."""
        self._found[frame.captured_ns] = frame
        while len(self._found) > _HEADERS:
            self._found.popitem(last=False)

    def of(self, captured_ns: int) -> StampedFrame | None:
        """Take a header out."""
        return self._found.pop(captured_ns, None)


class TopicSource(LiveSource):
    """The images of a topic, with the stamps and frame_ids of their headers.

    Parameters
    ----------
    address : of the topic
    typename : of its messages
    transport : opens the transport
    policy : as of `LiveSource`
    """

    def __init__(
        self, address: TopicAddress, typename: str, transport: Opener, policy: LivePolicy | None = None
    ) -> None:
        self._headers = Headers()
        headers = self._headers

        def connect() -> TopicFeed:
            return TopicFeed(transport(address), address, typename, headers)

        super().__init__(address.shown, connect, policy=policy)

    def __iter__(self) -> Iterator[Frame]:
        """Deliver the frames, each with its header."""
        for frame in super().__iter__():
            header = self._headers.of(frame.captured_ns)
            if header is None:
                yield frame
                continue
            yield StampedFrame(
                frame.image, frame.index, frame.captured_ns, frame.source, frame.time_ns,
                wall_ns=header.wall_ns, stamp_ns=header.stamp_ns, frame_id=header.frame_id,
            )  # fmt: skip


def topic_source(transport: Opener, *, options: tuple[str, ...] = ()) -> SourceDescriptor:
    """Make the descriptor of a transport's sources.

    Parameters
    ----------
    transport : opens the transport of an address
    options : of the addresses, that the transport knows
    """

    def open_topic(address: str, *, sequence: bool = False, policy: LivePolicy | None = None, **_: Any) -> Source:
        del sequence  # a topic is one anyway
        read = TopicAddress.of(address, (*_OPTIONS, *options))
        if not read.name:
            raise UsageError(f"{read.shown} names no topic", expected="such as ros2://camera/image_raw")
        short = read.options.get("type", "compressed" if read.name.endswith("/compressed") else "image")
        if short not in _TYPES:
            raise UsageError("There is no such type of images", found=short, available=_TYPES)
        return TopicSource(read, _TYPES[short], transport, policy)

    return SourceDescriptor(open=open_topic, live=True)
