"""Addresses of topics, and what a transport offers.

Owns `TopicAddress`, `Transport`, `Publication` and `Subscription`. Knows no library of a transport.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import UsageError
from ..io.address import redact, scheme_of

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
_HIGHEST_DOMAIN = 232  # DDS computes ports from it
NODE = "steadyframe"


@dataclass(frozen=True, slots=True)
class TopicAddress:
    """``SCHEME://NAME?OPTION=VALUE&…``.

    Parameters
    ----------
    name : of a topic, or the prefix of several, without slashes at its ends; may be empty
    domain : of ROS 2; without an option ``domain`` that of the environment (ROS_DOMAIN_ID), else 0
    options : the other options
    shown : the address without secrets

    Examples
    --------
    >>> TopicAddress.of("ros2:///camera/image_raw?domain=7", ()).name
    'camera/image_raw'
    """

    name: str
    domain: int
    options: dict[str, str] = field(default_factory=dict)
    shown: str = ""

    @classmethod
    def of(cls, address: str, known: Iterable[str]) -> TopicAddress:
        """Read an address with the options that a source or sink knows; `domain` it always knows.

        Raises
        ------
        UsageError
            If the name is none of a topic, or an option is not known.
        """
        scheme = scheme_of(address)
        text, _, rest = address.split("://", 1)[1].partition("?")
        name = text.strip("/")
        if name and not _NAME.fullmatch(name):
            raise UsageError(
                f"{redact(address)} names no topic", found=name,
                expected=f"letters, digits, _ and /, such as {scheme}://camera/image_raw",
            )  # fmt: skip
        options = dict(part.partition("=")[::2] for part in rest.split("&") if part)
        known = ("domain", *known)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise UsageError(f"{scheme}:// has no such option", found=", ".join(unknown), available=known)
        domain = options.pop("domain", os.environ.get("ROS_DOMAIN_ID") or "0")
        if not domain.isdecimal() or int(domain) > _HIGHEST_DOMAIN:
            raise UsageError("A domain of ROS 2 is a number", expected=f"0 to {_HIGHEST_DOMAIN}", found=domain)
        return cls(name, int(domain), options, redact(address))


class Publication(Protocol):
    """One topic that is written."""

    @property
    def has_readers(self) -> bool:
        """Whether somebody listens right now."""

    def put(self, content: bytes | bytearray, stamp_ns: int) -> None:
        """Send a message in CDR; `stamp_ns` is its time on the UNIX clock."""

    def close(self) -> None:
        """Say that nothing more comes."""


class Subscription(Protocol):
    """One topic that is read."""

    def close(self) -> None:
        """Stop listening."""


class Transport(Protocol):
    """A participant of ROS 2's graph, on one middleware."""

    def publish(self, topic: str, typename: str) -> Publication:
        """Announce a topic; reliable, the last message only."""

    def subscribe(self, topic: str, typename: str, on_message: Callable[[bytes], None]) -> Subscription:
        """Listen to a topic, best effort; `on_message` is called in a thread of the transport and must not wait."""

    def close(self) -> None:
        """Leave the graph."""
