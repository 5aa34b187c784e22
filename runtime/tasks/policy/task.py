"""Task `policy`: goals and actions from frames, one decision a frame.

Owns the task, its result `Action`, and the hierarchical loop at run time: objects from pixels, the critic, a new goal
when the old one is reached, given up or lost. Everything that is remembered lies in `infer`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...errors import BundleError, UsageError
from ...frame import Frame
from ...temporal.stage import Motion, Outputs
from ..sessions import TaskSessions
from ..task import Feeds, Placement
from .detect import ColorDetector, Colors, Sighting
from .every_frame import EveryFramePolicy
from .scene import Scene

_JUMP_PX = 24.0  # an agent that is farther away one decision later has been put somewhere else: a life was lost
_GREEN, _RED, _WHITE = (80, 220, 80), (60, 60, 240), (255, 255, 255)
_DRAWN_HEIGHT = 630  # pixels; small game frames are enlarged by a whole factor to be read

Critic = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """Options of the task, validated.

    Parameters
    ----------
    epsilon : share of random choices; the paper plays with 0.1
    seed : of the random choices
    horizon : decisions after which an unreached goal is given up
    episodes : games after which a world that is played (``ale://…``) shall end; 0 leaves it to the world
    """

    epsilon: float = 0.0
    seed: int = 0
    horizon: int = 300
    episodes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 1:
            raise UsageError("epsilon is a share of choices", expected="0 to 1", found=self.epsilon)
        if self.horizon < 1 or self.episodes < 0 or self.seed < 0:
            found = f"horizon {self.horizon}, episodes {self.episodes}, seed {self.seed}"
            raise UsageError(
                "An option of the policy is out of range", expected="horizon from 1, others from 0", found=found
            )


@dataclass(frozen=True, slots=True)
class Action:
    """What to do on a frame, and what for.

    Parameters
    ----------
    action, action_name : index and name of the action
    goal, goal_name : index and name of the goal that it serves
    goal_box : left, top, right, bottom of the goal in pixels of the frame
    agent_xy : center of the agent in pixels; None while it is out of sight
    reached : goal that the last action reached, or None
    values : (A,) value of each action for the goal
    scene : of the bundle
    frame : that it was decided on
    episodes : games that a world shall play; 0 leaves it to the world
    """

    action: int
    action_name: str
    goal: int
    goal_name: str
    goal_box: tuple[float, float, float, float]
    agent_xy: tuple[float, float] | None
    reached: int | None
    values: NDArray[np.float32]
    scene: Scene
    frame: Frame
    episodes: int = 0

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The goal as a mask, (H, W) uint8, 1 inside."""
        return self.scene.mask(self.goal)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The frame, enlarged, with goal, agent and action drawn in, (H, W, 3) uint8 BGR."""
        source = self.frame.pixels
        factor = max(1, _DRAWN_HEIGHT // source.shape[0])
        drawn = np.repeat(np.repeat(source, factor, 0), factor, 1)
        left, top, right, bottom = (round(edge * factor) for edge in self.goal_box)
        cv2.rectangle(drawn, (left - 2, top - 2), (right + factor + 1, bottom + factor + 1), _GREEN, 2)
        if self.agent_xy is not None:
            x, y = (round(value * factor) for value in self.agent_xy)
            cv2.circle(drawn, (x, y), 4 * factor, _RED, 2, cv2.LINE_AA)
        text = f"{self.goal_name}: {self.action_name}"
        cv2.putText(drawn, text, (6, drawn.shape[0] - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _WHITE, 1, cv2.LINE_AA)
        return drawn

    def as_json(self) -> dict[str, Any]:
        """Give the fields of a JSON line; in a world that is played also its episode, step and score."""
        played = getattr(self.frame, "game", None)
        return {
            **({} if played is None else played.as_json()),
            "goal": self.goal_name,
            "action": self.action_name,
            "reached": None if self.reached is None else self.scene.goals[self.reached].name,
            "agent": None if self.agent_xy is None else [round(value, 1) for value in self.agent_xy],
        }


class PolicyTask(EveryFramePolicy):
    """Decides on every frame.

    Parameters
    ----------
    manifest : of a bundle of task `policy` whose observation is `objects`
    sessions : of its two graphs
    options : validated
    critic : (before, after) -> (G,) bool, goals reached between two object vectors; None is the scene's own
    """

    def __init__(
        self, manifest: Manifest, sessions: TaskSessions, options: PolicyOptions, *, critic: Critic | None = None
    ) -> None:
        kind = manifest.settings.get("observation")
        if kind != "objects":
            raise BundleError(
                f"The policy of bundle {manifest.name!r} does not look at frames",
                expected="observation 'objects' or 'subject'",
                found=repr(kind),
                todo="Call it with its own observations: steadyframe.runtime.tasks.policy.policy.Policy",
            )
        super().__init__(manifest, sessions, epsilon=options.epsilon, seed=options.seed)
        self._detector = ColorDetector(self._scene, Colors.from_settings(manifest.settings.get("colors", {})))
        self._options = options
        self._critic: Critic = self._scene.reached if critic is None else critic

    def preprocess(self, frame: Frame, motion: Motion | None = None) -> tuple[Feeds, Placement]:
        """Find the objects in the pixels."""
        seen = self._detector(frame.pixels)
        xy = (np.nan, np.nan) if seen.agent_xy is None else seen.agent_xy
        restart = motion is None or motion.restart
        feeds = {"agent_xy": np.array(xy), "hazard_x": np.array(seen.hazard_x), "present": seen.present}
        return feeds | {"restart": np.array(restart)}, Placement(frame)

    def infer(self, feeds: Feeds) -> Outputs:
        """Judge the last action, choose a goal if there is none, choose an action."""
        if feeds["restart"]:
            self._forget()
        xy = feeds["agent_xy"]
        seen = Sighting(
            None if np.isnan(xy[0]) else (float(xy[0]), float(xy[1])), float(feeds["hazard_x"]), feeds["present"]
        )
        before = self._track.vector
        vector = self._observe(seen)
        reached = self._judge(before, vector)
        if self._goal < 0:
            self._goal, self._age = self._policy.choose_goal(vector, self._scene.allowed(vector)), 0
        self._age += 1
        values = self._policy.action_values(vector[None], np.array([self._goal]))[0]
        action = self._policy.choose_action(vector, self._goal, values)
        return {
            "action": np.array(action), "goal": np.array(self._goal), "reached": np.array(reached), "values": values,
            "agent_xy": xy,
        }  # fmt: skip

    def postprocess(self, outputs: Outputs, placement: Placement) -> Action:
        """Name goal and action."""
        scene, goal, action = self._scene, int(outputs["goal"]), int(outputs["action"])
        xy, reached = outputs["agent_xy"], int(outputs["reached"])
        return Action(
            action=action,
            action_name=scene.actions[action],
            goal=goal,
            goal_name=scene.goals[goal].name,
            goal_box=scene.goals[goal].box,
            agent_xy=None if np.isnan(xy[0]) else (float(xy[0]), float(xy[1])),
            reached=None if reached < 0 else reached,
            values=outputs["values"],
            scene=scene,
            frame=placement.frame,
            episodes=self._options.episodes,
        )

    def _observe(self, seen: Sighting) -> NDArray[np.float32]:
        """Add what was seen to the track; an agent out of sight stays where it was last."""
        past = self._track.vector
        xy = seen.agent_xy
        if xy is None:
            width_height = self._scene.size_hw[1] / 2, self._scene.size_hw[0] / 2
            xy = width_height if past is None else (float(past[0]), float(past[1]))
        elif past is not None and np.hypot(xy[0] - past[0], xy[1] - past[1]) > _JUMP_PX:
            self._forget()
        return self._track.add(xy, seen.hazard_x, seen.present)

    def _judge(self, before: NDArray[np.float32] | None, after: NDArray[np.float32]) -> int:
        """Ask the critic about the goal, and drop it when it is reached or too old; gives the reached goal or -1."""
        if self._goal < 0 or before is None:
            return -1
        if self._critic(before, after)[self._goal]:
            reached, self._goal = self._goal, -1
            return reached
        if self._age >= self._options.horizon or not self._scene.allowed(after)[self._goal]:
            self._goal = -1
        return -1

    def _forget(self) -> None:
        """Forget the past: another game, another life."""
        self._track.reset()
        self._goal, self._age = -1, 0
