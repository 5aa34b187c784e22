"""Keeps the age of a live stream's results within its budget by working less, before results are thrown away.

Owns `LoadGovernor`. It decides from the ages alone; what is lowered is the processor's.
"""

from __future__ import annotations

from collections import deque

# From what a level is entered: the age that nine of ten results stay below, as a share of the budget.
_HIGH, _LOW = 0.9, 0.5
_WINDOW = 24  # results
_SETTLE_S = 1.5  # after a change, until its effect is judged
_EASE_S = 10.0  # of low ages, until more work is tried again


class LoadGovernor:
    """Chooses a level of load, 0 (all the work) and up, from the ages of the last results.

    Parameters
    ----------
    budget_ms : age that a result may have
    highest : the last level

    Examples
    --------
    >>> governor = LoadGovernor(100, highest=2)
    >>> [governor.add(95.0, at / 30) for at in range(60)].index(1)
    45
    """

    def __init__(self, budget_ms: float, *, highest: int) -> None:
        self.level = 0
        self._budget_ms = budget_ms
        self._highest = highest
        self._ages: deque[float] = deque(maxlen=_WINDOW)
        self._changed_s: float | None = None
        self._low_since_s: float | None = None

    def add(self, age_ms: float, now_s: float) -> int | None:
        """Add the age of a result, thrown away or not; returns the new level if it changes.

        Parameters
        ----------
        age_ms : of the result
        now_s : on any clock that only goes on
        """
        if self._changed_s is None:
            self._changed_s = now_s
        self._ages.append(age_ms)
        if len(self._ages) < _WINDOW // 2:
            return None
        high = sorted(self._ages)[int(0.9 * len(self._ages))]
        if high >= _LOW * self._budget_ms:
            self._low_since_s = None
        elif self._low_since_s is None:
            self._low_since_s = now_s
        if now_s - self._changed_s < _SETTLE_S:
            return None
        if high > _HIGH * self._budget_ms and self.level < self._highest:
            return self._change(1, now_s)
        if self._low_since_s is not None and now_s - self._low_since_s > _EASE_S and self.level > 0:
            return self._change(-1, now_s)
        return None

    def _change(self, step: int, now_s: float) -> int:
        self.level += step
        self._changed_s, self._low_since_s = now_s, None
        self._ages.clear()
        return self.level
