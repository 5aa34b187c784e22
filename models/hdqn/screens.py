"""The paper's observation: the last four screens in luma, and the goal as a mask.

Owns the wrapper that adds screens to the game's object vector, and the Q-function whose network sees screens and
mask. The critic goes on reading the object vector; the networks never see it.

References
----------
Kulkarni et al. 2016, section 4.2 and figure 3; Mnih et al. 2015 (84 x 84 luma, four in a row).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import gymnasium
import numpy as np
from numpy.typing import NDArray

from .deep import DeepOptions, DeepQ
from .montezuma import SCENE
from .net import PaperNet
from .qfunction import Batch, Goals

SIZES = {"paper": 84, "small": 42}  # sides of the input, pixels
FRAMES = 4


def observation_dtype(size: int) -> np.dtype[Any]:
    """Describe one observation: `screens` (4, size, size) uint8, newest last, and `objects` (length,) float32."""
    return np.dtype([("screens", np.uint8, (FRAMES, size, size)), ("objects", np.float32, (SCENE.length,))])


def objects_of(observation: Any) -> Any:
    """Give the object vectors, (..., length), of observations with or without screens."""
    return observation["objects"] if np.asarray(observation).dtype.names else observation


class Screens(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Add the last four screens to the observation; after a start all four show it.

    Parameters
    ----------
    game : `Montezuma`, or a wrapper of it
    size : side of a screen, pixels
    """

    def __init__(self, game: gymnasium.Env[Any, Any], *, size: int) -> None:
        super().__init__(game)
        self.size = size
        self._screens = np.zeros((FRAMES, size, size), np.uint8)

    def reset(self, **words: Any) -> tuple[Any, dict[str, Any]]:
        """Start; gives an observation of `observation_dtype`."""
        objects, info = self.env.reset(**words)
        self._screens[:] = self._look()
        return self._observe(objects), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold an action; gives an observation of `observation_dtype`, reward, ends and facts."""
        objects, reward, ended, cut, info = self.env.step(action)
        self._screens = np.concatenate((self._screens[1:], self._look()[None]))
        return self._observe(objects), float(reward), ended, cut, info

    def _look(self) -> NDArray[np.uint8]:
        luma = self.unwrapped.ale.getScreenGrayscale()  # type: ignore[attr-defined]
        return np.asarray(cv2.resize(luma, (self.size, self.size), interpolation=cv2.INTER_AREA), np.uint8)

    def _observe(self, objects: NDArray[np.float32]) -> Any:
        observation = np.zeros((), observation_dtype(self.size))
        observation["screens"], observation["objects"] = self._screens, objects
        return observation


class ScreenQ(DeepQ):
    """Q-function over screens; the goal is a mask beside them.

    Parameters
    ----------
    size : side of a screen, pixels
    num_choices : actions, or goals of the meta-controller
    masked : whether the goal is shown; the meta-controller has none, its mask is empty
    options : how the network learns
    """

    def __init__(self, size: int, *, num_choices: int, masked: bool, options: DeepOptions) -> None:
        super().__init__(PaperNet(num_choices=num_choices, size=size, frames=FRAMES), options)
        masks = [SCENE.mask(goal) * np.uint8(255) for goal in range(len(SCENE.goals))]
        small = [cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA) for mask in masks]
        self._masks = (np.stack(small) > 0).astype(np.uint8) * 255 if masked else np.zeros_like(np.stack(small))

    def values(self, observations: NDArray[Any], goals: Goals) -> NDArray[np.float32]:
        """Value every choice, (N, num_choices), for N observations of `observation_dtype` and goals (N,)."""
        return super().values(self._planes(observations, goals), goals)

    def learn(self, batch: Batch) -> NDArray[np.float32]:
        """Take one step on N transitions; returns the TD errors, (N,).

        Raises
        ------
        ValueError
            If every goal is to be learned at once: the network sees one.
        """
        if batch.goals is None:
            raise ValueError(
                "A network that sees its goal as a mask learns one goal of a transition (--no-all-goals)"
            )
        return super().learn(
            replace(
                batch,
                observations=self._planes(batch.observations, batch.goals),
                next_observations=self._planes(batch.next_observations, batch.goals),
            )
        )

    def _planes(self, observations: NDArray[Any], goals: Goals) -> NDArray[np.uint8]:
        """Put the mask behind the screens, (N, 5, size, size)."""
        return np.concatenate((observations["screens"], self._masks[goals][:, None]), 1)
