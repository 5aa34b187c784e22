"""A custom network: any graph from a frame to an image or to named values.

Owns the bundle contract of task `custom`: one graph `net`, whose input is `frame`, (1, H, W, 3) uint8 BGR. An output
named `image`, (1, h, w, 3) uint8 BGR, is the result; without one, the result is every output under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Manifest
from ..errors import BundleError, UsageError
from ..frame import Frame
from ..image import preprocess_image, resize
from ..temporal.dense import make_dense_stage
from ..temporal.forgetting import stage_forgets
from ..temporal.options import PropagatedOutput, SteadyOptions
from ..temporal.stage import EveryFrame, Motion, Outputs, Stage
from .sessions import TaskSessions
from .task import Feeds, Image, Placement, TaskDescriptor

ROLE = "net"
IMAGE = "image"
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
        makes_image = any(spec.name == IMAGE for spec in graph.outputs)
        self.propagated = PropagatedOutput(name=IMAGE) if makes_image else None

    @property
    def device(self) -> str:
        """The device in use."""
        return self._sessions.device

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
                "This network gives no image that could be steadied", expected=f"an output named {IMAGE!r}",
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
        """Run the network; an image loses its batch axis, so that it can be propagated."""
        outputs = self._sessions.run(ROLE, {"frame": feeds["frame"]})
        return outputs if self.propagated is None else {IMAGE: outputs[IMAGE][0]}

    def postprocess(self, outputs: Outputs, placement: Placement) -> Image | NamedArrays:
        """Bring the image to the frame's own size, or name the values."""
        if self.propagated is None:
            return NamedArrays(outputs, placement.frame)
        image = outputs[IMAGE]
        if image.dtype != np.uint8:  # blended by a stage
            image = np.clip(image + 0.5, 0, 255).astype(np.uint8)
        size_wh = placement.frame.size_wh
        return Image(resize(image, size_wh, "cubic" if size_wh[0] > image.shape[1] else "area"))

    def close(self) -> None:
        """Close the session if the task owns it."""
        self._sessions.close()


def open_custom(manifest: Manifest, sessions: TaskSessions, options: Mapping[str, Any]) -> Custom:
    """Open the task; it has no options."""
    del options
    return Custom(manifest, sessions)


descriptor = TaskDescriptor(
    name="custom",
    open=open_custom,
    steady="off",
    forgets=lambda task, motion, feeds: stage_forgets(motion),
    quality_metric="steadyframe.calibration.quality:SIGNAL",
)
