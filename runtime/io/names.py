"""Any path or address as FFmpeg takes it, and nothing else as it would guess it.

Owns the one function that turns a path into what FFmpeg gets. Standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path

STDIN = ("-", "pipe:", "pipe:0", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def ffmpeg_name(path: str | Path) -> str:
    """Name of a local file for FFmpeg, which would take ``12:30.mp4`` for a protocol and ``-`` for an option.

    Examples
    --------
    >>> ffmpeg_name("2024-01-01T12:30:00.mp4")
    'file:2024-01-01T12:30:00.mp4'
    """
    return f"file:{os.fspath(path)}"


def is_stdin(address: str) -> bool:
    """Whether an input address means the standard input."""
    return address in STDIN


def shown(path: str | Path) -> str:
    """Path for a message: letters that no terminal can print are escaped."""
    text = os.fspath(path)
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in clean)
