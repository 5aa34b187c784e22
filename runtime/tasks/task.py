"""What every task offers to a stream, and what a stream hands to its sinks.

Owns the `Task` protocol and the result types. A task holds sessions (shared, immutable) and the little memory of
one stream; it is made once a stream by `steadyframe.runtime.tasks.open_task`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch
from ..frame import Frame
from ..planes import Planes

Feeds = dict[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the network's image lies in the frame: maps its coordinates back to the original.

    Parameters
    ----------
    frame : the frame that was prepared
    scale_xy : frame pixels a network pixel, in x and y
    offset_xy : frame position, in pixels, of the network image's upper left corner
    """

    frame: Frame
    scale_xy: tuple[float, float] = (1.0, 1.0)
    offset_xy: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Image:
    """The result of a task that makes images, at the frame's own size.

    Parameters
    ----------
    image : (H, W, 3) uint8 BGR, or planes, which a video file takes as they are
    """

    image: NDArray[np.uint8] | Planes
    _pixels: NDArray[np.uint8] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        image = self.image
        if isinstance(image, Planes):
            return
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            found = f"{image.shape} {image.dtype}"
            raise ShapeMismatch("An image holds 8-bit color pixels", expected="(H, W, 3) uint8 BGR", found=found)

    @property
    def planes(self) -> Planes | None:
        """The planes, where it is held so."""
        return self.image if isinstance(self.image, Planes) else None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """BGR, (H, W, 3) uint8; planes are converted at first use."""
        if not isinstance(self.image, Planes):
            return self.image
        pixels = self._pixels
        if pixels is None:
            pixels = self.image.to_bgr()
            object.__setattr__(self, "_pixels", pixels)  # two threads at once would only convert twice
        return pixels


@dataclass(frozen=True, slots=True)
class Result:
    """One result on its way to the sinks, with the frame it belongs to.

    Parameters
    ----------
    frame : the frame that the result was made from, never a newer one
    result : `Image`, `People` or `Action`
    keyframe : whether the network ran on this very frame
    age_ms : from the capture of the frame to the moment the result was ready
    timings_ms : stage -> milliseconds spent on this frame
    """

    frame: Frame
    result: Any
    keyframe: bool = True
    age_ms: float = 0.0
    timings_ms: Mapping[str, float] = field(default_factory=dict)


class Task(Protocol):
    """One network at work on one stream.

    A frame passes `preprocess`, `infer` and `postprocess` in this order; the steadier of the stream stands between
    `infer` and `postprocess` and works on the output named `carried`.
    """

    name: str
    carried: str | None

    @property
    def device(self) -> str:
        """The device in use."""

    def preprocess(self, frame: Frame) -> tuple[Feeds, Placement]:
        """Turn a frame into what the network takes; only a resize happens here."""

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the network."""

    def postprocess(self, outputs: Outputs, placement: Placement) -> Any:
        """Turn the network's outputs into a result in the frame's own coordinates."""

    def reset(self) -> None:
        """Forget everything about earlier frames (a cut, another image, a new size)."""

    def close(self) -> None:
        """Free what the task owns."""
