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
from ..image import preprocess_image
from ..motion.flow import FlowOptions, positions
from ..motion.warp import inside
from ..temporal.feedback import FeedbackStage
from ..temporal.forgetting import stage_forgets
from ..temporal.image_stack import ImageStack
from ..temporal.motion_path import MotionPath
from ..temporal.options import PropagatedOutput, SteadyOptions
from ..temporal.repaint import Repaint
from ..temporal.repainting import RepaintStage
from ..temporal.stage import EveryFrame, Motion, Outputs, Stage
from .sessions import TaskSessions
from .settings import settings_of
from .task import Feeds, Image, Placement, TaskDescriptor
from .tiles import lay_tile, tile_windows

ROLE = "stylize"
MULTIPLE = 8  # pixels; of the sides of what the network takes


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
        self._preprocess = self._usual = graph.preprocess
        self._batched = all(isinstance(spec.axes[0], str) for spec in graph.inputs)
        self._sessions = sessions
        self.settings = settings or settings_of(StylizeSettings, manifest)
        self._images: ImageStack | None = None  # what is shown is made of them; of `infer`

    @property
    def device(self) -> str:
        """The device in use."""
        return self._sessions[ROLE].device

    def make_stage(self, options: SteadyOptions, *, live: bool = False) -> Stage:
        """Make the temporal stage of one stream, which also measures where the last output went."""
        if options.mode == "off":
            return EveryFrame()
        # Of a live stream the paint would come a frame late, and where it belonged things have moved on.
        if live or options.mode == "blend" or options.repaint is None or (options.fade_frames or 1) > 1:
            return FeedbackStage(self.propagated, options)
        return RepaintStage(self.propagated, options)

    def shrink(self, share: float) -> bool:
        """Make the network's frame smaller; returns whether that changed anything."""
        before, self._preprocess = self._preprocess, self._usual.shrunk(share)
        return self._preprocess != before

    def preprocess(self, frame: Frame, motion: Motion | None = None) -> tuple[Feeds, Placement]:
        """Resize the frame, and note the path back to the last output where there is one.

        Parameters
        ----------
        frame : the next one
        motion : holds the path; without one, or with a restart, the last output is forgotten

        Returns
        -------
        feeds with `frame` (1, h, w, 3) uint8; with `path`, a `MotionPath`, where one leads back; and with `repaint`,
        a `Repaint`, where only parts are painted
        """
        small = np.ascontiguousarray(preprocess_image(frame.image, self._preprocess)[None])
        feeds: Feeds = {"frame": small}
        if motion is not None and motion.path is not None and motion.path.flow is not None:
            feeds["path"] = motion.path
        if motion is not None and motion.repaint is not None:
            feeds["repaint"] = motion.repaint
        width, height = frame.size_wh
        return feeds, Placement(frame, scale_xy=(width / small.shape[2], height / small.shape[1]))

    def infer(self, feeds: Feeds) -> Outputs:
        """Paint.

        Returns
        -------
        `styled` (h, w, 3) uint8 BGR at the network's resolution
        """
        frame = feeds["frame"]
        if "repaint" in feeds and self._images is not None:
            return {"styled": self._repaint(frame, feeds["path"], feeds["repaint"])}
        previous, mask = self._recall(frame.shape[1:3], feeds.get("path"))
        styled = self._sessions.run(ROLE, {"frame": frame, "previous": previous, "mask": mask})["styled"][0]
        self._images = ImageStack(styled)
        return {"styled": styled}

    def postprocess(self, outputs: Outputs, placement: Placement) -> Image:
        """Resize the painting to the frame's size, and mix it with the frame according to the settings."""
        styled = outputs["styled"]
        if styled.dtype != np.uint8:  # blended by the stage
            styled = cv2.convertScaleAbs(np.maximum(styled, 0))  # saturating cast: rounds, clips to 0..255
        image = Image(styled, placement.frame.size_wh)
        if not self.settings.keep_colors and self.settings.strength == 1:
            return image
        pixels = image.pixels
        if self.settings.keep_colors:
            pixels = _with_colors_of(placement.frame.pixels, pixels)
        if self.settings.strength < 1:
            share = self.settings.strength
            pixels = np.asarray(cv2.addWeighted(pixels, share, placement.frame.pixels, 1 - share, 0), np.uint8)
        return Image(pixels)

    def close(self) -> None:
        """Close the sessions that the task owns."""
        self._sessions.close()

    def _repaint(self, frame: NDArray[np.uint8], path: MotionPath, repaint: Repaint) -> NDArray[np.uint8]:
        """Show what was painted before, (h, w, 3) uint8 BGR, and new paint where that looks wrong."""
        assert self._images is not None
        before, painted = self._images.read(path), self._paint_tiles(frame, repaint)
        height, width = painted.shape[:2]
        weight = cv2.resize(repaint.weight, (width, height), interpolation=cv2.INTER_LINEAR)
        shown = np.asarray(cv2.blendLinear(before, painted, 1 - weight, weight), np.uint8)
        if repaint.number:
            self._images.add(shown)
        else:
            self._images = ImageStack(shown)
        return shown

    def _paint_tiles(self, frame: NDArray[np.uint8], repaint: Repaint) -> NDArray[np.uint8]:
        """Paint tiles of a frame, (1, h, w, 3), in one run; gives (h, w, 3) uint8 BGR, black where none is.

        The network is not told what it painted there before: that looks wrong now. An engine that is made for one
        size, as those of a GPU are, paints the whole frame.
        """
        if not getattr(self._sessions[ROLE], "any_size", False):
            return np.asarray(self._paint_fresh(frame)[0], np.uint8)
        windows, margin = tile_windows(repaint, frame.shape[1:3], MULTIPLE)
        styled = self._paint_fresh(np.stack([frame[0][window] for window in windows]))
        painted: NDArray[np.uint8] = np.zeros_like(frame[0])
        for window, tile in zip(windows, styled, strict=True):
            lay_tile(painted, tile, window, margin)
        return painted

    def _paint_fresh(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Paint images, (B, h, w, 3) uint8 BGR, as if nothing had been painted before; in one run where it can be."""
        if len(frames) > 1 and not self._batched:
            return np.concatenate([self._paint_fresh(frames[i : i + 1]) for i in range(len(frames))])
        feeds = {"frame": frames, "previous": np.zeros_like(frames), "mask": np.zeros_like(frames[..., :1])}
        return np.asarray(self._sessions.run(ROLE, feeds)["styled"], np.uint8)

    def _recall(
        self, size_hw: tuple[int, ...], path: MotionPath | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # fmt: skip
        """Propagate what was shown to this frame, (1, h, w, 3), and say where to trust it, (1, h, w, 1) in 0..255."""
        height, width = size_hw
        images = self._images
        leads = path is not None and path.flow is not None and path.reliability is not None
        if images is None or images.size_hw != size_hw or not leads:
            return np.zeros((1, height, width, 3), np.uint8), np.zeros((1, height, width, 1), np.uint8)
        assert path is not None and path.flow is not None and path.reliability is not None
        reliability = cv2.convertScaleAbs(path.reliability, alpha=255)
        reliability[~inside(positions(path.flow), path.flow.size_wh)] = 0
        mask = cv2.resize(reliability, (width, height), interpolation=cv2.INTER_LINEAR)
        # From frame to frame as in training; over several frames cubic weights, which blur less.
        return images.read(path, cubic=path.steps > 1)[None], np.asarray(mask, np.uint8)[None, ..., None]


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
    forgets=lambda task, motion, feeds: stage_forgets(motion) and "path" not in feeds,
    reference="steadyframe.models.stylize.reference:StylizeReference",
    quality_metric="steadyframe.calibration.quality:PSNR",
)
