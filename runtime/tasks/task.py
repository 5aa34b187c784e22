"""The contract of a task, and its results.

Owns the `Task` protocol, `TaskDescriptor` (all that the rest of the runtime needs to know of a kind of task), and the
result types that are not a task's own. A task holds sessions, which are shared and immutable, and the little memory
of one stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Manifest
from ..errors import ShapeMismatch
from ..frame import Frame
from ..image import resize
from ..planes import Planes
from ..temporal.options import PropagatedOutput, SteadyOptions
from ..temporal.stage import Motion, Outputs, Stage
from .sessions import TaskSessions

Feeds = dict[str, Any]  # arrays; pose takes the planes of a frame as they are
Output = TypeVar("Output")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the network's input lies in the frame: maps its coordinates back to the original.

    Parameters
    ----------
    frame : the frame that was prepared
    scale_xy : frame pixels a network pixel, in x and y
    offset_xy : frame position, in pixels, of the network input's upper left corner
    """

    frame: Frame
    scale_xy: tuple[float, float] = (1.0, 1.0)
    offset_xy: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Image:
    """The output of a task that makes images, at the frame's own size.

    Parameters
    ----------
    image : (H, W, 3) uint8 BGR, or planes, which a video file takes as they are
    size_wh : the frame's size where pixels are of another; they are resized at first use, which may be never

    Raises
    ------
    ShapeMismatch
        If `image` is neither planes nor an (H, W, 3) uint8 array.
    """

    image: NDArray[np.uint8] | Planes
    size_wh: tuple[int, int] | None = None
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
        """BGR, (H, W, 3) uint8 at the frame's size; converted or resized at first use."""
        image, pixels = self.image, self._pixels
        if not isinstance(image, Planes) and self.size_wh in (None, image.shape[1::-1]):
            return image
        if pixels is None:
            pixels = image.to_bgr() if isinstance(image, Planes) else _fitted(image, self.size_wh)
            object.__setattr__(self, "_pixels", pixels)  # two threads at once would only convert twice
        return pixels


def _fitted(image: NDArray[np.uint8], size_wh: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Resize a network's image, (h, w, 3), to the size of the frame."""
    assert size_wh is not None
    return resize(image, size_wh, "cubic" if size_wh[0] > image.shape[1] else "area")


@dataclass(frozen=True, slots=True)
class Result(Generic[Output]):
    """What came of one frame.

    Parameters
    ----------
    frame : the frame that the result was made from, never a newer one
    output : `Image`, `People`, `Action` or `NamedArrays`
    keyframe : whether the network ran on this very frame
    age_ms : from the capture of the frame to the moment the result was ready
    timings_ms : stage -> milliseconds spent on this frame; never changes
    outputs : arrays of the task that `output` was made of, after the temporal stage
    """

    frame: Frame
    output: Output
    keyframe: bool = True
    age_ms: float = 0.0
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    outputs: Outputs = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "timings_ms", MappingProxyType(dict(self.timings_ms)))

    def age_now_ms(self) -> float:
        """Age at this moment, in milliseconds: what a control loop must know when it acts on the result."""
        return (time.monotonic_ns() - self.frame.captured_ns) / 1e6

    def draw(self) -> NDArray[np.uint8]:
        """Return the image to show, (H, W, 3) uint8 BGR: the output's own, or the frame with it drawn on."""
        pixels: NDArray[np.uint8] = getattr(self.output, "pixels", self.frame.pixels)
        return pixels


class Task(Protocol):
    """One network at work on one stream.

    A frame passes `preprocess`, `infer` and `postprocess` in this order; the temporal stage of the stream stands
    between `infer` and `postprocess` and works on the output named in `propagated`. The three may run in three
    threads, each for one frame at a time (`infer` of a `concurrent` task for several): what one of them remembers,
    the others never touch.

    A task whose network takes frames of any size may have ``shrink(share)``, which makes the network's frame smaller,
    1 being its usual size, and returns whether that changed anything; all that is remembered is forgotten then.
    """

    @property
    def name(self) -> str:
        """Name of the kind of task, as in its descriptor."""

    @property
    def propagated(self) -> PropagatedOutput | None:
        """The output that a temporal stage propagates; None if there is none."""

    @property
    def device(self) -> str:
        """The device in use."""

    def preprocess(self, frame: Frame, motion: Motion | None = None) -> tuple[Feeds, Placement]:
        """Turn a frame into what the network takes; only a resize happens here.

        Parameters
        ----------
        frame : the next one
        motion : how it follows on earlier frames; None, or one with `restart`, forgets them. What `infer` must forget
            then travels in the feeds
        """

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the network."""

    def postprocess(self, outputs: Outputs, placement: Placement) -> Any:
        """Turn the network's arrays into an output in the frame's own coordinates."""

    def make_stage(self, options: SteadyOptions, *, live: bool = False) -> Stage:
        """Make the temporal stage of one stream.

        Raises
        ------
        UsageError
            If the task has no output that can be propagated, and the mode is not `off`.
        """

    def close(self) -> None:
        """Close the sessions that the task owns; does nothing the second time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDescriptor:
    """What the runtime, calibration and parity need to know of a kind of task; an entry point names it.

    Parameters
    ----------
    name : in the manifest of a bundle
    open : makes a task from a manifest, its sessions, and the user's options
    options : name -> what it does, of every option of the task
    steady : what `--steady auto` means for a stream; independent images are never steadied
    reference : ``module:attribute`` of the PyTorch side that parity compares with; empty if there is none
    quality_metric : ``module:attribute`` of the `QualityMetric` that judges cheaper precisions; empty if none
    forgets : task, motion and feeds of a frame -> whether nothing of earlier frames has any influence from this frame
        on, on the task or on its stage: a video may be cut there. None where the task never forgets within a video
    concurrent : whether `infer` depends on its feeds alone, so that several frames may be in it at the same time,
        each in a thread; what depends on the frames before is then put into the feeds by the task's
        ``advance(feeds)``, if it has one, which is called in the order of the frames
    reads : manifest -> name of another bundle whose results the task reads; `open_task` opens a processor of it and
        passes it as option `processor`. Empty if the task reads frames alone
    """

    name: str
    open: Callable[[Manifest, TaskSessions, Mapping[str, Any]], Task]
    options: Mapping[str, str] = field(default_factory=dict)
    steady: str = "off"
    reference: str = ""
    quality_metric: str = ""
    forgets: Callable[[Any, Motion, Feeds], bool] | None = None
    concurrent: bool = False
    reads: Callable[[Manifest], str] = lambda _: ""
