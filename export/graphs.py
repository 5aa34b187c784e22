"""Which graphs each task's bundle is made of.

Owns the modules around a trained network in its graphs (color order, scaling, layout) and the parts of
the manifest that follow from them. One function a task, found by the task's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..models.checkpoint import Checkpoint
from ..models.colorize import net as colorize_net
from ..models.colorize.evaluate import COLOR_PREPROCESS, GLOBAL_PREPROCESS
from ..models.hdqn import graph as hdqn_graph
from ..models.pose import graph as pose_graph
from ..models.stylize import net as stylize_net
from ..models.stylize.reference import PREPROCESS as STYLIZE_PREPROCESS
from ..runtime.bundle.manifest import Preprocess, Skeleton
from ..runtime.errors import BundleError, UsageError
from .to_onnx import FrameToTensor, GraphSource

_Net = TypeVar("_Net", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGraphs:
    """Everything of a bundle that follows from the task and the checkpoint.

    Parameters
    ----------
    graphs : role -> module and example
    preprocess : role -> resize
    layouts : tensor name -> layout letters
    settings, skeleton, state : as in the manifest
    """

    graphs: Mapping[str, GraphSource]
    preprocess: Mapping[str, Preprocess]
    layouts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    skeleton: Skeleton | None = None
    state: Mapping[str, str] = field(default_factory=dict)


class _Luma(nn.Module):
    """(1, H, W, 3) uint8 BGR to luma, (1, 1, H, W) in [0, 1], as a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.to_tensor = FrameToTensor()
        self.register_buffer("weights", torch.tensor([0.114, 0.587, 0.299]).view(1, 3, 1, 1))

    def forward(self, frame: Tensor) -> Tensor:
        return nn.functional.conv2d(self.to_tensor(frame), self.weights)


class ColorGraph(nn.Module):
    """Color branch: frame and global features to `ab`, (1, H/2, W/2, 2) or a quarter, in CIELAB units."""

    def __init__(self, net: colorize_net.Colorizer) -> None:
        super().__init__()
        self.net, self.luma = colorize_net.fold_knobs(net), _Luma()

    def forward(self, frame: Tensor, global_features: Tensor) -> Tensor:
        """Predict a* and b*: (1, H, W, 3) uint8 BGR and (1, G) features -> (1, h, w, 2) float32 in CIELAB units."""
        return self.net.predict_ab(self.luma(frame), global_features).permute(0, 2, 3, 1)


class GlobalGraph(nn.Module):
    """Global branch: frame of 224 x 224 pixels to `global_features` (1, G)."""

    def __init__(self, net: colorize_net.Colorizer) -> None:
        super().__init__()
        self.net, self.luma = net, _Luma()

    def forward(self, frame: Tensor) -> Tensor:
        """Compute the global features: (1, 224, 224, 3) uint8 BGR -> (1, G) float32."""
        return self.net.describe(self.luma(frame))[0]


def of_colorize(checkpoint: Checkpoint) -> TaskGraphs:
    """Graphs `global` and `color` of a colorizer."""
    net = load_weights(colorize_net.build(checkpoint.config), checkpoint)
    side = colorize_net.GLOBAL_SIZE
    small = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8)
    frame = torch.randint(0, 256, (1, 192, 256, 3), dtype=torch.uint8)
    features = torch.rand(1, net.global_features)
    return TaskGraphs(
        graphs={
            "global": GraphSource(module=GlobalGraph(net), example={"frame": small}, outputs=["global_features"]),
            "color": GraphSource(
                module=ColorGraph(net), example={"frame": frame, "global_features": features}, outputs=["ab"],
                dynamic={"frame": {1: ("height", 8), 2: ("width", 8)}},
            ),
        },
        preprocess={"global": GLOBAL_PREPROCESS, "color": COLOR_PREPROCESS},
        layouts={"frame": "NHWC", "ab": "NHWC", "global_features": "NC"},
    )  # fmt: skip


def load_weights(net: _Net, checkpoint: Checkpoint) -> _Net:
    """Give a network its trained weights and set it to eval mode.

    Raises
    ------
    BundleError
        If the weights are those of another network.
    """
    try:
        net.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise BundleError(f"Weights and configuration of the checkpoint do not fit ({str(error)[:300]})") from error
    return net.eval()


class StylizeGraph(nn.Module):
    """Frame, last output warped to it and mask, all (B, H, W, C) uint8, to `styled` (B, H, W, 3) uint8 BGR."""

    def __init__(self, net: stylize_net.StylizeNet) -> None:
        super().__init__()
        self.net, self.to_tensor = stylize_net.fold(net), FrameToTensor()

    def forward(self, frame: Tensor, previous: Tensor, mask: Tensor) -> Tensor:
        """Stylize `frame` by `previous`, (B, H, W, 3) uint8 BGR each, and `mask`, (B, H, W, 1) uint8."""
        styled = self.net(self.to_tensor(frame), self.to_tensor(previous), self.to_tensor(mask))
        # A mix of sigmoids and of pixels stays within 0..1, so that adding a half and cutting off is rounding.
        # The cast comes last, because TensorRT gives 8-bit values at the border of a graph only.
        return (styled * 255 + 0.5).permute(0, 2, 3, 1).to(torch.uint8)


def of_stylize(checkpoint: Checkpoint) -> TaskGraphs:
    """Graph `stylize` of a stylizer, whose output is fed back to it."""
    net = stylize_net.StylizeNet(stylize_net.StylizeOptions(**checkpoint.config["net"]))
    module = StylizeGraph(load_weights(net, checkpoint))
    channels = {"frame": 3, "previous": 3, "mask": 1}
    example = {  # an example of one would fix the batch axis
        name: torch.randint(0, 256, (2, 480, 640, count), dtype=torch.uint8) for name, count in channels.items()
    }
    multiple = stylize_net.MULTIPLE
    dynamic = {name: {0: ("batch", 1), 1: ("height", multiple), 2: ("width", multiple)} for name in example}
    scales = {f"net.{name}": scale for name, scale in stylize_net.folding_scales(net).items()}
    return TaskGraphs(
        graphs={
            "stylize": GraphSource(
                module=module, example=example, outputs=["styled"], dynamic=dynamic, scales=scales,
            ),
        },
        preprocess={"stylize": STYLIZE_PREPROCESS},
        layouts=dict.fromkeys((*channels, "styled"), "NHWC"),
        state={"styled": "previous"},
    )  # fmt: skip


class PoseFrameGraph(nn.Module):
    """Square frames, (B, S, S, 3) uint8 BGR, to what `PoseGraph` gives."""

    def __init__(self, graph: pose_graph.PoseGraph) -> None:
        super().__init__()
        self.pose, self.to_tensor = graph, FrameToTensor()

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Detect people in (B, S, S, 3) uint8 BGR; returns what `PoseGraph` returns."""
        return self.pose(self.to_tensor(frame))


def of_pose(checkpoint: Checkpoint) -> TaskGraphs:
    """Graph `pose`, which runs on the whole image and on the crops around people."""
    size = int(checkpoint.config["size"])
    pose = pose_graph.of_checkpoint(checkpoint)
    pose.detector.fine.fold()
    graph = PoseFrameGraph(pose)
    crops = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)  # an example of one would fix the batch axis
    return TaskGraphs(
        graphs={
            "pose": GraphSource(
                module=graph, example={"frame": crops}, outputs=pose_graph.OUTPUTS,
                dynamic={"frame": {0: ("batch", 1)}},
            ),
        },
        preprocess={"pose": Preprocess("area", size_hw=(size, size))},
        layouts={"frame": "NHWC", "maps": "NCHW"},
        skeleton=pose_graph.skeleton_of(checkpoint),
    )  # fmt: skip


def of_policy(checkpoint: Checkpoint) -> TaskGraphs:
    """Graphs `meta` and `controller` of a policy; any number of observations at once."""
    world = hdqn_graph.of_checkpoint(checkpoint)
    two = torch.cat((world.example, world.example))  # an example of one would fix the batch axis
    goals = torch.eye(2, world.meta.num_choices)
    batch = {0: ("batch", 1)}
    return TaskGraphs(
        graphs={
            "meta": GraphSource(
                module=hdqn_graph.MetaGraph(world.meta), example={"observation": two}, outputs=["values"],
                dynamic={"observation": batch},
            ),
            "controller": GraphSource(
                module=hdqn_graph.ControllerGraph(world.controller), example={"observation": two, "goal": goals},
                outputs=["values"], dynamic={"observation": batch, "goal": batch},
            ),
        },
        preprocess={},
        layouts={"values": "NC", "goal": "NC", "observation": {1: "N", 2: "NC", 4: "NCHW"}[two.ndim]},
        settings=world.settings,
    )  # fmt: skip


_TASKS: dict[str, Callable[[Checkpoint], TaskGraphs]] = {
    "colorize": of_colorize,
    "policy": of_policy,
    "pose": of_pose,
    "stylize": of_stylize,
}


def task_graphs(checkpoint: Checkpoint) -> TaskGraphs:
    """Build the graphs of a checkpoint's task.

    Raises
    ------
    UsageError
        If the task cannot be exported.
    """
    if checkpoint.task not in _TASKS:
        raise UsageError(f"Networks of task {checkpoint.task!r} cannot be exported", available=_TASKS)
    return _TASKS[checkpoint.task](checkpoint)
