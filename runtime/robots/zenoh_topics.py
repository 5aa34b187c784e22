"""Topics over Zenoh, as rmw_zenoh has them: `zenoh://`.

Owns `ZenohTransport`, and the descriptors of the source and the sink.

References
----------
rmw_zenoh, docs/design.md: key expression ``domain/topic/type/hash``, liveliness tokens below ``@ros2_lv``,
attachment with number, time and 16 bytes that identify the publisher. Humble has no type hashes and writes
`TypeHashNotSupported`.
"""

from __future__ import annotations

import itertools
import json
import os
import struct
from collections.abc import Callable
from typing import Any

import xxhash
import zenoh

from ..errors import SinkError, SourceNotFound, UsageError
from .codec import dds_type, type_hash
from .topic_sink import topic_sink
from .topic_source import topic_source
from .topics import NODE, TopicAddress

_OPTIONS = ("distro", "connect", "listen")
_ROUTER = "tcp/localhost:7447"  # where rmw_zenoh's router listens, which every one of its nodes connects to
_NO_HASH = "TypeHashNotSupported"
_RELIABLE_LAST = "::,1:,:,:,,"  # as rmw_zenoh writes a quality of service; what is empty is its default
_BEST_EFFORT_LAST = "2::,1:,:,:,,"
_DISTROS = ("humble", "jazzy", "kilted", "lyrical", "rolling")


def attachment(number: int, stamp_ns: int, gid: bytes, *, labelled: bool = False) -> bytes:
    """Make what rmw_zenoh attaches to a message.

    Parameters
    ----------
    number : of the message, from 1
    stamp_ns : when it was sent, on the UNIX clock
    gid : 16 bytes that identify the publisher
    labelled : with the names of the three, as Jazzy has it

    Examples
    --------
    >>> len(attachment(1, 2, bytes(16))), len(attachment(1, 2, bytes(16), labelled=True))
    (33, 77)
    """
    parts = (struct.pack("<q", number), struct.pack("<q", stamp_ns), bytes((len(gid),)) + gid)
    if not labelled:
        return b"".join(parts)
    names = (b"sequence_number", b"source_timestamp", b"source_gid")
    return b"".join(bytes((len(name),)) + name + part for name, part in zip(names, parts, strict=True))


def gid_of(token: str) -> bytes:
    """Sixteen bytes that identify the owner of a liveliness token: its XXH3-128, the lower half first."""
    value = xxhash.xxh3_128_intdigest(token.encode())
    return (value & (1 << 64) - 1).to_bytes(8, "little") + (value >> 64).to_bytes(8, "little")


class ZenohTransport:
    """A session of Zenoh that looks like a node of ROS 2.

    Parameters
    ----------
    domain : of ROS 2
    distro : of the other nodes; it decides about type hashes and attachments
    connect, listen : end points, such as ``tcp/10.0.0.5:7447``; empty takes those of rmw_zenoh

    Raises
    ------
    UsageError
        If there is no such distribution, or an end point is none.
    SinkError
        If the session cannot be opened.
    """

    def __init__(self, domain: int, distro: str = "jazzy", *, connect: str = "", listen: str = "") -> None:
        if distro not in _DISTROS:
            raise UsageError("There is no such distribution of ROS 2", found=distro, available=_DISTROS)
        self._domain, self._distro = domain, distro
        config = zenoh.Config.from_env() if _has_config() else zenoh.Config()
        if connect or not _has_config():
            config.insert_json5("connect/endpoints", json.dumps([connect or _ROUTER]))
        if listen:
            config.insert_json5("listen/endpoints", json.dumps([listen]))
        try:
            self._session: Any = zenoh.open(config)
        except zenoh.ZError as error:
            raise SinkError(f"Zenoh cannot be opened ({error})", todo="See the end points") from error
        self._numbers = itertools.count(1)
        self._zid = str(self._session.zid())
        # domain / session / node / entity / kind / enclave / namespace / node name
        self._node = self._session.liveliness().declare_token(self._token("NN", 0))

    def _token(self, kind: str, number: int, topic: str = "", typename: str = "", qos: str = "") -> str:
        """Key expression of a liveliness token; slashes inside a part are percent signs."""
        parts = ["@ros2_lv", str(self._domain), self._zid, "0", str(number), kind, "%", "%", NODE]
        if topic:
            parts += [f"%{topic.replace('/', '%')}", dds_type(typename), self._hash_of(typename), qos]
        return "/".join(parts)

    def _hash_of(self, typename: str) -> str:
        return _NO_HASH if self._distro == "humble" else type_hash(typename)

    def key_of(self, topic: str, typename: str) -> str:
        """Key expression of a topic's messages."""
        return f"{self._domain}/{topic}/{dds_type(typename)}/{self._hash_of(typename)}"

    def publish(self, topic: str, typename: str) -> ZenohPublication:
        """Announce a topic; reliable, the last message only."""
        token = self._token("MP", next(self._numbers), topic, typename, _RELIABLE_LAST)
        publisher = self._session.declare_publisher(
            self.key_of(topic, typename),
            congestion_control=zenoh.CongestionControl.DROP,
            reliability=zenoh.Reliability.RELIABLE,
        )
        alive = self._session.liveliness().declare_token(token)
        return ZenohPublication(publisher, alive, gid_of(token), labelled=self._distro == "jazzy")

    def subscribe(self, topic: str, typename: str, on_message: Callable[[bytes], None]) -> ZenohSubscription:
        """Listen to a topic, best effort, whatever hash its publisher writes."""
        token = self._token("MS", next(self._numbers), topic, typename, _BEST_EFFORT_LAST)
        key = f"{self._domain}/{topic}/{dds_type(typename)}/*"
        subscriber = self._session.declare_subscriber(key, lambda sample: on_message(sample.payload.to_bytes()))
        return ZenohSubscription(subscriber, self._session.liveliness().declare_token(token))

    def close(self) -> None:
        """Leave the network."""
        self._session.close()


class ZenohPublication:
    """A publisher of one topic."""

    def __init__(self, publisher: Any, token: Any, gid: bytes, *, labelled: bool) -> None:
        self._publisher, self._token = publisher, token
        self._gid, self._labelled = gid, labelled
        self._number = 0

    @property
    def has_readers(self) -> bool:
        """Whether a subscriber is known."""
        return bool(self._publisher.matching_status.matching)

    def put(self, content: bytes | bytearray, stamp_ns: int) -> None:
        """Send a message in CDR."""
        self._number += 1
        self._publisher.put(
            content, attachment=attachment(self._number, stamp_ns, self._gid, labelled=self._labelled)
        )

    def close(self) -> None:
        """Say that nothing more comes."""
        self._token.undeclare()
        self._publisher.undeclare()


class ZenohSubscription:
    """A subscriber of one topic."""

    def __init__(self, subscriber: Any, token: Any) -> None:
        self._subscriber, self._token = subscriber, token

    def close(self) -> None:
        """Stop listening."""
        self._token.undeclare()
        self._subscriber.undeclare()


def _has_config() -> bool:
    """Whether the environment names a configuration, which then decides about end points."""
    return bool(os.environ.get("ZENOH_CONFIG"))


def _open_for_sink(address: TopicAddress) -> ZenohTransport:
    options = {name: address.options[name] for name in _OPTIONS if name in address.options}
    return ZenohTransport(address.domain, **options)


def _open(address: TopicAddress) -> ZenohTransport:
    try:
        return _open_for_sink(address)
    except SinkError as error:
        raise SourceNotFound(error.problem, todo=error.todo, kind="REFUSED") from error


source = topic_source(_open, options=_OPTIONS)
sink = topic_sink(_open_for_sink, options=_OPTIONS)
