"""The stylizer as it was trained, on the runtime's own path, for parity with what was exported.

Owns the trained network in the place of an engine, with the training side's own scaling and rounding. What it painted
is propagated along the runtime's own flow, and so the task around the network is the runtime's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...runtime.bundle.manifest import Graph, GraphFile, Manifest, Preprocess, TensorSpec
from ...runtime.engines.session import Tensors
from ...runtime.errors import UsageError
from ...runtime.frame import Frame
from ...runtime.processor import Processor
from ...runtime.tasks.sessions import TaskSessions
from ...runtime.tasks.stylize import ROLE, Stylize
from ...runtime.tasks.task import Image
from ...runtime.temporal.options import SteadyOptions
from ..checkpoint import Checkpoint
from .net import MULTIPLE, StylizeNet, StylizeOptions

PREPROCESS = Preprocess("area", short_side=480, multiple=MULTIPLE)
_CHANNELS = {"frame": 3, "previous": 3, "mask": 1}


class _TorchSession:
    """A trained stylizer as a session, (1, H, W, C) uint8 in and out; it remembers its last run."""

    device = "torch"
    inputs = tuple(TensorSpec(name, "uint8", (1, "height", "width", count)) for name, count in _CHANNELS.items())
    outputs = (TensorSpec("styled", "uint8", (1, "height", "width", 3)),)

    def __init__(self, net: StylizeNet) -> None:
        self._net = net
        self.seen: dict[str, NDArray[Any]] = {}

    @torch.no_grad()
    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run once."""
        images = [torch.from_numpy(feeds[name]).permute(0, 3, 1, 2).float() / 255 for name in _CHANNELS]
        styled = (self._net(*images) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        self.seen = {**feeds, "styled": styled}
        return {"styled": styled}

    def close(self) -> None:
        """Do nothing: memory is freed with the object."""


class StylizeReference:
    """A trained stylizer in PyTorch, in eval mode, that remembers what it painted.

    Parameters
    ----------
    checkpoint : of task stylize
    settings : the bundle's `settings`, which must be the neutral ones
    """

    # Largest absolute difference, in grey levels: rounding to 8 bits may fall to either side, and what was painted so
    # is painted on (a trained network needs 2 on takes of 4 frames).
    tolerances = {  # noqa: RUF012
        f"{ROLE}.frame": 0.0,
        f"{ROLE}.previous": 3.0,
        f"{ROLE}.mask": 0.0,
        f"{ROLE}.styled": 3.0,
        "image": 4.0,
    }
    exact = (f"{ROLE}.frame", f"{ROLE}.mask")
    result: Image

    def __init__(self, checkpoint: Checkpoint, settings: dict[str, Any]) -> None:
        if settings.get("strength", 1.0) != 1.0 or settings.get("keep_colors", 0.0):
            raise UsageError("Parity is measured on the painting itself", expected="neutral settings", found=settings)
        net = StylizeNet(StylizeOptions(**checkpoint.config["net"]))
        net.load_state_dict(checkpoint.weights)
        self._session = _TorchSession(net.eval())
        graph = Graph(
            {"fp32": GraphFile("none.onnx", "0" * 64)}, self._session.inputs, self._session.outputs, PREPROCESS
        )
        manifest = Manifest(
            name="reference", task="stylize", version="1", licence="none", graphs={ROLE: graph},
            state={"styled": "previous"},
        )  # fmt: skip
        task = Stylize(manifest, TaskSessions({ROLE: self._session}))
        self._processor = Processor(task, task.make_stage(SteadyOptions(mode="blend")))

    def stages(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Run one image, (H, W, 3) BGR, and give every stage under the name it has in the bundle."""
        (made,) = self._processor.process(Frame(pixels))
        self.result = made.output
        return {f"{ROLE}.{name}": value for name, value in self._session.seen.items()} | {"image": self.result.pixels}

    def reset(self) -> None:
        """Forget what was painted before."""
        self._processor.reset()
