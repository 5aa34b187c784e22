"""Files that appear whole or not at all, and the standard output when its reader has gone.

Owns the name under which a file is written until it is whole. Standard library only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import SinkError


def unfinished_name(path: Path) -> Path:
    """Name under which a file is written until it is whole: in the same folder, with the same ending.

    Examples
    --------
    >>> unfinished_name(Path("a/clip.mp4")).match("a/.clip.*.part.mp4")
    True
    """
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name and rename it; an older file there is replaced.

    Raises
    ------
    SinkError
        If it cannot be written; then nothing is left, and an older file stays.
    """
    unfinished = unfinished_name(path)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        remove(unfinished)
        raise SinkError(f"{path} cannot be written ({error.strerror})") from error


def remove(path: Path) -> None:
    """Remove a file that may not be there; where even the folder is missing, there is nothing to remove."""
    if path.exists():
        path.unlink()


def drop_stdout() -> None:
    """Send what is still to come on stdout nowhere, so that the last flush does not complain of a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
