"""Topics over DDS, as rmw_cyclonedds and other DDS middlewares have them: `ros2://`.

Owns `DdsTransport`, and the descriptors of the source and the sink. What lies on the wire is rosbags' CDR:
cyclonedds' own Python serialiser, which takes some 0.2 s for an image, is not used. The types that it is given serve
its C core, which checks every message against them.

References
----------
ROS 2 design, "Topic and Service name mapping to DDS": ``rt/`` before the name, ``pkg::msg::dds_::Type_``. REP-2011
for the type hash in the user data of writers and readers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from cyclonedds._clayer import ddspy_write_ts
from cyclonedds.core import DDSException, InstanceState, Policy, Qos, ReadCondition, SampleState, ViewState, WaitSet
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import make_idl_struct, types
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from ..errors import SinkError, SourceNotFound
from .codec import dds_type, fields_of, type_hash
from .topic_sink import topic_sink
from .topic_source import topic_source
from .topics import TopicAddress

_BASE, _NAME, _ARRAY, _SEQUENCE = 1, 2, 3, 4  # rosbags' kinds of fields
_POLL_MS = 200
_AT_ONCE = 16  # samples taken in one call
# An image is some megabytes: with the kernel's usual 0.2 MB of buffer, best effort would lose every one of them.
_CONFIG = (
    "<CycloneDDS><Domain><General><MaxMessageSize>65500B</MaxMessageSize></General><Internal>"
    '<SocketReceiveBufferSize max="16MiB"/><SocketSendBufferSize max="16MiB"/></Internal></Domain></CycloneDDS>'
)


class _Raw:
    """A message as it lay on the wire."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.sample_info: Any = None


@lru_cache(maxsize=64)
def _idl_type(typename: str) -> Any:
    """Make the type of a message for cyclonedds' core; its samples stay bytes."""
    fields = {name: _idl_field(kind) for name, kind in fields_of(typename)}
    made: Any = make_idl_struct(
        typename.rsplit("/", maxsplit=1)[-1] + "_", dds_type(typename).replace("::", "."), fields
    )
    made.deserialize = classmethod(lambda cls, data, *_, **__: _Raw(bytes(data)))
    made.deserialize_key = made.deserialize
    return made


def _idl_field(kind: Any) -> Any:
    what, detail = kind
    if what == _NAME:
        return _idl_type(detail)
    if what == _BASE:
        name = detail[0]
        special = {"string": str, "bool": bool, "octet": types.byte}
        return special[name] if name in special else getattr(types, name)
    inner, size = _idl_field(detail[0]), detail[1]
    kinds: Any = types  # its own types are not generic to a type checker
    return kinds.array[inner, size] if what == _ARRAY else kinds.sequence[inner]


@cache  # a process has one domain of a number, as long as it lives
def _domain(number: int) -> Any:
    """Configure a domain; what the user's CYCLONEDDS_URI says counts more. None if the process has it already."""
    own = os.environ.get("CYCLONEDDS_URI", "")
    try:
        return Domain(number, f"{_CONFIG},{own}" if own else _CONFIG)
    except DDSException:
        return None  # another part of the program has made it, with its own configuration


class DdsTransport:
    """A DDS participant.

    Parameters
    ----------
    domain : of ROS 2

    Raises
    ------
    SinkError
        If there is no network that it could use.
    """

    def __init__(self, domain: int) -> None:
        _domain(domain)
        try:
            # Without an enclave, ROS 2 takes a participant for none of its own.
            self._participant = DomainParticipant(domain, Qos(Policy.Userdata(b"enclave=/;")))
        except DDSException as error:
            raise SinkError(
                f"DDS cannot join domain {domain} ({error.msg})",
                todo="See the network, and CYCLONEDDS_URI if it is set",
            ) from error

    def publish(self, topic: str, typename: str) -> DdsPublication:
        """Announce a topic; reliable, the last message only."""
        qos = Qos(
            Policy.Reliability.Reliable(duration(milliseconds=100)),
            Policy.History.KeepLast(1),
            Policy.Durability.Volatile,
            Policy.Userdata(f"typehash={type_hash(typename)};".encode()),
        )
        return DdsPublication(DataWriter(self._participant, self._topic(topic, typename), qos))

    def subscribe(self, topic: str, typename: str, on_message: Callable[[bytes], None]) -> DdsSubscription:
        """Listen to a topic, best effort."""
        qos = Qos(
            Policy.Reliability.BestEffort,
            Policy.History.KeepLast(_AT_ONCE),
            Policy.Durability.Volatile,
            Policy.Userdata(f"typehash={type_hash(typename)};".encode()),
        )
        reader = DataReader(self._participant, self._topic(topic, typename), qos)
        return DdsSubscription(self._participant, reader, on_message)

    def _topic(self, name: str, typename: str) -> Any:
        return Topic(self._participant, f"rt/{name}", _idl_type(typename))

    def close(self) -> None:
        """Leave the domain."""
        del self._participant


class DdsPublication:
    """A writer of one topic."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    @property
    def has_readers(self) -> bool:
        """Whether a reader is matched."""
        return len(self._writer.get_matched_subscriptions()) > 0

    def put(self, content: bytes | bytearray, stamp_ns: int) -> None:
        """Send a message in CDR.

        Raises
        ------
        SinkError
            If DDS refuses it.
        """
        padded = content if len(content) % 4 == 0 else content.ljust(-(-len(content) // 4) * 4, b"\0")
        code = ddspy_write_ts(self._writer._ref, padded, stamp_ns)
        if code < 0:
            raise SinkError(f"DDS did not take a message of {len(content)} bytes", found=f"code {code}")

    def close(self) -> None:
        """Delete the writer."""
        del self._writer


class DdsSubscription:
    """A reader of one topic, and the thread that waits for its messages."""

    def __init__(self, participant: Any, reader: Any, on_message: Callable[[bytes], None]) -> None:
        self._reader = reader
        self._on_message = on_message
        self._stopped = threading.Event()
        self._waits = WaitSet(participant)
        self._condition = ReadCondition(reader, SampleState.Any | ViewState.Any | InstanceState.Any)
        self._waits.attach(self._condition)
        self._thread = threading.Thread(target=self._run, name="steadyframe dds", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._waits.wait(duration(milliseconds=_POLL_MS))
            for sample in self._reader.take(_AT_ONCE):
                if isinstance(sample, _Raw):
                    self._on_message(sample.content)

    def close(self) -> None:
        """Stop listening."""
        self._stopped.set()
        self._thread.join(2.0)


def _open(address: TopicAddress) -> DdsTransport:
    try:
        return DdsTransport(address.domain)
    except SinkError as error:
        raise SourceNotFound(error.problem, todo=error.todo, kind="REFUSED") from error


def _open_for_sink(address: TopicAddress) -> DdsTransport:
    return DdsTransport(address.domain)


source = topic_source(_open)
sink = topic_sink(_open_for_sink)
