"""Annealing: schedules for the scale c of the noise, and the object that applies one while training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from .modules import NoisyActivation

Schedule = Callable[[int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareRootDecay:
    """c = start / sqrt(t + 1), where t is one more every `every` updates, and never below `floor`.

    With the paper's figures c comes down to its floor after 720,000 updates: see `fast_decay` for shorter runs.

    References
    ----------
    Gulcehre et al. 2016, section 6.6: from 30 down to 0.5. The form of the decay and the 200 updates are not in the
    authors' released code; they are as the paper is generally cited.

    Examples
    --------
    >>> schedule = SquareRootDecay()
    >>> schedule(0), schedule(600), schedule(10**6)
    (30.0, 15.0, 0.5)
    """

    start: float = 30.0
    floor: float = 0.5
    every: float = 200

    def __post_init__(self) -> None:
        if not (0 < self.floor <= self.start and self.every > 0):
            raise ValueError(f"A decay needs 0 < floor <= start and every > 0, not {self}")

    def __call__(self, update: int) -> float:
        """Give c for the update of this number, from 0."""
        return max(self.floor, self.start / math.sqrt(update // self.every + 1))


def fast_decay(updates: int, *, start: float = 30.0, floor: float = 0.5) -> SquareRootDecay:
    """Give the same decay, but fast enough that c is at its floor after `updates` updates.

    References
    ----------
    Ours, for budgets of less than a million updates.

    Examples
    --------
    >>> fast_decay(1000)(1000)
    0.5
    """
    return SquareRootDecay(start=start, floor=floor, every=updates / (start / floor) ** 2)


class NoiseAnnealer:
    """Sets c of every noisy activation of a network, one step an update, as a learning-rate scheduler would.

    Has the three methods that the training loop calls on a scheduler, and can be resumed.

    Parameters
    ----------
    net : its `NoisyActivation` modules are annealed, all to the same c
    schedule : number of the update -> c

    Raises
    ------
    ValueError
        If the network has no noisy activation.

    Examples
    --------
    >>> from steadyframe.models.activations import tanh
    >>> net = tanh("nan", 4)
    >>> annealer = NoiseAnnealer(net, SquareRootDecay())
    >>> float(net.c)
    30.0
    >>> for _ in range(600):
    ...     annealer.step()
    >>> float(net.c)
    15.0
    """

    def __init__(self, net: nn.Module, schedule: Schedule) -> None:
        self.activations = [module for module in net.modules() if isinstance(module, NoisyActivation)]
        if not self.activations:
            raise ValueError("There is no noisy activation to anneal; make some with convert(net, noise='nan')")
        self.schedule, self.update = schedule, 0
        self._apply()

    def step(self) -> None:
        """Go on by one update."""
        self.update += 1
        self._apply()

    def state_dict(self) -> dict[str, int]:
        """Give what a resumed run needs."""
        return {"update": self.update}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken."""
        self.update = state["update"]
        self._apply()

    def _apply(self) -> None:
        c = self.schedule(self.update)
        for activation in self.activations:
            activation.c.fill_(c)
