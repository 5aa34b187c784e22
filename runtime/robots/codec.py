"""ROS 2 messages to and from bytes, without ROS.

Owns `Message`, `encode`, `decode`, `type_hash`, `schema_of` and `dds_type`. The `.msg` texts are compiled by rosbags,
which is CDR and the RIHS01 type hashes; what lies on a wire or in a file is its bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ..errors import SourceError
from .definitions import DEFINITIONS


class Message(NamedTuple):
    """A message for a topic.

    Parameters
    ----------
    topic : without the slash at its beginning, such as ``image/compressed``
    typename : such as ``sensor_msgs/msg/Image``
    stamp_ns : of its header, on the UNIX clock
    body : made by `make`
    """

    topic: str
    typename: str
    stamp_ns: int
    body: Any

    def encoded(self) -> bytes:
        """Return the message in CDR, little endian."""
        return encode(self.body, self.typename)

    def buffer(self) -> bytes | bytearray:
        """Return the same as `encoded`, without a copy: an image has megabytes."""
        return buffer_of(self.body, self.typename)


@lru_cache(maxsize=1)
def _store() -> Any:
    store: Any = get_typestore(Stores.ROS2_HUMBLE)
    types: dict[str, Any] = {}
    for name, text in DEFINITIONS.items():
        types.update(get_types_from_msg(text, name))
    store.register(types)
    return store


def make(typename: str, **fields: Any) -> Any:
    """Make a message of a type.

    Examples
    --------
    >>> make("vision_msgs/msg/Point2D", x=1.0, y=2.0).y
    2.0
    """
    return _store().types[typename](**fields)


def encode(body: Any, typename: str) -> bytes:
    """Return a message in CDR, little endian, with its 4 bytes of encapsulation."""
    return bytes(_store().serialize_cdr(body, typename))


def buffer_of(body: Any, typename: str) -> bytes | bytearray:
    """Return a message in CDR as `encode` does, in the memory that it was made in."""
    view = _store().serialize_cdr(body, typename)
    whole = view.obj
    return whole if isinstance(whole, bytearray) and len(whole) == len(view) else bytes(view)


def decode(content: bytes, typename: str) -> Any:
    """Read a message from CDR.

    Raises
    ------
    SourceError
        If the bytes are no message of this type.
    """
    try:
        return _store().deserialize_cdr(content, typename)
    except Exception as error:  # rosbags' compiled code raises whatever NumPy, struct or an assertion do
        raise SourceError(f"These {len(content)} bytes are no {typename}", kind="CODEC") from error


def is_known(typename: str) -> bool:
    """Whether messages of a type can be read."""
    return typename in _store().fielddefs


@lru_cache(maxsize=64)
def type_hash(typename: str) -> str:
    """Type hash as ROS 2 has it since Iron.

    Examples
    --------
    >>> type_hash("sensor_msgs/msg/Image")[:15]
    'RIHS01_d31d41a9'
    """
    return str(_store().hash_rihs01(typename))


@lru_cache(maxsize=64)
def schema_of(typename: str) -> str:
    """Complete `.msg` text of a type, with those it is made of, as MCAP's `ros2msg` has it."""
    return str(_store().generate_msgdef(typename, ros_version=2)[0])


def dds_type(typename: str) -> str:
    """Name of a type on the wire.

    Examples
    --------
    >>> dds_type("sensor_msgs/msg/Image")
    'sensor_msgs::msg::dds_::Image_'
    """
    package, _, name = typename.split("/")
    return f"{package}::msg::dds_::{name}_"


def fields_of(typename: str) -> list[tuple[str, Any]]:
    """Fields of a type, name and description, as rosbags has them."""
    return list(_store().fielddefs[typename][1])
