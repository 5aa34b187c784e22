"""A custom network: any graph from a frame to an image or to named values.

Owns the bundle contract of task `custom`: one graph `net`, whose input is `frame`, (1, H, W, 3) uint8 BGR. An output
named `image`, (1, h, w, 3) uint8 BGR, is the result; without one, the result is every output under its name. An only
output named `segmentation`, (1, C, h, w) scores, or `depth`, (1, 1, h, w), is drawn and may be steadied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Manifest
from ..errors import BundleError, UsageError
from ..frame import Frame
from ..image import preprocess_image
from ..temporal.dense import make_dense_stage
from ..temporal.forgetting import stage_forgets
from ..temporal.options import PropagatedOutput, SteadyOptions
from ..temporal.stage import EveryFrame, Motion, Outputs, Stage
from .dense_drawing import Palette, draw_depth
from .sessions import TaskSessions
from .task import Feeds, Image, Placement, TaskDescriptor

ROLE = "net"
IMAGE, SEGMENTATION, DEPTH = "image", "segmentation", "depth"
_FOLLOW = 0.05  # share by which the range of a depth map follows the frame's
_MOST_IN_JSON = 1000  # numbers of an output that a JSON line holds; for larger ones it holds the shape


@dataclass(frozen=True, slots=True)
class NamedArrays:
    """The result of a network that makes no image.

    Parameters
    ----------
    values : output -> array, as the network gave it
    frame : that it was made from
    """

    values: Mapping[str, NDArray[Any]]
    frame: Frame

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The frame itself, (H, W, 3) uint8 BGR, for sinks that show images."""
        return self.frame.pixels

    def as_json(self) -> dict[str, Any]:
        """Give the fields of a JSON line."""
        return {
            "values": {
                name: value.tolist() if value.size <= _MOST_IN_JSON else {"shape": list(value.shape)}
                for name, value in self.values.items()
            }
        }


@dataclass(frozen=True, slots=True)
class DrawnArrays(NamedArrays):
    """The result of a network that gives a class or a depth for every pixel.

    Parameters
    ----------
    drawn : makes the image to show, (H, W, 3) uint8 BGR, when somebody wants it
    classes : names of the labels in `values["segmentation"]`, (h, w); empty for depth
    """

    drawn: Callable[[], NDArray[np.uint8]]
    classes: tuple[str, ...] = ()

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The frame with the classes or depths drawn on it, (H, W, 3) uint8 BGR."""
        return self.drawn()

    def as_json(self) -> dict[str, Any]:
        """Give the fields of a JSON line; of classes the share of the image that each takes."""
        if not self.classes:
            depth = self.values[DEPTH]
            return {"depth": {"min": float(depth.min()), "max": float(depth.max()), "shape": list(depth.shape)}}
        labels = self.values[SEGMENTATION]
        counts = np.bincount(labels.ravel(), minlength=len(self.classes)) / labels.size
        return {"classes": {name: round(float(n), 4) for name, n in zip(self.classes, counts, strict=True) if n}}


class Custom:
    """Runs one network on every frame.

    Parameters
    ----------
    manifest : of a bundle of task `custom`
    sessions : role -> session, shared with other streams if need be
    """

    name = "custom"

    def __init__(self, manifest: Manifest, sessions: TaskSessions) -> None:
        graph = manifest.graphs.get(ROLE)
        if graph is None or graph.preprocess is None or [spec.name for spec in graph.inputs] != ["frame"]:
            raise BundleError(
                f"Bundle {manifest.name!r} is not complete",
                expected=f"one graph {ROLE!r} with preprocess, whose input is `frame`",
                found=f"graphs {sorted(manifest.graphs)}",
                todo="Export it again with `steadyframe.export`",
            )
        self._preprocess = graph.preprocess
        self._sessions = sessions
        names = [spec.name for spec in graph.outputs]
        self._shown = next((name for name in (IMAGE, SEGMENTATION, DEPTH) if names == [name]), "")
        if IMAGE in names:
            self._shown = IMAGE
        self.propagated = PropagatedOutput(name=self._shown) if self._shown else None
        self._palette: Palette | None = None
        if self._shown == SEGMENTATION:
            self._palette = _palette_of(manifest, graph.outputs[0].axes)
        given = manifest.settings.get("depth_range")
        self._range: tuple[float, float] | None = (float(given[0]), float(given[1])) if given else None
        self._follows = given is None

    @property
    def device(self) -> str:
        """The device in use."""
        return self._sessions.device

    @property
    def follows_depth(self) -> bool:
        """Whether a depth map is drawn in a range that depends on all earlier frames."""
        return self._shown == DEPTH and self._follows

    def make_stage(self, options: SteadyOptions, *, live: bool = False) -> Stage:
        """Make the temporal stage of one stream, which propagates the image.

        Raises
        ------
        UsageError
            If the network makes no image, and the mode is not `off`.
        """
        if options.mode == "off":
            return EveryFrame()
        if self.propagated is None:
            raise UsageError(
                "This network gives no image that could be steadied",
                expected=f"an output named {IMAGE!r}, {SEGMENTATION!r} or {DEPTH!r}",
                todo="Run it with --steady off",
            )  # fmt: skip
        return make_dense_stage(self.propagated, options, live=live)

    def preprocess(self, frame: Frame, motion: Motion | None = None) -> tuple[Feeds, Placement]:
        """Resize the frame, (1, h, w, 3) uint8 BGR."""
        del motion  # no frame depends on an earlier one
        small = np.ascontiguousarray(preprocess_image(frame.image, self._preprocess)[None])
        width, height = frame.size_wh
        return {"frame": small}, Placement(frame, scale_xy=(width / small.shape[2], height / small.shape[1]))

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the network; what a stage may propagate has no batch axis, (h, w, C).

        Classes become an image of their colors, since colors can be blended and labels cannot.
        """
        outputs = self._sessions.run(ROLE, {"frame": feeds["frame"]})
        if self._shown == IMAGE:
            return {IMAGE: outputs[IMAGE][0]}
        if self._palette is not None:
            return {SEGMENTATION: self._palette.image(_labels(outputs[SEGMENTATION]))}
        if self._shown == DEPTH:
            depth = outputs[DEPTH].reshape(outputs[DEPTH].shape[-2:])
            return {DEPTH: np.ascontiguousarray(depth[..., None], np.float32)}
        return outputs

    def postprocess(self, outputs: Outputs, placement: Placement) -> Image | NamedArrays:
        """Bring the image to the frame's own size, draw classes or depths, or name the values."""
        frame = placement.frame
        if self._shown == DEPTH:
            return self._depth(np.asarray(outputs[DEPTH], np.float32)[..., 0], frame)
        if not self._shown:
            return NamedArrays(outputs, frame)
        image = outputs[self._shown]
        if image.dtype != np.uint8:  # blended by a stage
            image = np.clip(image + 0.5, 0, 255).astype(np.uint8)
        if self._palette is not None:
            palette, labels = self._palette, self._palette.labels(image)
            return DrawnArrays({SEGMENTATION: labels}, frame, lambda: palette.draw(frame, image), palette.classes)
        return Image(image, frame.size_wh)

    def _depth(self, depth: NDArray[np.float32], frame: Frame) -> DrawnArrays:
        """Draw a depth map, (h, w), in a range that follows the frames slowly: colors that jump are no depth."""
        if self._range is None or self._follows:
            found = np.nanpercentile(depth[::4, ::4], (2, 98))
            low, high = (float(value) for value in found)
            if self._range is not None:
                low = self._range[0] + _FOLLOW * (low - self._range[0])
                high = self._range[1] + _FOLLOW * (high - self._range[1])
            self._range = (low, high)
        low, high = self._range
        return DrawnArrays({DEPTH: depth}, frame, lambda: draw_depth(frame, depth, low, high))

    def close(self) -> None:
        """Close the session if the task owns it."""
        self._sessions.close()


def _labels(scores: NDArray[Any]) -> NDArray[np.integer]:
    """Find the class of every pixel, (h, w), from scores (1, C, h, w), or from labels (1, h, w)."""
    first = scores[0]
    found: NDArray[np.integer] = first.argmax(0) if first.ndim == 3 else np.maximum(first.astype(np.int64), 0)
    return found


def _palette_of(manifest: Manifest, axes: tuple[int | str, ...]) -> Palette:
    """Read classes and palette from a bundle's settings; without names, classes have numbers.

    Raises
    ------
    BundleError
        If the settings do not fit the network's output.
    """
    names = [str(name) for name in manifest.settings.get("classes", ())]
    count = axes[1] if len(axes) == 4 and isinstance(axes[1], int) else None
    if (not names and count is None) or (names and count is not None and len(names) != count):
        raise BundleError(
            f"The classes of {manifest.name!r} do not fit its output {SEGMENTATION!r}",
            expected=f"{count or 'one or more'} names in the settings", found=f"{len(names)} names",
            todo="Export it again with classes=[…]",
        )  # fmt: skip
    return Palette(names or [str(i) for i in range(int(count or 0))], manifest.settings.get("palette", ()))


def open_custom(manifest: Manifest, sessions: TaskSessions, options: Mapping[str, Any]) -> Custom:
    """Open the task; it has no options."""
    del options
    return Custom(manifest, sessions)


descriptor = TaskDescriptor(
    name="custom",
    open=open_custom,
    steady="off",
    concurrent=True,
    forgets=lambda task, motion, feeds: stage_forgets(motion) and not task.follows_depth,
    quality_metric="steadyframe.calibration.quality:SIGNAL",
)
