"""What an input address means, and how to show it without its password.

Owns `redact`, `split_options`. Opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import parse_qsl

from ..errors import UsageError

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
_CREDENTIALS = re.compile(r"(://)[^/?#\s]*@")  # of every address in a pipeline
_SECRET_OPTION = re.compile(r"([?&](?:[a-z_-]*(?:pass|pwd|token|secret|key|auth)[a-z_-]*)=)[^&#\s]*", re.IGNORECASE)


def scheme_of(address: str) -> str:
    """Lower-case scheme of ``scheme://…``, or an empty string.

    Examples
    --------
    >>> scheme_of("RTSP://camera/1"), scheme_of("clip.mp4")
    ('rtsp', '')
    """
    found = _SCHEME.match(address)
    return found.group(1).lower() if found else ""


def redact(address: str) -> str:
    """Address without user name, password, or secret options; fit for messages, logs and results.

    Examples
    --------
    >>> redact("rtsp://admin:hunter2@10.0.0.9/live?token=abc&channel=1")
    'rtsp://***@10.0.0.9/live?token=***&channel=1'
    """
    return _SECRET_OPTION.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", _without_credentials(address)))


def _without_credentials(address: str) -> str:
    """Hide user and password; where one of them holds a letter that ends a host, up to the last @."""
    scheme, found, rest = address.partition("://")
    if not found:
        return address
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    port = host.rpartition(":")[2] if ":" in host else ""
    if "@" in host or (port and not port.isdecimal() and not host.endswith("]")):
        hidden, at, shown = rest.rpartition("@")
        return f"{scheme}://***@{shown}" if at and hidden else address
    return address


def unencoded_password(address: str) -> str:
    """Letters of a password that end the host and must be percent-encoded; empty if there are none.

    Examples
    --------
    >>> unencoded_password("rtsp://admin:a/b#c@10.0.0.9/live"), unencoded_password("rtsp://admin:a%2Fb@10.0.0.9/live")
    ('/#', '')
    """
    rest = address.partition("://")[2]
    before = rest.rpartition("@")[0]
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not before or len(host) > len(before) or ":" not in before:
        return ""
    port = host.rpartition(":")[2]
    if port.isdecimal() and "@" not in host:
        return ""
    return "".join(letter for letter in "/#?" if letter in before)


def split_options(address: str, known: Collection[str]) -> dict[str, str]:
    """Options behind the question mark of ``test://?size=640x480&frames=90``.

    Raises
    ------
    UsageError
        If there is an option that the source does not have.
    """
    rest = address.split("://", 1)[1]
    text = rest.split("?", 1)[1] if "?" in rest else ""
    options = dict(parse_qsl(text, keep_blank_values=True))
    before = rest.split("?", 1)[0].strip("/")
    unknown = sorted(set(options) - set(known)) + ([before] if before else [])
    if unknown:
        raise UsageError(f"{address!r} has an option that this source does not", found=unknown[0], available=known)
    return options


def whole_number(options: dict[str, str], name: str, default: int, *, low: int = 0, high: int = 1 << 31) -> int:
    """Read one option as a whole number within bounds.

    Raises
    ------
    UsageError
        If it is no whole number, or out of bounds.
    """
    text = options.get(name, str(default))
    if not text.isdecimal() or not low <= int(text) <= high:
        raise UsageError(f"Option {name!r} of the source is out of range", expected=f"{low} to {high}", found=text)
    return int(text)


def size_option(options: dict[str, str], default_wh: tuple[int, int]) -> tuple[int, int]:
    """Read ``size=WIDTHxHEIGHT``, in pixels.

    Raises
    ------
    UsageError
        If it is no size, or a side is not 1 to 8192 pixels.
    """
    text = options.get("size", f"{default_wh[0]}x{default_wh[1]}")
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found or not all(1 <= int(side) <= 8192 for side in found.groups()):
        raise UsageError("Option 'size' of the source is not a size", expected="640x480", found=text)
    return int(found.group(1)), int(found.group(2))
