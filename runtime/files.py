"""Files that appear whole or not at all.

Owns the name under which a file is written until it is whole, the sweeping of such files of processes that died, and
the notice that one has vanished while it is written. Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
import time
from pathlib import Path

from .errors import SinkError

_LONGEST_NAME = 255  # bytes, on every common file system
_LOOK_S = 0.5
_LEFTOVER = re.compile(r"\.(?P<host>[0-9a-f]{6})-(?P<process>\d+)\.part(?:\.[^.]*)?$")


def _host() -> str:
    """Six letters that identify this machine since its start, among others that write in the same folder."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        start = boot.read_text()
    except OSError:
        start = ""
    return hashlib.sha256(f"{socket.gethostname()} {start}".encode()).hexdigest()[:6]


def unfinished_name(path: Path) -> Path:
    """Name under which a file is written until it is whole: in the same folder, with the same ending.

    Examples
    --------
    >>> unfinished_name(Path("a/clip.mp4")).match("a/.clip.*.part.mp4")
    True
    """
    ending = f".{_host()}-{os.getpid()}.part{path.suffix}"
    room = _LONGEST_NAME - 1 - len(os.fsencode(ending))
    stem = os.fsdecode(os.fsencode(path.stem)[:room])
    return path.with_name(f".{stem}{ending}")


def refuse_long_name(path: Path) -> None:
    """Refuse a name that no file system takes, before anything is computed.

    Raises
    ------
    SinkError
        If it has more than 255 bytes.
    """
    length = len(os.fsencode(path.name))
    if length > _LONGEST_NAME:
        raise SinkError(
            f"The name {path.name[:40]}… is too long", expected=f"{_LONGEST_NAME} bytes", found=f"{length} bytes"
        )


def sweep(folder: Path) -> list[Path]:
    """Remove what processes of this machine left in a folder when they died; returns what was removed."""
    removed = []
    for path in folder.glob(".*.part*"):
        found = _LEFTOVER.search(path.name)
        if found is None or found["host"] != _host() or _is_alive(int(found["process"])):
            continue
        try:
            path.unlink()
        except OSError:
            continue  # another process was quicker, or may not
        removed.append(path)
    return removed


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


class Presence:
    """Notices, at most twice a second, that a file which is being written has gone.

    Parameters
    ----------
    path : where it is written
    shown : the name that its user knows
    """

    def __init__(self, path: Path, shown: Path) -> None:
        self._path, self._shown = path, shown
        self._next_s = 0.0

    def check(self) -> None:
        """Check whether it exists.

        Raises
        ------
        SinkError
            If it is not.
        """
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + _LOOK_S
        if not self._path.exists():
            raise SinkError(f"{self._shown} was removed, or its folder, while it was written")


def prove_writable(path: Path) -> None:
    """Check, before any work is done, that a file can be written later; an existing file is unchanged.

    Raises
    ------
    SinkError
        If it cannot.
    """
    refuse_long_name(path)
    target = behind_link(path)
    if target.is_dir():
        raise SinkError(f"{path} is a folder, not a file")
    probe = unfinished_name(target)
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        todo = "Make its folder, name another one, or change its rights"
        raise SinkError(f"{path} cannot be written ({error.strerror})", todo=todo) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name and rename it; an older file there is replaced, a link's target too.

    Raises
    ------
    SinkError
        If it cannot be written; then nothing is left, and an older file stays.
    """
    target = behind_link(path)
    unfinished = unfinished_name(target)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(target)
    except OSError as error:
        remove(unfinished)
        raise SinkError(f"{path} cannot be written ({error.strerror})") from error


def behind_link(path: Path) -> Path:
    """Path that is written where `path` is a link; itself otherwise."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def remove(path: Path) -> None:
    """Remove a file that may not be there; where even the folder is missing, there is nothing to remove."""
    if path.exists():
        path.unlink()


def drop_stdout() -> None:
    """Send what is still to come on stdout nowhere, so that the last flush does not complain of a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
