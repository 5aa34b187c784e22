"""The modules that are exported: the meta-controller, and the controller with its goal as an input.

Owns what stands around the trained networks in their graphs, and the networks of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import BundleError
from ..checkpoint import Checkpoint
from .camera import FOLLOWED, MOVES, STEP
from .camera import SCENE as CAMERA_SCENE
from .mdp import NUM_STATES
from .montezuma import ACTIONS, COLORS, SCENE
from .net import ObjectNet, PaperNet, TableNet
from .screens import SIZES

EPSILON = 0.1  # share of random choices that a game is played with, as in the paper
META_HIDDEN = 64  # units of a hidden layer of Montezuma's meta-controller


@dataclass(frozen=True, slots=True)
class World:
    """What a bundle says of the world that its policy acts in.

    Parameters
    ----------
    controller, meta : networks of the world, untrained
    example : one observation with its batch axis
    settings : for the manifest
    """

    controller: nn.Module
    meta: nn.Module
    example: Tensor
    settings: dict[str, Any]


class MetaGraph(nn.Module):
    """Observation (N, ...) to the value of every goal, (N, G)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, observation: Tensor) -> Tensor:
        """Compute the value of every goal, (N, G), for N observations."""
        return self.net(observation)[:, 0]


class ControllerGraph(nn.Module):
    """Observation (N, ...) and goal, (N, G) with a single 1 a row, to the value of every action, (N, A)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Compute the value of every action, (N, A), for N observations and goals (N, G).

        A network with one head reads its goal from the observation.
        """
        values = self.net(observation)  # (N, G or 1, A)
        return (
            (values * goal.unsqueeze(2)).sum(1) if values.shape[1] > 1 else values[:, 0] * goal.sum(1, keepdim=True)
        )


def _mdp(config: Mapping[str, Any]) -> World:
    """Make tables of the discrete process: an observation is the number of the state."""
    return World(
        TableNet(NUM_STATES, num_goals=NUM_STATES, num_choices=2),
        TableNet(NUM_STATES, num_goals=1, num_choices=NUM_STATES),
        torch.zeros(1, dtype=torch.int64),
        {"observation": "state", "actions": ["left", "right"]},
    )


def _montezuma(config: Mapping[str, Any]) -> World:
    """Make networks over object vectors, which the runtime makes from pixels."""
    goals, hidden = len(SCENE.goals), int(config["args"]["hidden"])
    return World(
        ObjectNet(SCENE, num_goals=goals, num_choices=len(ACTIONS), hidden=hidden),
        ObjectNet(SCENE, num_goals=1, num_choices=goals, hidden=META_HIDDEN),
        torch.rand(1, SCENE.length) * 100,
        {"observation": "objects", "scene": SCENE.to_settings(), "colors": COLORS.to_settings(), "epsilon": EPSILON},
    )


def _montezuma_pixels(config: Mapping[str, Any]) -> World:
    """Make the paper's networks over four luma frames and a goal mask."""
    size = SIZES[config["args"].get("network", "paper")]
    return World(
        PaperNet(num_choices=len(ACTIONS), size=size),
        PaperNet(num_choices=len(SCENE.goals), size=size),
        torch.randint(0, 256, (1, 5, size, size), dtype=torch.uint8),
        {"observation": "planes", "scene": SCENE.to_settings(), "colors": COLORS.to_settings(), "epsilon": EPSILON},
    )


def _camera(config: Mapping[str, Any]) -> World:
    """Make networks over the place of a subject in the view."""
    goals, hidden = len(CAMERA_SCENE.goals), int(config["args"]["hidden"])
    return World(
        ObjectNet(CAMERA_SCENE, num_goals=goals, num_choices=len(MOVES), hidden=hidden),
        ObjectNet(CAMERA_SCENE, num_goals=1, num_choices=goals, hidden=hidden),
        torch.rand(1, CAMERA_SCENE.length) * 80,
        {
            "observation": "subject",
            "scene": CAMERA_SCENE.to_settings(),
            "finder": "pose",
            "joints": list(FOLLOWED),
            "moves": {name: [STEP * x, STEP * y] for name, (x, y) in MOVES.items()},
        },
    )


WORLDS: dict[str, Callable[[Mapping[str, Any]], World]] = {
    "mdp": _mdp, "montezuma": _montezuma, "montezuma-pixels": _montezuma_pixels,
    "camera": _camera,
}  # fmt: skip


def of_checkpoint(checkpoint: Checkpoint) -> World:
    """Build the world of a checkpoint and give its networks their trained weights.

    Raises
    ------
    BundleError
        If the checkpoint names no known world, or its weights are those of other networks.
    """
    name = checkpoint.config.get("world")
    if name not in WORLDS:
        raise BundleError("The checkpoint names no known world", found=name, available=WORLDS)
    world = WORLDS[name](checkpoint.config)
    try:
        load_weights(world.controller, world.meta, checkpoint)
    except (RuntimeError, KeyError) as error:
        raise BundleError(f"Weights and configuration of the checkpoint do not fit ({str(error)[:300]})") from error
    world.controller.eval()
    world.meta.eval()
    return world


def weights_of(controller: nn.Module, meta: nn.Module) -> dict[str, Tensor]:
    """Collect the weights of both networks, tensors of any shape, each under one name."""
    pairs = (("controller", controller), ("meta", meta))
    return {f"{role}.{name}": value for role, net in pairs for name, value in net.state_dict().items()}


def load_weights(controller: nn.Module, meta: nn.Module, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's weights into both networks."""
    for role, net in (("controller.", controller), ("meta.", meta)):
        part = {name[len(role) :]: value for name, value in checkpoint.weights.items() if name.startswith(role)}
        net.load_state_dict(part)
