"""A file that is still being written, read as it grows.

Owns `GrowingFile`. Standard library only.
"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

RECENT_S = 30.0  # a file that was changed this lately may still be growing
_PATIENCE_S = 3.0  # recorders flush at least as often
_POLL_S = 0.05


def may_grow(path: Path) -> bool:
    """Whether a regular file was changed a moment ago."""
    try:
        facts = path.stat()
    except OSError:
        return False
    return path.is_file() and 0 <= time.time() - facts.st_mtime < RECENT_S


class GrowingFile(io.RawIOBase):
    """Reads to the end of a file, and on if it has grown since it was opened.

    A file that did not grow ends at once. One that grew ends when nothing came for three seconds.

    Parameters
    ----------
    path : of the file
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self.name = str(path)
        self._known_size = self._size()  # when it was opened, or last waited for
        self.stopped = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes; waits for more at the end of a file that grows."""
        found = self._file.read(size)
        if found:
            return found
        until = time.monotonic() + _PATIENCE_S
        while self._grows() and not self.stopped and time.monotonic() < until:
            time.sleep(_POLL_S)
            found = self._file.read(size)
            if found:
                return found
        self._known_size = self._size()  # FFmpeg asks several times at an end: it is waited for once
        return b""

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _grows(self) -> bool:
        return self._size() > self._known_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
