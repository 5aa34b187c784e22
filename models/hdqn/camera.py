"""A small world for a pan/tilt camera: keep a moving subject where the image wants it.

Owns the scene, the environment and its training. The goals are places of the image. The controller learns to bring
the subject there; the meta-controller learns which place the image wants: room in front of a subject that walks,
the center for one that stands. Ours; the paper has no such world.

`python -m steadyframe.models.hdqn.camera --out runs/hdqn/camera`
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from ...runtime.tasks.policy.scene import Goal, Scene, Track
from ..checkpoint import Checkpoint, code_commit
from ..options import parse, recorded
from .agent import Agent, AgentOptions, Attempt, Episode, Goals, controller_fields, meta_fields
from .deep import DeepOptions, DeepQ
from .memory import ReplayMemory
from .net import ObjectNet
from .schedules import GoalEpsilon

HEIGHT, WIDTH = 90, 160  # units of the view; a real view is scaled to them
STEP = 3.0  # units that the view moves by an action
MOVES = {"stay": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
FOLLOWED = ("left_shoulder", "right_shoulder")  # their middle is the subject of a real view
SCENE = Scene(
    size_hw=(HEIGHT, WIDTH),
    goals=(
        Goal("center", (72, 37, 87, 52), region=(72, 37, 87, 52)),
        Goal("left third", (45, 37, 60, 52), region=(45, 37, 60, 52)),
        Goal("right third", (99, 37, 114, 52), region=(99, 37, 114, 52)),
    ),
    actions=tuple(MOVES),
)
CENTER, LEFT_THIRD, RIGHT_THIRD = range(3)
WALKS = 0.8  # units a decision, from which a subject walks


class PanTilt(gymnasium.Env[NDArray[np.float32], int]):
    """A subject wanders over a plane; the action moves the view.

    The observation is the object vector of `SCENE`: the subject's place in the view, now and three decisions before;
    the earlier places are where they lie in the view of now, so that a walker is known in a view that moves along.
    Reward 1 when the subject comes to the place that the image wants, at most once in 10 decisions; an episode ends
    when the subject leaves the view, and is cut after 300 decisions.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's own declaration)

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1, 255, (SCENE.length,), np.float32)
        self.action_space = spaces.Discrete(len(MOVES))
        self._track = Track(SCENE)
        self._moves = np.array(list(MOVES.values()), np.float64) * STEP
        self._place = self._speed = np.zeros(2)
        self._age, self._paid, self._noise = 0, -10, 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Put the subject somewhere in the view; gives the observation, (n,) float32, and no facts."""
        super().reset(seed=seed)
        self._track.reset()
        self._place = self.np_random.uniform((10, 10), (WIDTH - 10, HEIGHT - 10))
        self._speed, self._age, self._paid = np.zeros(2), 0, -10
        self._noise = self.np_random.uniform(0, 0.3)  # people stand more or less still, and are found so
        return self._observe(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move the view; the subject goes on. Gives the observation, (n,) float32, reward, ends and no facts."""
        before = self._observe_again()
        if self.np_random.random() < 0.03:  # it makes up its mind: stand, or walk to either side
            across = self.np_random.choice((-1.0, 0.0, 1.0)) * self.np_random.uniform(1.0, 2.0)
            self._speed = np.array((across, self.np_random.normal(0, 0.3)))
        self._place = self._place + self._speed + self._noise * self.np_random.normal(0, 1, 2) - self._moves[action]
        self._track.shift(*(float(-units) for units in self._moves[action]))
        self._age += 1
        lost = not (0 <= self._place[0] < WIDTH and 0 <= self._place[1] < HEIGHT)
        after = self._observe()
        paid = bool(SCENE.reached(before, after)[wanted(self._speed[0])]) and self._age - self._paid >= 10
        if paid:
            self._paid = self._age
        return after, float(paid), lost, self._age >= 300, {}

    def _observe(self) -> NDArray[np.float32]:
        return self._track.add((float(self._place[0]), float(self._place[1])), -1.0, np.zeros(0, np.float32))

    def _observe_again(self) -> NDArray[np.float32]:
        vector = self._track.vector
        assert vector is not None, "step comes after reset"
        return vector


def wanted(across: float) -> int:
    """Name the goal for a subject's speed across the image, in units a decision: room lies in front of it."""
    if abs(across) < WALKS:
        return CENTER
    return LEFT_THIRD if across > 0 else RIGHT_THIRD


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options of one run."""

    out: str = "runs/hdqn/camera"
    seed: int = 0
    decisions: int = 200_000
    environments: int = 8
    hidden: int = 96
    lr: float = 1e-3
    gamma: float = 0.97
    meta_lr: float = 2e-4
    meta_gamma: float = 0.9  # a decision; so near to 1 that all goals look alike, a still subject is left where it is


def train(args: Args) -> dict[str, float]:
    """Train and write `<out>/camera.pt`; gives figures of the last 10,000 decisions."""
    torch.manual_seed(args.seed)
    deep = DeepOptions(gamma=args.meta_gamma, lr=args.meta_lr, target_rate=0.01)
    bounded = DeepOptions(gamma=args.gamma, lr=args.lr, target_rate=0.01, ceiling=1.0)
    goals, shape = len(SCENE.goals), (SCENE.length,)
    controller = DeepQ(ObjectNet(SCENE, num_goals=goals, num_choices=len(MOVES), hidden=args.hidden), bounded)
    meta = DeepQ(ObjectNet(SCENE, num_goals=1, num_choices=goals, hidden=args.hidden), deep)
    agent = Agent(
        controller, meta, Goals(SCENE.reached),
        (
            ReplayMemory(100_000, controller_fields(shape, np.float32, goals)),
            ReplayMemory(20_000, meta_fields(shape, np.float32, goals)),
        ),
        epsilon=GoalEpsilon(goals, floor=0.05, over=4_000),
        options=AgentOptions(
            horizon=60, all_goals=True, update_every=8, batch=128, learn_start=1_000, meta_batch=64,
            meta_update_every=2, random_goals=15_000, meta_anneal=15_000, meta_floor=0.05, time_discount=True,
        ),
        rng=np.random.default_rng(args.seed),
    )  # fmt: skip
    worlds = [PanTilt() for _ in range(args.environments)]
    for index, world in enumerate(worlds):
        world.reset(seed=args.seed * 100 + index)
    attempts: deque[tuple[int, bool]] = deque()
    episodes: deque[tuple[int, float, int]] = deque()
    for event in agent.run(worlds, args.decisions):
        if isinstance(event, Attempt):
            attempts.append((event.decision, event.reached))
        elif isinstance(event, Episode):
            episodes.append((event.decision, event.score, event.decisions))
    late = args.decisions - 10_000
    found = {
        "reached": float(np.mean([reached for decision, reached in attempts if decision > late])),
        "paid_per_100": 100 * float(
            sum(score for decision, score, _ in episodes if decision > late)
            / max(1, sum(length for decision, _, length in episodes if decision > late))
        ),
        "episode": float(np.mean([length for decision, _, length in episodes if decision > late])),
    }  # fmt: skip
    from .graph import weights_of  # which needs this file's scene

    config = {"world": "camera", "args": recorded(args)}
    weights = weights_of(controller.net, meta.net)
    Checkpoint("policy", config, weights, step=agent.decisions, metrics=found, commit=code_commit()).save(
        Path(args.out) / "camera.pt"
    )
    return found


def _main() -> None:
    torch.set_num_threads(1)
    found = train(parse(Args, program="python -m steadyframe.models.hdqn.camera", choices={}))
    print(
        f"goals reached {100 * found['reached']:.0f} %, rewards in 100 decisions {found['paid_per_100']:.2f}, "
        f"episodes of {found['episode']:.0f} decisions (at most 300)"
    )


if __name__ == "__main__":
    _main()
