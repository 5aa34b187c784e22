"""How often the agent acts at random: linear for the meta-controller, per goal for the controller.

Owns both schedules of the paper and the running success rate that one of them follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def linear(step: float, *, start: float, end: float, over: float) -> float:
    """Go from `start` to `end` over `over` steps, then stay."""
    return end if step >= over else start + (end - start) * max(0.0, step) / max(over, 1e-9)


class GoalEpsilon:
    """Exploration of the controller, annealed for every goal by its success rate.

    A goal's epsilon falls linearly from 1 to `floor` over `over` decisions spent on that goal; once the goal is
    reached in more than `confident` of its recent attempts (at least 20 of them), it is `floor` at once.

    Parameters
    ----------
    num_goals : G
    floor : smallest epsilon; the paper's 0.1
    over : decisions on a goal until its epsilon is `floor` without success
    confident : running success rate from which exploration ends
    memory : attempts over which the success rate is averaged (exponentially)

    References
    ----------
    Kulkarni et al. 2016, section 3: epsilon_1,g "annealed individually for each goal" by its success; the authors'
    code hard-codes it for two goals. The linear part and all constants: ours.
    """

    def __init__(
        self, num_goals: int, *, floor: float = 0.1, over: float = 50_000, confident: float = 0.9, memory: int = 50
    ) -> None:
        self.floor, self.over, self.confident, self.memory = floor, over, confident, memory
        self.decisions = np.zeros(num_goals, np.int64)
        self.attempts = np.zeros(num_goals, np.int64)
        self.rates = np.zeros(num_goals)

    def __call__(self, goals: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give the epsilon of each of N goals."""
        falling = 1 - (1 - self.floor) * np.minimum(1.0, self.decisions[goals] / self.over)
        sure = (self.attempts[goals] >= 20) & (self.rates[goals] > self.confident)
        return np.where(sure, self.floor, falling)

    def decided(self, goals: NDArray[np.int64]) -> None:
        """Count one decision for each of the goals, (N,)."""
        np.add.at(self.decisions, goals, 1)

    def attempted(self, goal: int, reached: bool) -> None:
        """Count one finished attempt."""
        self.attempts[goal] += 1
        weight = 1 / min(self.attempts[goal], self.memory)
        self.rates[goal] += weight * (float(reached) - self.rates[goal])

    def state(self) -> dict[str, Any]:
        """Give the counts, as plain lists."""
        return {name: getattr(self, name).tolist() for name in ("decisions", "attempts", "rates")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        for name, values in state.items():
            getattr(self, name)[:] = values
