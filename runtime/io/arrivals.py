"""When the packets of a live stream arrived, until their frames leave the decoder.

Owns `Arrival` and `Arrivals`. Looks at PyAV's packets; imports the standard library only.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Any

_SECOND = 1_000_000_000
_UNDECODED = 64  # packets whose frames have not left the decoder, at most
_PRODUCER_TIME = struct.Struct("<qi")  # AVProducerReferenceTime: microseconds on the UNIX clock, flags


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a packet of a live stream arrived.

    Parameters
    ----------
    at_ns, wall_ns : when it was here, on the monotonic and on the UNIX clock
    waited_ns : for how long it was waited for
    stamp_ns : its time stamp; None if it has none
    sender_ns : capture by the sender's UNIX clock, where it tells it (RTCP); None otherwise
    """

    at_ns: int
    wall_ns: int
    waited_ns: int
    stamp_ns: int | None
    sender_ns: int | None


class Arrivals:
    """The packets that were not decoded yet, by their time stamps."""

    def __init__(self) -> None:
        self._waiting: dict[int | None, Arrival] = {}

    def note(self, packet: Any, at_ns: int, waited_ns: int) -> None:
        """Note when a packet came: its frame may leave the decoder with a later one."""
        base = packet.time_base
        stamp_ns = round(packet.pts * base * _SECOND) if packet.pts is not None and base else None
        while len(self._waiting) >= _UNDECODED:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[packet.pts] = Arrival(at_ns, time.time_ns(), waited_ns, stamp_ns, _sender_ns(packet))

    def of(self, frame: Any) -> Arrival | None:
        """Give the arrival of a frame's packet, once; None where none was noted."""
        return self._waiting.pop(frame.pts, None)


def _sender_ns(packet: Any) -> int | None:
    """Capture by the sender's UNIX clock, which FFmpeg puts beside a packet where RTCP tells it."""
    if not hasattr(packet, "has_sidedata") or not packet.has_sidedata("prft"):
        return None
    beside = bytes(packet.get_sidedata("prft"))
    return None if len(beside) < _PRODUCER_TIME.size else int(_PRODUCER_TIME.unpack_from(beside)[0]) * 1000
