"""What went wrong when FFmpeg opened or read something, in words and as a kind.

Owns `Failure` and the translation of PyAV's exceptions. PyAV is imported by whoever opens; here only its names are
looked at.
"""

from __future__ import annotations

from enum import Enum

from ..errors import SignalLost, SourceError, SourceNotFound


class Failure(Enum):
    """Why a source cannot be read."""

    NOT_FOUND = "not found"
    AUTH = "user name or password refused"
    REFUSED = "connection refused"
    NO_HOST = "no such host"
    TLS = "encryption failed"
    TIMEOUT = "no answer in time"
    NOT_MEDIA = "not a video"
    CODEC = "codec not readable"
    LOST = "connection lost"
    STALLED = "stalled"  # it is connected, and no frame comes
    FROZEN = "frozen"  # frames come, and all of them are the same
    OTHER = "failed"


_TODO = {
    Failure.NOT_FOUND: "See the path behind the host: cameras differ in it",
    Failure.AUTH: "Give user and password as rtsp://USER:PASSWORD@HOST/…",
    Failure.REFUSED: "Is the machine on, and is the port right?",
    Failure.NO_HOST: "See the spelling of the host, and the name service",
    Failure.TLS: "See the certificate and the clock of both machines, or use the address without the s",
    Failure.TIMEOUT: "Is the camera on, and in this network?",
    Failure.NOT_MEDIA: "See the address in a browser",
    Failure.CODEC: "Convert it with ffmpeg, for example to H.264",
    Failure.LOST: "See the cable, the power and the network",
    Failure.STALLED: "See the camera's load and the network",
    Failure.FROZEN: "Restart the camera, or allow still images with --frozen-after 0",
    Failure.OTHER: "See that the address is right",
}
_BY_CLASS = {
    "HTTPUnauthorizedError": Failure.AUTH,
    "HTTPForbiddenError": Failure.AUTH,
    "HTTPNotFoundError": Failure.NOT_FOUND,
    "FileNotFoundError": Failure.NOT_FOUND,
    "ConnectionRefusedError": Failure.REFUSED,
    "ConnectionResetError": Failure.LOST,
    "ConnectionAbortedError": Failure.LOST,
    "BrokenPipeError": Failure.LOST,
    "TimeoutError": Failure.TIMEOUT,
    "ExitError": Failure.TIMEOUT,  # the interrupt callback ended a wait that was too long
    "InvalidDataError": Failure.NOT_MEDIA,
    "DecoderNotFoundError": Failure.CODEC,
    "DemuxerNotFoundError": Failure.CODEC,
    "ProtocolNotFoundError": Failure.CODEC,
    "PatchWelcomeError": Failure.CODEC,
}
_BY_WORDS = (
    (("401", "403", "unauthorized", "forbidden"), Failure.AUTH),
    (("404", "not found"), Failure.NOT_FOUND),
    (("certificate", "ssl", "tls", "handshake"), Failure.TLS),
    (("timed out", "timeout", "unreachable"), Failure.TIMEOUT),
    (("name or service", "resolve", "resolution", "no address"), Failure.NO_HOST),
    (("refused",), Failure.REFUSED),
)


def kind_of(error: BaseException) -> Failure:
    """Kind of a PyAV, socket or TLS error."""
    for parent in type(error).__mro__:
        found = _BY_CLASS.get(parent.__name__)
        if found is not None:
            return found
    words = f"{type(error).__name__} {error}".lower()
    for signs, kind in _BY_WORDS:
        if any(sign in words for sign in signs):
            return kind
    return Failure.OTHER


def not_opened(shown: str, kind: Failure, detail: str = "", *, todo: str = "") -> SourceNotFound:
    """Error for a source that could not be opened; `shown` is its address without a password."""
    found = f"{kind.value} ({detail})" if detail else kind.value
    return SourceNotFound(f"{shown} cannot be opened: {found}", todo=todo or _TODO[kind], kind=kind.name)


def lost(shown: str, kind: Failure, found: str, *, todo: str = "") -> SourceError:
    """Error for a source that stopped before its end."""
    return SignalLost(f"{shown} stopped: {kind.value}", found=found, todo=todo or _TODO[kind], kind=kind.name)
