"""Restarts of episodes from states kept earlier, as a wrapper of the game.

Owns the archive of states. An addition of ours to the paper's method, and an option: `AGENT` never sees it.

References
----------
Salimans & Chen 2018 (restarts from a demonstration); Ecoffet et al. 2019 (states kept by cell).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from .montezuma import SCENE, Montezuma

KINDS = ("none", "successes", "cells")


class Archive:
    """States by cell, a few of each; every cell is drawn equally often.

    Parameters
    ----------
    kind : "successes" keeps a state when a goal was reached, by goal and what has been taken; "cells" keeps states by
        16 pixels of position and what has been taken
    per_cell : states kept of a cell; once full, a new one replaces a random one
    rng : draws cells and states
    """

    def __init__(self, kind: str, *, per_cell: int = 16, rng: np.random.Generator) -> None:
        self.kind, self.per_cell, self.rng = kind, per_cell, rng
        self.cells: dict[Hashable, list[Any]] = {}

    def cell(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> Hashable | None:
        """Return the cell of a transition between two vectors (length,); None if this kind keeps nothing."""
        taken = tuple(after[2 * SCENE.history + 2 :] > 0)
        if self.kind == "cells":
            return int(after[0] // 16), int(after[1] // 16), taken
        reached = np.flatnonzero(SCENE.reached(before, after))
        return (int(reached[0]), taken) if len(reached) else None

    def offer(self, cell: Hashable, game: Montezuma) -> None:
        """Keep the game's state, always if the cell is new, else in one of 20 cases."""
        kept = self.cells.setdefault(cell, [])
        if kept and self.rng.random() > 0.05:
            return
        if len(kept) < self.per_cell:
            kept.append(game.snapshot())
        else:
            kept[int(self.rng.integers(self.per_cell))] = game.snapshot()

    def draw(self) -> Any:
        """Give a state of a random cell."""
        cells = list(self.cells.values())
        states = cells[int(self.rng.integers(len(cells)))]
        return states[int(self.rng.integers(len(states)))]


class Restarts(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Start a share of the episodes from the archive.

    Parameters
    ----------
    game : the environment
    archive : shared by all environments
    share : probability that an episode starts from the archive
    """

    env: Montezuma

    def __init__(self, game: Montezuma, archive: Archive, *, share: float) -> None:
        super().__init__(game)
        self.archive, self.share = archive, share
        self._before: Any = None

    def reset(self, **words: Any) -> tuple[Any, dict[str, Any]]:
        """Start from the archive, or as the game does."""
        if self.archive.cells and self.archive.rng.random() < self.share:
            words = {"options": {"state": self.archive.draw()}}
        self._before, info = self.env.reset(**words)
        return self._before, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the game and offer its state to the archive."""
        after, reward, ended, cut, info = self.env.step(action)
        if not ended and not cut:
            cell = self.archive.cell(self._before, after)
            if cell is not None:
                self.archive.offer(cell, self.env)
        self._before = after
        return after, float(reward), ended, cut, info
