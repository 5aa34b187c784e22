"""The first room of Montezuma's Revenge as a gymnasium environment of objects.

Owns the room's scene, the reading of objects from the game's memory, and the environment. Needs `ale-py`, whose wheel
carries the game.

References
----------
Kulkarni et al. 2016, section 4.2 (objects as goals); the episode ends once a door is open, as in the authors' code.
Memory addresses (room 3, x 42, y 43, skull 47, items 65): public annotations of the game; a test compares pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ...runtime.tasks.policy.detect import Blob, Colors
from ...runtime.tasks.policy.scene import Goal, Scene, Track

# Order of the networks' actions, and each one's number in the Arcade Learning Environment.
ACTIONS = {"noop": 0, "jump": 1, "up": 2, "right": 3, "left": 4, "down": 5, "jump right": 11, "jump left": 12}
SCENE = Scene(
    size_hw=(210, 160),
    goals=(
        Goal("middle ladder", (72, 96, 87, 135), region=(74, 106, 86, 124)),
        Goal("rope", (111, 96, 114, 135), region=(106, 100, 118, 130)),
        Goal("right ladder", (128, 139, 143, 179), region=(130, 150, 142, 168)),
        Goal("left ladder", (16, 139, 31, 179), region=(18, 150, 30, 168)),
        Goal("key", (12, 99, 20, 114), takeable=True),
        Goal("left door", (20, 54, 23, 91), region=(15, 64, 27.5, 92), takeable=True),
        Goal("right door", (136, 54, 139, 91), region=(131, 64, 146, 92), takeable=True),
    ),
    actions=tuple(ACTIONS),
)
COLORS = Colors(  # for the runtime, which has pixels only
    agent=Blob(((72, 72, 200), (111, 111, 228), (86, 182, 210)), area=(0, 50, 159, 179), from_bottom=9.0),
    hazard=Blob(((236, 236, 236),), area=(0, 160, 159, 179), from_bottom=5.0),
    takeable=((99, 204, 232),) * 3,
)
KEY_COLOR = 252  # palette index in `getScreen`
ROOM, AGENT_X, AGENT_Y, SKULL_X, ITEMS = 3, 42, 43, 47, 65
KEY_BIT = 2
REWARD_UNIT = 100.0  # the key's score: extrinsic reward 1
DOOR_SCORE = 400
START_XY = (79.5, 83.0)


@dataclass(frozen=True, kw_only=True)
class GameOptions:
    """How the game is played.

    Parameters
    ----------
    skip : frames an action is held
    sticky : probability, in every frame, that the game repeats the action of the frame before
    max_noops : up to this many frames of doing nothing at the start of a game
    max_decisions : length of an episode
    one_life : an episode ends with the life, as training needs it; else with the game
    screens : side of the screens that `play_games` shows the Q-functions beside the object vector; 0 for none
    """

    skip: int = 4
    sticky: float = 0.0
    max_noops: int = 30
    max_decisions: int = 5_000
    one_life: bool = True
    screens: int = 0


class Montezuma(gymnasium.Env[NDArray[np.float32], int]):
    """Room 1 of the game, observed as the object vector of `SCENE`.

    A reward is score / 100. An episode ends when the life is lost (or the game, as in `GameOptions`) and when a door
    is open (score 400).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (gymnasium's own declaration)

    def __init__(self, options: GameOptions | None = None, *, seed: int = 0) -> None:
        import ale_py
        from ale_py import roms

        self.options = options or GameOptions()
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setInt("random_seed", seed)
        self.ale.setInt("frame_skip", self.options.skip)
        self.ale.setFloat("repeat_action_probability", self.options.sticky)
        self.ale.loadROM(roms.get_rom_path("montezuma_revenge"))
        self._codes = tuple(ACTIONS.values())
        self._rng = np.random.default_rng(seed)
        self._track = Track(SCENE)
        self._lives, self.score, self._age = 0, 0.0, 0
        self._doors = (1.0, 1.0)  # 1 while shut; a door opens with a reward only, so that is when the screen is read
        self.observation_space = spaces.Box(-1, 255, (SCENE.length,), np.float32)
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.render_mode = "rgb_array"
        self._respawns = False  # the life is lost, the game goes on

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a new game, or the next life of the running game; the observation is (length,) float32.

        `options={"state": s}` restores what `snapshot` gave instead.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._track.reset()
        self._age = 0
        if options and "state" in options:
            state, self.score, vector = options["state"]
            self.ale.restoreState(state)
            self._lives, self._respawns = self.ale.lives(), False
            self._track.restore(vector)
            self._doors = (float(vector[-2]), float(vector[-1]))
            return vector, {}
        if self._respawns:
            self._await_respawn()
        if not self._respawns or self.ale.game_over():
            self.ale.reset_game()
            self.score, self._doors = 0.0, (1.0, 1.0)
            for _ in range(int(self._rng.integers(0, self.options.max_noops // self.options.skip + 1))):
                self.ale.act(0)
        self._lives, self._respawns = self.ale.lives(), False
        return self.observe(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Hold an action for `skip` frames; the observation is (length,) float32."""
        gained = float(self.ale.act(self._codes[action]))
        if gained:
            self.score += gained
            self._look_at_doors()
        self._age += 1
        lives = self.ale.lives()
        lost, self._lives = lives < self._lives, lives
        over = self.score >= DOOR_SCORE or self.ale.game_over()
        if lost and not over:
            if self.options.one_life:
                self._respawns = True
            else:
                self._await_respawn()
                self._track.reset()
        cut = self._age >= self.options.max_decisions
        info = {"score": self.score, "life_lost": lost}
        return self.observe(), gained / REWARD_UNIT, over or self._respawns, cut, info

    def observe(self) -> NDArray[np.float32]:
        """Read the objects from the game into a new vector, (length,) float32."""
        ram = self.ale.getRAM()
        key = 0.0 if ram[ITEMS] & KEY_BIT else 1.0
        return self._track.add(
            (float(ram[AGENT_X]) + 2.5, 318.0 - float(ram[AGENT_Y])),
            float(ram[SKULL_X]) + 35.5,
            np.array((key, *self._doors), np.float32),
        )

    def snapshot(self) -> tuple[Any, float, NDArray[np.float32]]:
        """Return a state to restore: the game, its score, and the object vector (length,) with its history."""
        vector = self._track.vector
        assert vector is not None, "snapshot comes after reset"
        return self.ale.cloneState(), self.score, vector

    def render(self) -> NDArray[np.uint8]:
        """Give the screen, (210, 160, 3) uint8 RGB."""
        screen: NDArray[np.uint8] = self.ale.getScreenRGB()
        return screen

    def _look_at_doors(self) -> None:
        screen = self.ale.getScreen()
        left, right = ((screen[60:92, column] == KEY_COLOR).any() for column in (21, 137))
        self._doors = (float(left), float(right))

    def _await_respawn(self) -> None:
        """Do nothing until the agent stands at the start of the room again; at most 60 decisions."""
        for _ in range(60):
            if self.ale.game_over():
                return
            self.ale.act(0)
            ram = self.ale.getRAM()
            if (ram[AGENT_X], ram[AGENT_Y]) == (77, 235):
                return
