"""Images: one file, a folder of them, or a pattern.

Owns their finding and their natural order; `runtime.image_file` reads them.
"""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError, SourceNotFound
from ...frame import Frame
from ...image_file import IMAGE_SUFFIXES, read_image
from ..info import Signal, SourceInfo
from ..names import shown

_GLOB = re.compile(r"[*?\[]")
SEQUENCE_FPS = 30.0


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
        self._notes: list[str] = []
        self.signal = Signal.LIVE
        self.info = SourceInfo(
            address=shown(address),
            independent=not sequence,
            fps=SEQUENCE_FPS if sequence else None,
            count=len(self._paths),
            folders=tuple(sorted({str(path.resolve().parent) for path in self._paths})),
            files=tuple(map(str, self._paths)),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of single images."""
        return tuple(self._notes)

    def __iter__(self) -> Iterator[Frame]:
        """Read one image after the other; `Frame.source` is the image's path.

        Raises
        ------
        SourceError
            After the last image, if some of them could not be read; the others were all delivered.
        """
        broken: list[SourceError] = []
        for index, path in enumerate(self._paths):
            if self._stopped:
                break
            started_ns = time.monotonic_ns()
            try:
                pixels = read_image(path, self._notes)
            except SourceError as error:
                broken.append(error)
                continue
            yield Frame(
                pixels,
                index,
                started_ns,
                str(path),
                round(index * 1e9 / SEQUENCE_FPS),
                independent=self.info.independent,
            )
        self.signal = Signal.ENDED
        if len(self._paths) == 1 and broken:
            raise broken[0]
        if broken and not self._stopped:
            raise SourceError(
                f"{len(broken)} of {len(self._paths)} images could not be read; the first: {broken[0]}",
                kind=broken[0].kind,
            )

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held open between two images."""


class ImagesInMemory:
    """Images that are decoded already: one that came by http, or the frames of an animated file.

    Parameters
    ----------
    images : (H, W, 3) uint8 BGR each
    address : for messages
    times_ns : of the frames of an animation; None for one image
    notes : what the user should know
    folders : that the file lies in
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.uint8]],
        address: str,
        *,
        times_ns: Sequence[int] | None = None,
        notes: Sequence[str] = (),
        folders: tuple[str, ...] = (),
    ) -> None:
        self._images = images
        self._times_ns = times_ns if times_ns is not None else [0] * len(images)
        self._stopped = False
        self.notes = tuple(notes)
        self.signal = Signal.LIVE
        moving = times_ns is not None
        spread = self._times_ns[-1] - self._times_ns[0]
        fps = 1e9 * (len(images) - 1) / spread if spread > 0 else SEQUENCE_FPS
        self.info = SourceInfo(
            address=address, independent=not moving, fps=fps if moving else None, count=len(images), folders=folders
        )

    def __iter__(self) -> Iterator[Frame]:
        """Give one image after the other."""
        for index, (pixels, time_ns) in enumerate(zip(self._images, self._times_ns, strict=True)):
            if self._stopped:
                break
            yield Frame(
                pixels, index, time.monotonic_ns(), self.info.address, time_ns, independent=self.info.independent
            )
        self.signal = Signal.ENDED

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held open."""


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
    return bool(_GLOB.search(address)) and not os.path.lexists(address)


def _with_real_folders(pattern: str) -> str:
    """Escape the part of a pattern that names a folder which exists, so that its brackets are letters."""
    path = Path(pattern)
    for folder in path.parents:
        if folder != Path(folder.anchor) and folder.is_dir():
            return os.path.join(glob.escape(str(folder)), str(path.relative_to(folder)))
    return pattern


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
    found = [path for path in map(Path, glob.glob(_with_real_folders(pattern), recursive=True)) if _is_image(path)]
    if not found:
        raise SourceNotFound(f"No image matches {pattern!r}", todo="Quote the pattern, so that the shell leaves it")
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
