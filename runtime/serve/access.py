"""Who may look: the token, the names under which the server answers, the origins of pages, and the limits.

Owns `Limits`, `Access` and its middleware. A page of another site must not reach a camera through the visitor's own
browser, so the `Host` and `Origin` of every request are checked, on loopback too.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from ..errors import UsageError

COOKIE = "steadyframe_token"
_COOKIE_S = 30 * 24 * 3600
_OPEN_PATHS = frozenset(("/healthz",))  # a liveness probe has no token, and learns nothing
_LEAST_TOKEN = 8
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self' ws: wss:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may take and send.

    Parameters
    ----------
    clients : connections that look at images or results at the same time
    cameras : browsers whose own camera is worked on at the same time
    upload_bytes : of one image of a browser's camera
    upload_pixels : of one such image
    messages_per_s : of one client, images included; more are thrown away, and counted

    Raises
    ------
    UsageError
        If one of them is below 1; `cameras` may be 0.
    """

    clients: int = 256
    cameras: int = 4
    upload_bytes: int = 2 << 20
    upload_pixels: int = 1920 * 1088
    messages_per_s: int = 150

    def __post_init__(self) -> None:
        if min(self.clients, self.upload_bytes, self.upload_pixels, self.messages_per_s) < 1 or self.cameras < 0:
            raise UsageError("A limit of the server is too low", expected="1 or more", found=str(self))


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own.

    Examples
    --------
    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Access:
    """Decide about every request.

    Parameters
    ----------
    host : the address that the server is bound to
    token : asked of everybody; empty makes one, unless the server is bound to loopback, where none is needed
    origins : of pages elsewhere that may open `/ws`, such as ``https://dash.example``

    Raises
    ------
    UsageError
        If the token is too short.
    """

    def __init__(self, host: str, token: str = "", origins: tuple[str, ...] = ()) -> None:
        if token and len(token) < _LEAST_TOKEN:
            raise UsageError("The token is too short", expected=f"{_LEAST_TOKEN} letters or more", found=len(token))
        self._loopback = is_loopback(host)
        self.token = token or ("" if self._loopback else secrets.token_urlsafe(18))
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self.refused = dict.fromkeys(("token", "host", "origin"), 0)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through, or answer it here."""
        problem = self.problem_of(request)
        if problem:
            self.refused[problem] += 1
            return _refusal(problem)
        if self.token and "token" in request.query and request.path == "/":
            return self._welcome(request)
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    def problem_of(self, request: web.Request) -> str:
        """Name what is wrong with a request: ``token``, ``host`` or ``origin``; empty if nothing is."""
        host = (urlsplit(f"//{request.host}").hostname or "") if _is_host(request.host) else ""
        if not self.token and not is_loopback(host):
            return "host"  # a foreign name that was made to point at 127.0.0.1
        if not self._is_own(request):
            return "origin"
        if self.token and request.path not in _OPEN_PATHS and not self._has_token(request):
            return "token"
        return ""

    def _is_own(self, request: web.Request) -> bool:
        """Whether a request comes from our own page, from an allowed one, or from no page at all."""
        origin = request.headers.get("Origin", "").lower()
        if origin in self._origins:
            return True
        if origin:
            return _is_host(origin.partition("://")[2]) and urlsplit(origin).netloc == request.host.lower()
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site in ("same-origin", "none"):
            return True
        # A link on another page may open ours; what it embeds may not.
        navigates = request.headers.get("Sec-Fetch-Mode") == "navigate"
        return navigates and request.headers.get("Sec-Fetch-Dest") == "document"

    def _has_token(self, request: web.Request) -> bool:
        given = (
            request.query.get("token", ""),
            request.cookies.get(COOKIE, ""),
            request.headers.get("Authorization", "").removeprefix("Bearer "),
        )
        return any(hmac.compare_digest(each.encode(), self.token.encode()) for each in given)

    def _welcome(self, request: web.Request) -> web.StreamResponse:
        """Keep the token in a cookie, and take it out of the address, where a screenshot would show it."""
        response = web.Response(status=303, headers={"Location": "/", **_HEADERS})
        response.set_cookie(
            COOKIE, self.token, max_age=_COOKIE_S, httponly=True, samesite="Strict", secure=request.secure
        )
        return response


def _is_host(text: str) -> bool:
    """Whether a text can stand where an address has its host; `urlsplit` raises at half an IPv6 address."""
    return bool(text) and text.count("[") == text.count("]") and not set(text) & set("/\\@ ")


def _refusal(problem: str) -> web.Response:
    text = {
        "token": "This server asks for its token: open the address that it printed at its start.",
        "host": "This server answers only to the names of its own machine, such as localhost.",
        "origin": "This server does not answer to pages of other sites (--allow-origin names exceptions).",
    }[problem]
    return web.Response(status=401 if problem == "token" else 403, text=text + "\n", headers=_HEADERS)
