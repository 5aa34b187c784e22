"""The pose network as it was trained, on the runtime's own path, for parity with what was exported.

Owns `TorchSession`: the trained network, with the spatial model's exact convolutions, in the place of an engine.
Cropping frames is one implementation for training and run (`runtime.image.crop_roi`), and so the task
around the network is the runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...runtime.bundle.manifest import Graph, GraphFile, Manifest, Preprocess, TensorSpec
from ...runtime.engines.session import Tensors
from ...runtime.frame import Frame
from ...runtime.processor import Processor
from ...runtime.tasks.pose.people import People
from ...runtime.tasks.pose.task import ROLE, Pose
from ...runtime.tasks.sessions import TaskSessions
from ..checkpoint import Checkpoint
from .graph import OUTPUTS, PoseGraph, of_checkpoint, skeleton_of

SURE = 0.5  # score of a joint from which parity compares its place


class TorchSession:
    """A trained network as a session, (B, S, S, 3) uint8 BGR in; it remembers its last run."""

    device = "torch"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def __init__(self, graph: PoseGraph) -> None:
        self._graph = graph
        graph.as_trained = True
        self.seen: dict[str, NDArray[Any]] = {}

    @torch.no_grad()
    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run once on named arrays, in the shapes of the graph."""
        image = torch.from_numpy(feeds["frame"]).permute(0, 3, 1, 2).float() / 255
        found = dict(zip(OUTPUTS, (tensor.numpy() for tensor in self._graph(image)), strict=True))
        self.seen = {**feeds, **found}
        return found

    def close(self) -> None:
        """Do nothing: memory is freed with the object."""


class PoseReference:
    """A trained pose network in PyTorch, in eval mode, behind the runtime's task.

    Parameters
    ----------
    checkpoint : of task pose
    settings : the bundle's `settings`
    """

    # Largest absolute difference; pixels that enter a network must be the very same. Of a joint that nobody can see,
    # two peaks far apart are equal but for the last digit, so joints are compared where the score is at least 0.5.
    tolerances: Mapping[str, float | None] = {
        f"{ROLE}.frame": 0.0,
        f"{ROLE}.maps": 2e-2,
        f"{ROLE}.keypoints": None,
        f"{ROLE}.sure_joints": 0.1,  # pixels of what the network sees
        f"{ROLE}.sure_scores": 1e-3,
        f"{ROLE}.presence": 1e-3,
        f"{ROLE}.people": 1e-2,
        "people": None,
    }
    # None: the crop that the network sees depends on where a look at the whole image found somebody.
    exact = ()
    selected = {  # noqa: RUF012
        f"{ROLE}.sure_joints": (f"{ROLE}.keypoints", lambda expected, one: one[expected[..., 2] >= SURE][:, :2]),
        f"{ROLE}.sure_scores": (f"{ROLE}.keypoints", lambda expected, one: one[expected[..., 2] >= SURE][:, 2]),
    }
    result: People

    def __init__(self, checkpoint: Checkpoint, settings: dict[str, Any]) -> None:
        size = int(checkpoint.config["size"])
        spec = TensorSpec("frame", "uint8", ("batch", size, size, 3), "NHWC")
        graph = Graph(
            {"fp32": GraphFile("none.onnx", "0" * 64)}, (spec,), (spec,), Preprocess("area", size_hw=(size, size))
        )
        manifest = Manifest(
            name="reference", task="pose", version="1", licence="none", graphs={ROLE: graph},
            skeleton=skeleton_of(checkpoint), settings=settings,
        )  # fmt: skip
        self._session = TorchSession(of_checkpoint(checkpoint))
        self._processor = Processor(Pose(manifest, TaskSessions({ROLE: self._session})))

    def stages(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Run one image, (H, W, 3) BGR, and give every stage under the name it has in the bundle."""
        (made,) = self._processor.process(Frame(pixels, independent=True))
        self.result = people = made.output
        return {f"{ROLE}.{name}": value for name, value in self._session.seen.items()} | {"people": people.as_array()}

    def reset(self) -> None:
        """Forget the people of earlier images."""
        self._processor.reset()
