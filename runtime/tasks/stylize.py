"""Stylization: an image painted anew on every keyframe, by a network that knows what it painted before.

Owns the stylize bundle's contract with its one graph, `stylize`, the last output of one stream, and the composition
with the frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Manifest
from ..errors import BundleError, UsageError
from ..frame import Frame
from ..image import preprocess_image, resize
from ..motion.flow import Flow, FlowOptions
from ..motion.warp import warp
from ..temporal.feedback import FeedbackStage
from ..temporal.forgetting import stage_forgets
from ..temporal.options import PropagatedOutput, SteadyOptions
from ..temporal.repaint import Repaint
from ..temporal.stage import EveryFrame, Motion, Outputs, Stage
from .sessions import TaskSessions
from .settings import settings_of
from .task import Feeds, Image, Placement, TaskDescriptor

ROLE = "stylize"
_MARGIN = 8  # pixels around a crop that the network sees
_STEP = 32  # pixels; crops of many sizes would make the engine plan its memory anew each time


@dataclass(frozen=True, slots=True, kw_only=True)
class StylizeSettings:
    """The values of `settings` in a stylize bundle; each may be overridden for a stream.

    Parameters
    ----------
    strength : share of the painted image in the result; 0 is the frame, 1 the painting
    keep_colors : keep the frame's own colors and take only light and shade from the painting
    """

    strength: float = 1.0
    keep_colors: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError("The settings of stylize are out of range", expected="strength 0..1", found=self)


class Stylize:
    """Paints the frames of one stream.

    Without a temporal stage every frame is painted as if it were the first. With one (`make_stage`), the network is
    shown its last output, warped to the frame along the motion path, and where to trust it.

    Parameters
    ----------
    manifest : of a stylize bundle
    sessions : role -> session, shared with other streams if need be
    settings : overrides of the bundle's settings

    References
    ----------
    Ruder et al. 2018, section 3.
    """

    name = "stylize"
    # A brush stroke is as sharp as the image: every tenth of a pixel of wrong motion is seen as seething.
    propagated = PropagatedOutput(name="styled", flow=FlowOptions("medium", short_side=240))

    def __init__(
        self, manifest: Manifest, sessions: TaskSessions, *, settings: StylizeSettings | None = None
    ) -> None:
        graph = manifest.graphs.get(ROLE)
        if graph is None or graph.preprocess is None or dict(manifest.state) != {"styled": "previous"}:
            raise BundleError(
                f"Bundle {manifest.name!r} is not complete",
                expected=f"a graph {ROLE!r} with preprocess, and the state styled -> previous",
                found=f"graphs {sorted(manifest.graphs)}, state {dict(manifest.state)}",
                todo="Export it again with `steadyframe export`",
            )
        self._preprocess = graph.preprocess
        self._sessions = sessions
        self.settings = settings or settings_of(StylizeSettings, manifest)
        self._last: NDArray[np.uint8] | None = None  # output, of `infer`

    @property
    def device(self) -> str:
        """The device in use."""
        return self._sessions[ROLE].device

    def make_stage(self, options: SteadyOptions, *, live: bool = False) -> Stage:
        """Make the temporal stage of one stream, which also measures where the last output went."""
        return EveryFrame() if options.mode == "off" else FeedbackStage(self.propagated, options, live=live)

    def preprocess(self, frame: Frame, motion: Motion | None = None) -> tuple[Feeds, Placement]:
        """Resize the frame, and note the path back to the last output where there is one.

        Parameters
        ----------
        frame : the next one
        motion : holds the path; without one, or with a restart, the last output is forgotten

        Returns
        -------
        feeds with `frame` (1, h, w, 3) uint8, and with `flow` (h', w', 2) and `reliability` (h', w') float32 where
        there is a path, and with `crops` (N, 4) int64, x, y, width and height in pixels of `frame`, where only those
        are painted
        """
        small = np.ascontiguousarray(preprocess_image(frame.image, self._preprocess)[None])
        feeds: Feeds = {"frame": small}
        path = None if motion is None else motion.path
        if path is not None and path.flow is not None and path.reliability is not None:
            feeds |= {"flow": path.flow.vectors, "reliability": path.reliability}
        if motion is not None and motion.repaint is not None:
            feeds["crops"] = _crops_in(small, motion.repaint)
        width, height = frame.size_wh
        return feeds, Placement(frame, scale_xy=(width / small.shape[2], height / small.shape[1]))

    def infer(self, feeds: Feeds) -> Outputs:
        """Paint.

        Returns
        -------
        `styled` (h, w, 3) uint8 BGR at the network's resolution
        """
        frame = feeds["frame"]
        previous, mask = self._recall(feeds, frame.shape[1:3])
        if "crops" in feeds:
            return {"styled": self._paint_crops(frame, previous, mask, feeds["crops"])}
        styled = self._sessions.run(ROLE, {"frame": frame, "previous": previous, "mask": mask})["styled"][0]
        self._last = styled
        return {"styled": styled}

    def postprocess(self, outputs: Outputs, placement: Placement) -> Image:
        """Resize the painting to the frame's size, and mix it with the frame according to the settings."""
        styled = outputs["styled"]
        if styled.dtype != np.uint8:  # blended by the stage
            styled = cv2.convertScaleAbs(np.maximum(styled, 0))  # saturating cast: rounds, clips to 0..255
        size_wh = placement.frame.size_wh
        pixels = resize(styled, size_wh, "cubic" if size_wh[0] > styled.shape[1] else "area")
        if self.settings.keep_colors:
            pixels = _with_colors_of(placement.frame.pixels, pixels)
        if self.settings.strength < 1:
            share = self.settings.strength
            pixels = np.asarray(cv2.addWeighted(pixels, share, placement.frame.pixels, 1 - share, 0), np.uint8)
        return Image(pixels)

    def close(self) -> None:
        """Close the sessions that the task owns."""
        self._sessions.close()

    def _paint_crops(
        self, frame: NDArray[np.uint8], previous: NDArray[np.uint8], mask: NDArray[np.uint8], crops: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """Paint crops of a frame, (N, 4); gives (h, w, 3) uint8 BGR, the last output where nothing was painted.

        The network is not told to trust what it painted before in a crop: it looks wrong there.
        """
        painted = np.array(previous[0])
        nothing = np.zeros_like(mask)
        for x, y, width, height in crops.tolist():
            window = (slice(None), slice(y, y + height), slice(x, x + width))
            feeds = {"frame": frame[window], "previous": np.zeros_like(previous[window]), "mask": nothing[window]}
            feeds = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
            painted[window[1:]] = self._sessions.run(ROLE, feeds)["styled"][0]
        return painted

    def _recall(self, feeds: Feeds, size_hw: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Last output warped to this frame, (1, h, w, 3), and where to trust it, (1, h, w, 1) in 0..255."""
        height, width = size_hw
        if self._last is None or "flow" not in feeds or self._last.shape[:2] != (height, width):
            return np.zeros((1, height, width, 3), np.uint8), np.zeros((1, height, width, 1), np.uint8)
        warped = warp(self._last, Flow(feeds["flow"]))
        reliability = cv2.convertScaleAbs(feeds["reliability"], alpha=255)
        mask = cv2.resize(reliability, (width, height), interpolation=cv2.INTER_LINEAR)
        mask = cv2.bitwise_and(mask, mask, mask=warped.valid.view(np.uint8))
        return warped.pixels[None], np.asarray(mask, np.uint8)[None, ..., None]


def _crops_in(small: NDArray[np.uint8], repaint: Repaint) -> NDArray[np.int64]:
    """Scale crops to pixels of the network's frame, (1, h, w, 3), with a margin that it sees, and in few sizes."""
    height, width = small.shape[1:3]
    ratio_x, ratio_y = width / repaint.weight.shape[1], height / repaint.weight.shape[0]
    found = []
    for x, y, w, h in repaint.crops.tolist():
        left, right = _span(x * ratio_x, (x + w) * ratio_x, width)
        top, low = _span(y * ratio_y, (y + h) * ratio_y, height)
        found.append((left, top, right - left, low - top))
    return np.array(found, np.int64)


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """Grow an interval by the margin and to a whole number of steps, within a length that is a multiple of 8."""
    side = min(length, -(-int(high - low + 2 * _MARGIN) // _STEP) * _STEP)
    start = int((low + high - side) / 2) // 8 * 8
    start = max(0, min(start, length - side))
    return start, start + side


def _with_colors_of(frame: NDArray[np.uint8], painted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma of one image, chroma of another, both (H, W, 3) uint8 BGR."""
    ycrcb = cv2.cvtColor(frame, cv2.COLOR_BGR2YCrCb)
    ycrcb[..., 0] = cv2.cvtColor(painted, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR), np.uint8)


def open_stylize(manifest: Manifest, sessions: TaskSessions, options: Mapping[str, Any]) -> Stylize:
    """Open the task from plain options, as a command line has them.

    Parameters
    ----------
    manifest, sessions : of the bundle
    options : any field of `StylizeSettings`

    Raises
    ------
    UsageError
        If a value is out of range.
    """
    return Stylize(manifest, sessions, settings=settings_of(StylizeSettings, manifest, options))


descriptor = TaskDescriptor(
    name="stylize",
    open=open_stylize,
    options={
        "strength": "share of the painting in the result, 0 to 1",
        "keep_colors": "keep the frame's own colors, and take only light and shade from the painting",
    },
    steady="blend",
    # Without a motion path the network is shown nothing of what it painted before.
    forgets=lambda task, motion, feeds: stage_forgets(motion) and "flow" not in feeds,
    reference="steadyframe.models.stylize.reference:StylizeReference",
    quality_metric="steadyframe.calibration.quality:PSNR",
)
