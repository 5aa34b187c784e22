"""Replay memory: a ring of rows in plain arrays, drawn uniformly or by priority.

Owns storage and drawing only; what a row means belongs to the agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .priorities import Priorities

Rows = dict[str, NDArray[Any]]


class ReplayMemory:
    """Keep the last `capacity` rows.

    Parameters
    ----------
    capacity : rows kept; the oldest row is overwritten first
    fields : name -> (shape of one row, dtype)
    priority : exponent of the priorities; 0 draws uniformly
    correction : exponent of the importance weights that undo the bias of prioritized drawing

    References
    ----------
    Mnih et al. 2015 (uniform); Schaul et al. 2016, "Prioritized experience replay", section 3.3 (proportional).
    """

    def __init__(
        self,
        capacity: int,
        fields: Mapping[str, tuple[tuple[int, ...], Any]],
        *,
        priority: float = 0.0,
        correction: float = 0.5,
    ) -> None:
        self.capacity, self.priority, self.correction = capacity, priority, correction
        self.rows: Rows = {name: np.zeros((capacity, *shape), dtype) for name, (shape, dtype) in fields.items()}
        self.stored = 0  # rows ever stored
        self._priorities = Priorities(capacity if priority else 1)
        self._largest = 1.0

    def __len__(self) -> int:
        return min(self.stored, self.capacity)

    def store(self, **values: Any) -> None:
        """Store N rows: every field as an array with N entries on its first axis."""
        count = len(next(iter(values.values())))
        places = np.arange(self.stored, self.stored + count) % self.capacity
        for name, rows in self.rows.items():
            rows[places] = values[name]
        self.stored += count
        if self.priority:
            self._priorities.set(places, np.full(count, self._largest))

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Rows, NDArray[np.int64], NDArray[np.float32]]:
        """Draw rows with replacement.

        Returns
        -------
        rows : name -> (count, ...)
        places : (count,), to hand back to `revalue`
        weights : (count,) importance weights, at most 1
        """
        if not self.priority:
            places = rng.integers(0, len(self), count)
            return self._at(places), places, np.ones(count, np.float32)
        places, total = self._priorities.draw(count, rng)
        places = np.minimum(places, len(self) - 1)
        chances = np.maximum(self._priorities[places], 1e-12) / total
        weights = (len(self) * chances) ** -self.correction
        return self._at(places), places, (weights / weights.max()).astype(np.float32)

    def revalue(self, places: NDArray[np.int64], errors: NDArray[np.float32]) -> None:
        """Set the priorities of drawn rows, `places` (N,), from their absolute TD errors, (N,)."""
        if self.priority:
            values = (np.abs(errors).astype(np.float64) + 1e-3) ** self.priority
            self._largest = max(self._largest, float(values.max()))
            self._priorities.set(places, values)

    def state(self) -> dict[str, Any]:
        """Give what `restore` needs, filled rows only."""
        rows = {name: _plain(rows[: len(self)]) for name, rows in self.rows.items()}
        return {"stored": self.stored, "rows": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave; all priorities start equal."""
        self.stored = int(state["stored"])
        for name, rows in self.rows.items():
            kept = np.ascontiguousarray(state["rows"][name])
            rows[: len(self)] = kept.view(rows.dtype)[:, 0] if rows.dtype.names else kept
        if self.priority:
            self._priorities.set(np.arange(len(self)), np.ones(len(self)))

    def _at(self, places: NDArray[np.int64]) -> Rows:
        return {name: rows[places] for name, rows in self.rows.items()}


def _plain(rows: NDArray[Any]) -> NDArray[Any]:
    """Give rows of several named parts, (N,), as bytes, (N, size of a row); others as they are."""
    return rows.view(np.uint8).reshape(len(rows), -1) if rows.dtype.names else rows
