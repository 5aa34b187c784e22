"""The objects of a world: where they are, which one is a goal, when a goal is reached.

Owns `Scene`, its parts, the layout of an object vector, and the critic over two such vectors. Training fills the
vector from the game's memory, the runtime from pixels (`detect`); both use this file. Knows no engine and no game.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BundleError

Box = tuple[float, float, float, float]  # left, top, right, bottom, pixels of the frame, inclusive


@dataclass(frozen=True, slots=True)
class Goal:
    """An object that the agent can pursue.

    Parameters
    ----------
    name : for people
    box : where the object is drawn; the goal mask is 1 there
    region : the goal is reached when the agent's center is in here; None if only taking the object counts
    takeable : the object disappears when it is taken, which reaches the goal; it can be chosen only while it is there
    """

    name: str
    box: Box
    region: Box | None = None
    takeable: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What an object vector holds.

    Parameters
    ----------
    size_hw : of the frame, pixels
    goals : G objects in the order of the networks' goals
    actions : name of each action in the order of the networks' actions
    history : agent positions in the vector, newest first, one a decision

    Notes
    -----
    The vector is float32 (`2 * history + 2 + T`): x and y of the agent's center, newest first; x of the hazard now
    and one decision ago (-1 while it is out of sight); for each of the T takeable goals, 1 while it is there.
    """

    size_hw: tuple[int, int]
    goals: tuple[Goal, ...]
    actions: tuple[str, ...]
    history: int = 4

    def __post_init__(self) -> None:
        sound = self.history >= 1 and self.goals and all(goal.takeable or goal.region for goal in self.goals)
        if not sound:
            raise BundleError(
                "A scene needs goals that can be reached, and a history of at least 1", found=repr(self)
            )

    @property
    def length(self) -> int:
        """Entries of the vector."""
        return 2 * self.history + 2 + len(self.takeable)

    @property
    def takeable(self) -> tuple[int, ...]:
        """Indices of the goals that can be taken."""
        return tuple(i for i, goal in enumerate(self.goals) if goal.takeable)

    def reached(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell which goals a transition reached: the critic.

        Parameters
        ----------
        before, after : (length,) object vectors one decision apart

        Returns
        -------
        NDArray
            (G,) bool.
        """
        x, y = float(after[0]), float(after[1])
        result = np.zeros(len(self.goals), np.bool_)
        place = 2 * self.history + 2
        for i, goal in enumerate(self.goals):
            if goal.region is not None:
                left, top, right, bottom = goal.region
                result[i] = left <= x <= right and top <= y <= bottom
            if goal.takeable:
                result[i] |= before[place] > after[place]
                place += 1
        return result

    def allowed(self, vector: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell which goals can be chosen: all but what has been taken; (G,) bool."""
        result = np.ones(len(self.goals), np.bool_)
        result[list(self.takeable)] = vector[2 * self.history + 2 :] > 0
        return result

    def mask(self, goal: int) -> NDArray[np.uint8]:
        """Draw the goal's box: (H, W) uint8, 1 inside."""
        mask = np.zeros(self.size_hw, np.uint8)
        left, top, right, bottom = (round(edge) for edge in self.goals[goal].box)
        mask[top : bottom + 1, left : right + 1] = 1
        return mask

    def to_settings(self) -> dict[str, Any]:
        """Give plain values for a manifest."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Scene:
        """Read what `to_settings` gave, after its way through JSON.

        Raises
        ------
        BundleError
            If a key is missing, unknown or of the wrong type.
        """
        try:
            goals = tuple(
                Goal(
                    name=str(goal["name"]),
                    box=_box(goal["box"]),
                    region=None if goal.get("region") is None else _box(goal["region"]),
                    takeable=bool(goal.get("takeable", False)),
                )
                for goal in settings["goals"]
            )
            height, width = settings["size_hw"]
            actions = tuple(str(name) for name in settings["actions"])
            return cls((int(height), int(width)), goals, actions, int(settings.get("history", 4)))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                "The manifest's scene is not valid",
                expected="size_hw, goals (name, box, region, takeable), actions, history",
                found=f"{type(error).__name__}: {error}",
                todo="Export the bundle again with `steadyframe export`",
            ) from error


class Track:
    """The memory of one stream: builds object vectors from one observation a decision.

    Parameters
    ----------
    scene : layout of the vector
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.vector: NDArray[np.float32] | None = None  # the newest

    def reset(self) -> None:
        """Forget the past: the next position fills the history."""
        self.vector = None

    def restore(self, vector: NDArray[np.float32]) -> None:
        """Continue from a vector that was kept earlier, (length,) float32."""
        self.vector = vector

    def shift(self, x: float, y: float) -> None:
        """Say that the view has moved: what was seen before lies (x, y) pixels further on in it now."""
        if self.vector is not None:
            moved = self.vector.copy()
            moved[0 : 2 * self.scene.history : 2] += x
            moved[1 : 2 * self.scene.history : 2] += y
            self.vector = moved

    @property
    def extent(self) -> float:
        """Longer side of the box around the remembered positions, pixels; 0 before the first."""
        if self.vector is None:
            return 0.0
        return float(np.ptp(self.vector[: 2 * self.scene.history].reshape(-1, 2), axis=0).max())

    def add(self, agent_xy: tuple[float, float], hazard_x: float, present: NDArray[Any]) -> NDArray[np.float32]:
        """Add one observation and give the vector, a new array.

        Parameters
        ----------
        agent_xy : center of the agent, pixels
        hazard_x : center of the hazard, or -1
        present : (T,) 1 for each takeable goal that is there
        """
        end = 2 * self.scene.history
        vector = np.empty(self.scene.length, np.float32)
        past = self.vector
        vector[2:end] = np.tile(agent_xy, self.scene.history - 1) if past is None else past[: end - 2]
        vector[:2] = agent_xy
        vector[end] = hazard_x
        vector[end + 1] = hazard_x if past is None else past[end]
        vector[end + 2 :] = present
        self.vector = vector
        return vector


def _box(values: Any) -> Box:
    left, top, right, bottom = (float(value) for value in values)
    return left, top, right, bottom
