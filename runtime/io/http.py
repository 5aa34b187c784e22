"""What a web server says about an address before anything is decoded.

Owns `ask`: a file, an image, a motion-JPEG stream, a live stream, or the reason why there is nothing. Standard
library only.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from .failures import Failure, not_opened

OPEN_TIMEOUT_S = 8.0
_STATUS = {401: Failure.AUTH, 403: Failure.AUTH, 404: Failure.NOT_FOUND, 410: Failure.NOT_FOUND, 407: Failure.AUTH}
_PLAYLISTS = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "application/dash+xml")
_HEAD_BYTES = 4096
_ENCRYPTED = {"rtsps": 322, "https": 443}  # and their ports
_LARGEST_IMAGE = 256 << 20


class Content(Enum):
    """What stands behind an address."""

    FILE = "file"
    IMAGE = "image"
    MOTION_JPEG = "motion JPEG"
    PLAYLIST = "playlist"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said.

    Parameters
    ----------
    content : kind
    response : still open; whoever does not read it closes it
    head : first bytes of the body, taken off `response`
    seekable : the server gives parts of a file
    """

    content: Content
    response: Any
    head: bytes
    seekable: bool

    def body(self) -> bytes:
        """Read the whole body of an image."""
        return self.head + bytes(self.response.read(_LARGEST_IMAGE))


def ask(address: str, shown: str) -> Answer:
    """Request an address from a server, and classify it by the answer.

    Raises
    ------
    SourceNotFound
        If there is nothing to read; `kind` says why.
    """
    try:
        response = open_http(address)
    except urllib.error.HTTPError as error:
        kind = _STATUS.get(error.code, Failure.OTHER)
        error.close()
        raise not_opened(shown, kind, f"HTTP {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failed(shown, error) from None
    kind = response.headers.get_content_type()
    sized = response.headers.get("Content-Length") is not None
    seekable = response.headers.get("Accept-Ranges", "").lower() == "bytes" or response.status == 206
    if kind.startswith("multipart/"):
        return Answer(Content.MOTION_JPEG, response, b"", seekable=False)
    try:
        head = response.read(_HEAD_BYTES) if sized else response.read1(_HEAD_BYTES)
    except (OSError, http.client.HTTPException) as error:
        response.close()
        raise _failed(shown, error) from None
    content = _classified(kind, head, sized=sized)
    if content is None:
        response.close()
        raise not_opened(shown, Failure.NOT_MEDIA, f"it answers with {kind}")
    return Answer(content, response, head, seekable)


def _classified(kind: str, head: bytes, *, sized: bool) -> Content | None:
    """Tell what a body is, by what the server calls it and by its first bytes; None for web pages."""
    from ..image_file import Kind, sniff

    found = sniff(head)
    if kind in _PLAYLISTS or head.startswith(b"#EXTM3U"):
        return Content.PLAYLIST
    if found.is_image:
        endless = found is Kind.JPEG and not sized and not kind.startswith("image/")
        return Content.MOTION_JPEG if endless else Content.IMAGE
    if found is Kind.WEB_PAGE or kind in ("text/html", "application/xhtml+xml"):
        return None
    return Content.FILE if sized else Content.STREAM


def open_http(address: str, timeout_s: float = OPEN_TIMEOUT_S) -> Any:
    """Open an address; user and password in it are sent as basic or digest authentication."""
    bare, user, password = without_credentials(address)
    handlers: list[Any] = []
    if user is not None:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, bare, user, password or "")
        handlers = [
            urllib.request.HTTPBasicAuthHandler(passwords),
            urllib.request.HTTPDigestAuthHandler(passwords),
        ]
    opener = urllib.request.build_opener(*handlers)
    request = urllib.request.Request(bare, headers={"User-Agent": "steadyframe", "Range": "bytes=0-"})
    return opener.open(request, timeout=timeout_s)


def tls_problem(address: str) -> str:
    """Why no encrypted connection can be made to an address such as ``rtsps://…``; empty if that is not the problem.

    FFmpeg says only that reading failed.
    """
    parts = urlsplit(address)
    if parts.scheme not in _ENCRYPTED or not parts.hostname:
        return ""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as FFmpeg does
    try:
        with socket.create_connection((parts.hostname, parts.port or _ENCRYPTED[parts.scheme]), 2.0) as plain:
            context.wrap_socket(plain, server_hostname=parts.hostname).close()
    except ssl.SSLError as error:
        return str(error.reason or error)
    except (OSError, ValueError):
        return ""
    return ""


def without_credentials(address: str) -> tuple[str, str | None, str | None]:
    """Address without user and password, and both of them."""
    parts = urlsplit(address)
    if "@" not in parts.netloc:
        return address, None, None
    host = parts.netloc.rpartition("@")[2]
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return bare, unquote(parts.username or ""), unquote(parts.password or "")


def basic_header(user: str, password: str) -> str:
    """Header line of basic authentication."""
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() + "\r\n"


def _failed(shown: str, error: BaseException) -> Exception:
    """Error of a server that did not answer."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLError):
        return not_opened(shown, Failure.TLS, str(reason.reason or reason))
    for kinds, failure, detail in _REASONS:
        if isinstance(reason, kinds):
            return not_opened(shown, failure, detail)
    return not_opened(shown, Failure.OTHER, str(reason)[:200])


_REASONS: tuple[tuple[tuple[type[BaseException], ...], Failure, str], ...] = (
    ((TimeoutError,), Failure.TIMEOUT, ""),
    ((socket.gaierror,), Failure.NO_HOST, ""),
    ((ConnectionRefusedError,), Failure.REFUSED, ""),
    ((http.client.BadStatusLine, http.client.LineTooLong), Failure.NOT_MEDIA, "it does not speak HTTP"),
    ((ConnectionError,), Failure.LOST, ""),
)
