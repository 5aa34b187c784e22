"""The error tree of Steadyframe, drawn once.

::

    SteadyframeError
     +-- UsageError              exit 2   the call itself is wrong
     +-- BundleError             exit 3   a bundle is missing, damaged or does not match its manifest
     +-- DeviceError             exit 4
     |    +-- BackendNotInstalled         the library for the device is not there
     |    +-- DeviceUnavailable           the library is there, the device is not
     +-- SourceError             exit 5
     |    +-- SourceNotFound              nothing to read at this address
     |    +-- SignalLost                  it was there, and then it was not
     |    +-- NothingYoungEnough          no result is as young as it must be
     +-- SinkError               exit 5   the output cannot be written
     +-- ShapeMismatch           exit 3   two arrays, or an array and a graph, do not fit
     +-- ParityError             exit 6
     +-- CalibrationError        exit 7

The text of an error says what was expected, what was found and what to do; the same facts are attributes.
Owns nothing else and imports nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_MAX_PART = 600  # letters; a damaged file may put anything into a message


class SteadyframeError(Exception):
    """Any error that Steadyframe raises on purpose.

    Parameters
    ----------
    problem : what is wrong, in one sentence
    expected, found : the two sides of a mismatch, when there are two
    available : the names that exist
    todo : what the reader can do about it
    """

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        expected: object = None,
        found: object = None,
        available: Iterable[str] = (),
        todo: str = "",
    ) -> None:
        self.problem = problem
        self.expected = expected
        self.found = found
        self.available = tuple(available)
        self.todo = todo
        super().__init__(problem)

    def __str__(self) -> str:
        parts = [_short(self.problem.rstrip(".")) + "."]
        if self.expected is not None:
            parts.append(f"Expected: {_short(str(self.expected))}.")
        if self.found is not None:
            parts.append(f"Found: {_short(str(self.found))}.")
        if self.available:
            parts.append(f"Available: {_short(', '.join(self.available))}.")
        if self.todo:
            parts.append(self.todo if self.todo.endswith("?") else self.todo.rstrip(".") + ".")
        return " ".join(parts)


def _short(text: str) -> str:
    """Cut what is too long for a message; the attributes keep it whole."""
    return text if len(text) <= _MAX_PART else f"{text[: _MAX_PART - 2]} …"


class UsageError(SteadyframeError):
    """The call asks for something that makes no sense."""

    exit_code = 2


class BundleError(SteadyframeError):
    """A bundle is missing, damaged, or does not match its manifest."""

    exit_code = 3


class ShapeMismatch(SteadyframeError):
    """Two arrays, or an array and a graph, do not fit together."""

    exit_code = 3


class DeviceError(SteadyframeError):
    """The requested device cannot be used."""

    exit_code = 4


class BackendNotInstalled(DeviceError):
    """The library that drives the device is not installed."""


class DeviceUnavailable(DeviceError):
    """The library is installed, and finds no such device."""


class SourceError(SteadyframeError):
    """Frames cannot be read.

    Parameters
    ----------
    kind : why, as one word that programs can test: ``AUTH``, ``TLS``, ``TIMEOUT``, ``NOT_FOUND``, ``REFUSED``,
        ``NO_HOST``, ``NOT_MEDIA``, ``CODEC``, ``LOST``; empty where there is nothing to tell apart
    others : as of `SteadyframeError`
    """

    exit_code = 5

    def __init__(self, problem: str, *, kind: str = "", **others: Any) -> None:
        self.kind = kind
        super().__init__(problem, **others)


class SourceNotFound(SourceError):
    """There is nothing to read at this address."""


class SignalLost(SourceError):
    """The source was there and stopped delivering before its end."""


class NothingYoungEnough(SourceError):
    """No result is as young as the caller needs it."""


class SinkError(SteadyframeError):
    """Results cannot be written where they were meant to go."""

    exit_code = 5


class ParityError(SteadyframeError):
    """The exported network does not do what the trained one does."""

    exit_code = 6


class CalibrationError(SteadyframeError):
    """A calibration set or its recipe cannot be used."""

    exit_code = 7
