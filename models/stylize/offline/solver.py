"""L-BFGS as the paper runs it, with its stopping rule, and a guard against its known early exit.

Owns the minimization of any loss of one image. Knows nothing of styles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Progress = Callable[[int, float], None]
_ASTRAY = 2.0  # times the best loss


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverOptions:
    """When to stop, and when to start again.

    Parameters
    ----------
    iterations : at most
    interval : iterations between two looks at the loss
    tolerance : stop when the loss changed by less than this share over one interval; 0 never stops
    least : fewer iterations than this in an interval are an early exit, answered by a restart
    restarts : at most
    history : corrections that L-BFGS keeps

    References
    ----------
    Ruder et al. 2016, section 5.1 and the released code: 2000 iterations for the first frame and 1000 for others,
    0.01 % over 50 iterations, 100 corrections, no line search. The guard is ours: the released code sometimes quits
    after one or two iterations and leaves a blurred frame.
    """

    iterations: int = 1000
    interval: int = 50
    tolerance: float = 1e-4
    least: int = 10
    restarts: int = 4
    history: int = 100

    def __post_init__(self) -> None:
        if min(self.iterations, self.interval, self.history) < 1 or self.restarts < 0 or self.tolerance < 0:
            raise ValueError(f"iterations, interval and history are at least 1, the others at least 0: {self}")


@dataclass(frozen=True, slots=True)
class Solution:
    """What a minimization found.

    Parameters
    ----------
    image : the best one, shaped like the start
    loss : its loss
    iterations : spent in all
    restarts : how often the memory was thrown away
    reason : ``converged``, ``iterations`` or ``restarts``
    """

    image: Tensor
    loss: float
    iterations: int
    restarts: int
    reason: str


def minimize(
    loss: Callable[[Tensor], Tensor], start: Tensor, options: SolverOptions, progress: Progress | None = None
) -> Solution:
    """Minimize a loss over an image, (1, 3, H, W), from a start that is not changed.

    Raises
    ------
    FloatingPointError
        If the loss of the start itself is not finite.
    """
    run = _Run(loss, start, options)
    while True:
        reason = run.interval()
        if progress is not None:
            progress(run.iterations, run.best_loss)
        if reason:
            return Solution(run.best, run.best_loss, run.iterations, run.restarts, reason)


class _Run:
    """State of one minimization."""

    def __init__(self, loss: Callable[[Tensor], Tensor], start: Tensor, options: SolverOptions) -> None:
        self.loss, self.options = loss, options
        self.image = start.detach().clone().requires_grad_(True)
        self.best, self.best_loss = start.detach().clone(), self._value()
        if not torch.isfinite(torch.tensor(self.best_loss)):
            raise FloatingPointError("The loss of the starting image is not finite")
        self.last = self.best_loss
        self.iterations = self.restarts = 0
        self.rate = 1.0
        self.optimizer = self._fresh()

    def _fresh(self) -> torch.optim.LBFGS:
        options = self.options
        return torch.optim.LBFGS(
            [self.image], lr=self.rate, max_iter=options.interval, max_eval=10 * options.interval,
            tolerance_grad=0, tolerance_change=0, history_size=options.history,
        )  # fmt: skip

    def _value(self) -> float:
        with torch.no_grad():
            return float(self.loss(self.image))

    def _closure(self) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        value = self.loss(self.image)
        value.backward()
        return value

    def interval(self) -> str:
        """Iterate once around; give the reason to stop, or an empty string."""
        options = self.options
        wanted = min(options.interval, options.iterations - self.iterations)
        self.optimizer.param_groups[0]["max_iter"] = wanted
        before = self._steps()
        self.optimizer.step(self._closure)
        done = self._steps() - before
        self.iterations += done
        value, previous = self._value(), self.last
        if value < self.best_loss:  # false for NaN
            self.best, self.best_loss = self.image.detach().clone(), value
        # Without a line search the loss may rise a little on its way; a multiple of it is no way.
        astray = not value < _ASTRAY * self.best_loss
        if done < min(options.least, wanted) or astray:
            return self._restart()
        self.last = value
        if self.iterations >= options.iterations:
            return "iterations"
        return "converged" if abs(previous - value) < options.tolerance * previous else ""

    def _steps(self) -> int:
        return int(self.optimizer.state[self.image].get("n_iter", 0))

    def _restart(self) -> str:
        """Go back to the best image with an empty memory, more carefully each time."""
        if self.iterations >= self.options.iterations:
            return "iterations"
        if self.restarts >= self.options.restarts:
            return "restarts"
        self.restarts += 1
        self.last = self.best_loss
        self.rate *= 0.5
        with torch.no_grad():
            self.image.copy_(self.best)
        self.optimizer = self._fresh()
        return ""
