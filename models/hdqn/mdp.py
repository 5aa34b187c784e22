"""The paper's discrete decision process: six states, a reward that depends on a visit to the far end.

Owns the environment and the oracle: exact values of fixed policies, from the transition probabilities alone.

References
----------
Kulkarni et al. 2016, section 4.1 and figure 3. The reward without a visit is 1/100 as the paper says; the authors'
released file computes 0 there (an integer division of Python 2).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

NUM_STATES = 6
START, TERMINAL, FAR = 1, 0, 5  # s2, s1, s6
LEFT, RIGHT = 0, 1
SLIP = 0.5  # RIGHT goes left this often
SMALL, LARGE = 0.01, 1.0


class DiscreteMdp(gymnasium.Env[int, int]):
    """States s1 to s6 (0 to 5 here), start s2, terminal s1.

    LEFT always moves left; RIGHT moves right with probability 0.5, else left. Reaching s1 pays 1 if s6 was visited in
    this episode, else 0.01. The visit is not part of the state. RIGHT at s6 stays there when it does not slip (the
    authors' code). No cap on the length: use `gymnasium.wrappers.TimeLimit` (the authors cap at 100 steps).
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's own declaration)

    def __init__(self) -> None:
        self.observation_space = spaces.Discrete(NUM_STATES)
        self.action_space = spaces.Discrete(2)
        self._state, self._visited = START, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Start at s2."""
        super().reset(seed=seed)
        self._state, self._visited = START, False
        return self._state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Take LEFT or RIGHT."""
        right = action == RIGHT and self.np_random.random() >= SLIP
        self._state = min(self._state + 1, FAR) if right else self._state - 1
        self._visited |= self._state == FAR
        done = self._state == TERMINAL
        return self._state, (LARGE if self._visited else SMALL) if done else 0.0, done, False, {}


def reached(before: int, after: int) -> NDArray[np.bool_]:
    """Tell which goals a transition reached: goal g is to be in state g; (6,)."""
    return np.arange(NUM_STATES) == after


def oracle(right_before: float, right_after: float) -> tuple[float, float, NDArray[np.float64]]:
    """Solve the process for a policy that knows whether s6 was visited.

    Parameters
    ----------
    right_before, right_after : probability of choosing RIGHT before and after the visit to s6

    Returns
    -------
    reward : expected reward of an episode
    reach : probability that s6 is visited
    visits : (6,) expected visits of an episode, the start and the end counted
    """
    size = 2 * NUM_STATES  # (visited, state)
    moves = np.zeros((size, size))
    for visited, chance in ((0, right_before), (1, right_after)):
        for state in range(NUM_STATES):
            if state == TERMINAL:
                continue
            for target, probability in ((min(state + 1, FAR), chance * SLIP), (state - 1, 1 - chance * SLIP)):
                now = visited or target == FAR
                moves[visited * NUM_STATES + state, int(now) * NUM_STATES + target] += probability
    expected = np.linalg.inv(np.eye(size) - moves)[START]  # expected visits of each (visited, state)
    reach = expected[NUM_STATES + TERMINAL]
    visits = expected[:NUM_STATES] + expected[NUM_STATES:]
    return float(reach * LARGE + (1 - reach) * SMALL), float(reach), visits
