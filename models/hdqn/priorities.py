"""Draw places in proportion to their priorities.

Owns `Priorities`, the sum tree of prioritized replay. It has three levels, and a node has as many children as that
takes: in numpy, few levels with long rows are faster than many levels with two children.

References
----------
Schaul et al. 2016, "Prioritized experience replay", section 3.3 (proportional, one draw from each of N equal parts).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Priorities:
    """Keep one priority for each of `capacity` places, 0 at first.

    Parameters
    ----------
    capacity : number of places
    """

    def __init__(self, capacity: int) -> None:
        side = 2
        while side**3 < capacity:
            side += 1
        self._side = side
        self._leaves = np.zeros((side * side, side))
        self._blocks = np.zeros((side, side))  # sums of the rows of leaves
        self._rooms = np.zeros(side)  # sums of the rows of blocks

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give the priorities of places, (N,) each."""
        found: NDArray[np.float64] = self._leaves.reshape(-1)[places]
        return found

    def set(self, places: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Set the priorities of places, (N,) each, and the sums above them."""
        self._leaves.reshape(-1)[places] = values
        blocks = places // self._side
        self._blocks.reshape(-1)[blocks] = self._leaves[blocks].sum(1)
        rooms = blocks // self._side
        self._rooms[rooms] = self._blocks[rooms].sum(1)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], float]:
        """Draw places with replacement, one from each of `count` equal parts of the sum.

        Returns
        -------
        places : (count,); rounding may give a place right behind the last one that was set
        total : sum of all priorities
        """
        edges = self._rooms.cumsum()
        total = float(edges[-1])
        targets = (np.arange(count) + rng.random(count)) * (total / count)
        rooms = np.minimum(np.searchsorted(edges, targets, side="right"), self._side - 1)
        targets -= edges[rooms] - self._rooms[rooms]
        blocks = rooms * self._side + self._descend(self._blocks[rooms], targets)
        return blocks * self._side + self._descend(self._leaves[blocks], targets), total

    def _descend(self, rows: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[Any]:
        """Find each target's child in its row of children, (N, side); takes what lies before it off the target."""
        edges = rows.cumsum(1)
        children = np.minimum((edges <= targets[:, None]).sum(1), self._side - 1)
        at = np.arange(len(rows)), children
        targets -= edges[at] - rows[at]
        return children
