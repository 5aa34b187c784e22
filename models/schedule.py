"""How far a training has come, in steps or in minutes, and the learning rate that follows.

Owns the clock of a run and the share of its budget that is spent. Knows no trainer.
"""

from __future__ import annotations

import math
import time

import torch


class WorkClock:
    """Seconds of work; a pause (a suspended machine, a stopped process) counts as one minute at most."""

    def __init__(self) -> None:
        self._spent, self._marked = 0.0, time.monotonic()

    def __call__(self) -> float:
        """Give the seconds; to be asked at least once a minute."""
        now = time.monotonic()
        self._spent += min(now - self._marked, 60.0)
        self._marked = now
        return self._spent


class Budget:
    """Share of a run that is done: of its steps or of its minutes, whichever is more.

    Parameters
    ----------
    steps : of the whole run
    minutes : of this part of the run, or None
    """

    def __init__(self, steps: int, minutes: float | None) -> None:
        self._steps, self._minutes, self._clock = steps, minutes, WorkClock()

    def spent(self, step: int) -> float:
        """Give the share after so many steps, 0..1; to be asked at least once a minute."""
        share = step / self._steps
        if self._minutes is not None:
            share = max(share, self._clock() / (60 * self._minutes))
        return min(share, 1.0)


def one_cycle(
    optimizer: torch.optim.Optimizer, budget: Budget, *, warm_up: float = 0.1
) -> torch.optim.lr_scheduler.LambdaLR:
    """Raise the learning rate to the optimizer's own, then let it fall to zero along a cosine.

    A run that is stopped by its minutes has come down as well.
    """

    def factor(step: int) -> float:
        spent = budget.spent(step)
        if spent < warm_up:
            return 0.05 + 0.95 * spent / warm_up
        return 0.5 * (1 + math.cos(math.pi * (spent - warm_up) / (1 - warm_up)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
