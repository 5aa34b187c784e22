"""Images: one file, a folder of them, or a pattern.

Owns their finding and their natural order; `runtime.images` reads them.
"""

from __future__ import annotations

import glob
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import SourceNotFound
from ...frame import Frame
from ...image_file import IMAGE_SUFFIXES, read_image
from ..info import Signal, SourceInfo

_GLOB = re.compile(r"[*?\[]")
_SEQUENCE_FPS = 30.0


class ImageSet:
    """Image files in natural order.

    Parameters
    ----------
    paths : at least one
    address : for messages
    sequence : the images are frames of a video, not images of their own
    """

    def __init__(self, paths: Sequence[Path], address: str, *, sequence: bool = False) -> None:
        self._paths = sorted(paths, key=lambda path: natural_key(str(path)))
        self._stopped = False
        self.signal = Signal.GOOD
        self.info = SourceInfo(
            address=address,
            independent=not sequence,
            fps=_SEQUENCE_FPS if sequence else None,
            count=len(self._paths),
            folders=tuple(sorted({str(path.resolve().parent) for path in self._paths})),
        )

    def __iter__(self) -> Iterator[Frame]:
        """Read one image after the other; `Frame.source` is the image's path."""
        for index, path in enumerate(self._paths):
            if self._stopped:
                break
            started_ns = time.monotonic_ns()
            pixels = read_image(path)
            yield Frame(
                pixels,
                index,
                started_ns,
                str(path),
                round(index * 1e9 / _SEQUENCE_FPS),
                independent=self.info.independent,
            )
        self.signal = Signal.ENDED

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held open between two images."""


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which ``img_10`` comes after ``img_9``.

    Examples
    --------
    >>> sorted(["b10", "b9", "a"], key=natural_key)
    ['a', 'b9', 'b10']
    """
    parts = re.split(r"(\d+)", text.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def is_pattern(address: str) -> bool:
    """Whether the address is a glob pattern rather than a path."""
    return bool(_GLOB.search(address)) and not Path(address).exists()


def images_in(folder: Path) -> list[Path]:
    """Images that lie directly in a folder.

    Raises
    ------
    SourceNotFound
        If there are none.
    """
    found = [path for path in folder.iterdir() if _is_image(path)]
    if not found:
        others = sum(1 for _ in folder.iterdir())
        raise SourceNotFound(
            f"Folder {folder} holds no images",
            expected=f"files ending in {' '.join(sorted(IMAGE_SUFFIXES))}",
            found=f"{others} other entries" if others else "an empty folder",
        )
    return found


def images_matching(pattern: str) -> list[Path]:
    """Images that a glob pattern names (``**`` reaches into folders).

    Raises
    ------
    SourceNotFound
        If there are none.
    """
    found = [path for path in map(Path, glob.glob(pattern, recursive=True)) if _is_image(path)]
    if not found:
        raise SourceNotFound(f"No image matches {pattern!r}", todo="Quote the pattern, so that the shell leaves it")
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
