"""Dense optical flow at reduced size: where every pixel was one frame ago.

Owns `Flow`, the composition of flows, and the estimator that keeps the previous reduced image of one stream.
Imports numpy and cv2 only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch, UsageError

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "light": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
_SHORTEST = 32  # below this many pixels a side, DIS has no pyramid left to search in
_INVERSIONS = 3  # steps to the inverse of a flow between neighboring frames; further ones move it by 0.04 pixels
_LONGEST = 4  # a thinner image than 4:1 is squeezed, so that time and memory stay bounded


@dataclass(frozen=True, slots=True)
class Flow:
    """A displacement in pixels for every pixel.

    Parameters
    ----------
    vectors : (H, W, 2) float32, x and y, in pixels of an image of exactly this size
    forward : False (usual): from the current frame to where its content was in the previous one, which is what
        `warp` takes; True: from the previous frame to where its content went

    Raises
    ------
    ShapeMismatch
        If `vectors` is not an (H, W, 2) float32 array with at least one pixel.

    Examples
    --------
    >>> Flow.constant((180, 320), 1.5, 0).scaled((640, 360)).vectors[0, 0].tolist()
    [3.0, 0.0]
    """

    vectors: NDArray[np.float32]
    forward: bool = False

    def __post_init__(self) -> None:
        shape, dtype = self.vectors.shape, self.vectors.dtype
        if len(shape) != 3 or shape[2] != 2 or self.vectors.size == 0 or dtype != np.float32:
            raise ShapeMismatch("A flow holds x and y", expected="(H, W, 2) float32", found=f"{shape} {dtype}")

    @classmethod
    def constant(cls, size_hw: tuple[int, int], dx: float = 0.0, dy: float = 0.0) -> Flow:
        """Make a constant backward flow; zero by default."""
        return cls(np.full((*size_hw, 2), (dx, dy), np.float32))

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.vectors.shape[1], self.vectors.shape[0]

    def scaled(self, size_wh: tuple[int, int]) -> Flow:
        """Resize the flow for an image of another size, in pixels of that image."""
        if size_wh == self.size_wh:
            return self
        width, height = self.size_wh
        resized = cv2.resize(self.vectors, size_wh, interpolation=fitting_kernel(self.size_wh, size_wh))
        rows = np.asarray(resized, np.float32).reshape(size_wh[1], 2 * size_wh[0])
        rows *= _ratios(size_wh[0], size_wh[0] / width, size_wh[1] / height)
        return Flow(rows.reshape(size_wh[1], size_wh[0], 2), self.forward)


@dataclass(frozen=True, slots=True)
class FlowPair:
    """Both flows between two frames, and the reduced images that they were measured on.

    Parameters
    ----------
    backward, forward : (h, w, 2) float32 in pixels of the reduced image; `forward` may be smaller, and is then in
        pixels of its own size
    previous, current : (h, w) uint8, reduced luma
    """

    backward: Flow
    forward: Flow
    previous: NDArray[np.uint8]
    current: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """How flow is measured.

    Parameters
    ----------
    preset : DIS preset: `ultrafast`, `fast` or `medium`; each about three times the cost of the one before. Or
        `light`: the search of `fast`, down to half the image's size and not only to a quarter, with two instead of
        five iterations of refinement that smooth half as much; meant for small images
    short_side : pixels of the shorter side of the image it is measured on; frames are never enlarged for it
    check_side : the same of a pair's forward flow, where that only serves to check the backward one; None measures
        both alike
    inverted : whether a pair's forward flow is the inverse of the backward one, and not measured: half of the
        cost, but content that appears is then told by its look alone

    References
    ----------
    Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search"; OpenCV's presets.
    """

    preset: str = "fast"
    short_side: int = 180
    check_side: int | None = None
    inverted: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"There is no flow preset {self.preset!r}", available=PRESETS)
        smallest = min(side for side in (self.short_side, self.check_side) if side is not None)
        if smallest < _SHORTEST:
            raise UsageError("The flow's image is too small", expected=f"at least {_SHORTEST}", found=smallest)

    @classmethod
    def of(cls, text: str) -> FlowOptions:
        """Read what a command line says.

        Raises
        ------
        UsageError
            If there is no such preset, or the size is no whole number of pixels.

        Examples
        --------
        >>> FlowOptions.of("fast:240")
        FlowOptions(preset='fast', short_side=240, check_side=None, inverted=False)
        """
        preset, _, size = text.partition(":")
        if not size:
            return cls(preset)
        if not size.isdecimal():
            raise UsageError("A flow is a preset and a size", expected="fast or fast:180", found=text)
        return cls(preset, int(size))


class FlowEstimator:
    """Flow between the frames of one stream, each frame reduced once.

    Examples
    --------
    >>> estimator = FlowEstimator(FlowOptions("fast", short_side=180))
    >>> estimator.step(np.zeros((720, 1280, 3), np.uint8)) is None  # nothing to compare the first frame with
    True
    >>> estimator.step(np.zeros((720, 1280, 3), np.uint8)).backward.size_wh
    (320, 180)
    """

    def __init__(self, options: FlowOptions | None = None) -> None:
        self.options = options or FlowOptions()
        self._dis = _search(self.options.preset)
        self._previous: NDArray[np.uint8] | None = None

    def step(self, pixels: NDArray[np.uint8]) -> FlowPair | None:
        """Measure the motion since the frame before.

        Parameters
        ----------
        pixels : (H, W, 3) BGR or (H, W) luma, uint8

        Returns
        -------
        FlowPair or None
            None for the first frame, after `reset`, and after a change of the frames' size.
        """
        return self.between(*self.push(pixels))

    def push(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint8]]:
        """Reduce a frame, (H, W, 3), to luma, (h, w), and keep it; returns the previous (or None) and this one."""
        current = reduced_luma(pixels, self.options.short_side)
        previous, self._previous = self._previous, current
        if previous is not None and previous.shape != current.shape:
            previous = None
        return previous, current

    def between(self, previous: NDArray[np.uint8] | None, current: NDArray[np.uint8]) -> FlowPair | None:
        """Measure both flows between two reduced images, (h, w) uint8 of one size; None without a previous one."""
        if previous is None:
            return None
        backward = np.asarray(self._dis.calc(current, previous, None), np.float32)  # type: ignore[call-overload]
        if self.options.inverted:
            return FlowPair(Flow(backward), inverse(Flow(backward)), previous, current)
        side = self.options.check_side
        small = (previous, current) if side is None else (reduced_luma(previous, side), reduced_luma(current, side))
        return FlowPair(Flow(backward), self.forward(*small), previous, current)

    def forward(self, previous: NDArray[np.uint8], current: NDArray[np.uint8]) -> Flow:
        """Measure where the content of `previous` moved, both images (h, w) uint8; half the cost of `between`."""
        vectors = self._dis.calc(previous, current, None)  # type: ignore[call-overload]
        return Flow(np.asarray(vectors, np.float32), forward=True)

    def reset(self) -> None:
        """Forget the previous frame."""
        self._previous = None


def _search(preset: str) -> cv2.DISOpticalFlow:
    """Make the search of a preset."""
    dis = cv2.DISOpticalFlow.create(PRESETS[preset])
    if preset == "light":
        dis.setFinestScale(1)
        dis.setVariationalRefinementIterations(2)
        dis.setVariationalRefinementAlpha(10.0)
    return dis


def reduced_luma(pixels: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Luma of a frame, (h, w) uint8, its shorter side at most `short_side` pixels, each an average of its area."""
    grey: NDArray[Any] = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    scale = min(1.0, short_side / min(height, width))
    sides = (min(max(_SHORTEST, round(side * scale)), _LONGEST * short_side) for side in (width, height))
    size_wh = (next(sides), next(sides))
    if size_wh == (width, height):
        return np.array(grey, np.uint8)  # the frame's owner may write into it before the next one comes
    # Halving is five to ten times cheaper than averaging over areas that are no whole number of pixels.
    while 2 * size_wh[0] <= grey.shape[1] and 2 * size_wh[1] <= grey.shape[0]:
        grey = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(grey, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)


def shrinking_kernel(from_wh: tuple[int, int], to_wh: tuple[int, int]) -> int:
    """`cv2` kernel that averages where an image shrinks; linear where it grows, or area would repeat pixels."""
    return cv2.INTER_AREA if to_wh[0] <= from_wh[0] and to_wh[1] <= from_wh[1] else cv2.INTER_LINEAR


def fitting_kernel(from_wh: tuple[int, int], to_wh: tuple[int, int]) -> int:
    """`cv2` kernel for flows and masks: below half size it averages, else linear is as good and far cheaper."""
    return shrinking_kernel(from_wh, to_wh) if 2 * to_wh[0] <= from_wh[0] else cv2.INTER_LINEAR


def compose(late: Flow, early: Flow) -> Flow:
    """Join two backward flows: current -> middle frame -> first frame.

    Parameters
    ----------
    late : backward flow from the current to the middle frame
    early : backward flow from the middle to the first frame, of the same size

    Returns
    -------
    Flow
        ``late(x) + early(x + late(x))``: one warp with it samples the image once instead of twice, and so blurs
        it once.

    Raises
    ------
    ShapeMismatch
        If the flows differ in size, or one of them is not backward.

    References
    ----------
    Ours; beyond the border the nearest vector is repeated.
    """
    if late.size_wh != early.size_wh or late.forward or early.forward:
        expected, found = f"two backward flows of {late.size_wh}", f"{early.size_wh}, forward: {early.forward}"
        raise ShapeMismatch("These flows cannot be joined", expected=expected, found=found)
    return Flow(late.vectors + sample(early.vectors, positions(late)))


def inverse(flow: Flow) -> Flow:
    """Find the flow the other way, of the same size, from a flow alone.

    Where two places lead to one, or none does, it gives that of a neighbor.

    References
    ----------
    Chen et al. 2008, "A simple fixed-point approach to invert a deformation field".

    Examples
    --------
    >>> inverse(Flow.constant((6, 8), 1.5, 1.0)).vectors[3, 4].tolist()
    [-1.5, -1.0]
    """
    found = -flow.vectors
    for _ in range(_INVERSIONS):
        found = -sample(flow.vectors, positions(Flow(found)))
    return Flow(found, not flow.forward)


def positions(flow: Flow) -> NDArray[np.float32]:
    """Compute the positions, (H, W, 2) float32, that a flow points to from every pixel."""
    return np.asarray(flow.vectors + _grid(*flow.size_wh), np.float32)


def sample(image: NDArray[Any], at: NDArray[np.float32], *, cubic: bool = False) -> NDArray[Any]:
    """Read an image at positions, the border pixel repeated outside; keeps dtype and channels.

    Parameters
    ----------
    image : (h, w) or (h, w, C)
    at : (H, W, 2) float32, x and y in pixels of `image`
    cubic : with cubic weights, which keep edges sharp and cost twice as much; bilinear ones otherwise

    Returns
    -------
    (H, W) or (H, W, C)
    """
    kernel = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    read: NDArray[Any] = cv2.remap(image, at, None, kernel, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return read.reshape(*at.shape[:2], *image.shape[2:])


@lru_cache(maxsize=32)
def _ratios(width: int, x: float, y: float) -> NDArray[np.float32]:
    """Factors of one row of vectors, (2 width,): numpy is slow where the last axis holds two."""
    return np.tile(np.array((x, y), np.float32), width)


@lru_cache(maxsize=32)
def _grid(width: int, height: int) -> NDArray[np.float32]:
    """Positions of all pixels, (H, W, 2); kept, because every flow of a stream has the same size."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    grid = np.stack((x, y), axis=-1)
    grid.flags.writeable = False
    return grid
