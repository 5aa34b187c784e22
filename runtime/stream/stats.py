"""What a stream measures about itself.

Owns `Stats`: frames, drops, rate, and the spread of every stage's time and of the age of the results. Standard
library only; `commands` turns it into a table.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write_whole

STAGES = ("decode", "flow", "preprocess", "infer", "steady", "postprocess", "write")
# While the first frame warms everything up, the frames behind it fill the queues, and then come out in a burst that
# says nothing about the rate. So many results are let by before the rate is taken, if there are twice as many.
_BURST = 16
# Ten minutes at 30 fps: an endless stream must not grow, and its percentiles should describe the present.
WINDOW = 18_000


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of one quantity, in milliseconds; `count` samples."""

    p50: float
    p95: float
    p99: float
    mean: float
    max: float
    count: int

    @classmethod
    def of(cls, samples: Iterable[float]) -> Spread:
        """Nearest-rank percentiles: every figure is a sample that was really seen.

        Examples
        --------
        >>> Spread.of(range(1, 101)).p95
        95.0
        """
        ordered = sorted(float(sample) for sample in samples)
        if not ordered:
            return cls(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
        p50, p95, p99 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.50, 0.95, 0.99))
        mean = math.fsum(ordered) / len(ordered)
        return cls(p50, p95, p99, mean, ordered[-1], len(ordered))

    def as_json(self) -> dict[str, float | int]:
        """Round to a tenth of a microsecond."""
        return {name: round(getattr(self, name), 4) for name in ("p50", "p95", "p99", "mean", "max", "count")}


class Stats:
    """Counters and times of one stream, written by one thread.

    The first result carries the warm-up of every library on its way: its time is kept apart, in `first_ms`, and
    does not enter the percentiles.

    Attributes
    ----------
    frames : results delivered
    keyframes : results for which the network ran on the very frame
    decoded : frames that left the source
    dropped : frames that a newer one replaced before they were worked on
    late : frames thrown away because they were older than the budget
    first_ms : from the start of the stream to the first result
    """

    def __init__(self) -> None:
        self.frames = 0
        self.keyframes = 0
        self.decoded = 0
        self.dropped = 0
        self.late = 0
        self.first_ms = math.nan
        self._started_ns = time.monotonic_ns()
        self._settled_ns = 0
        self._last_ns = 0
        self._ages: deque[float] = deque(maxlen=WINDOW)
        self._stages: dict[str, deque[float]] = {}

    def start(self) -> None:
        """Set the clock to zero."""
        self._started_ns = time.monotonic_ns()

    def record(self, timings_ms: Mapping[str, float], *, age_ms: float, keyframe: bool = True) -> None:
        """Count one result."""
        now = time.monotonic_ns()
        self.frames += 1
        self.keyframes += keyframe
        self._last_ns = now
        if self.frames == _BURST:
            self._settled_ns = now
        if self.frames == 1:
            self.first_ms = (now - self._started_ns) / 1e6
            return
        self._ages.append(age_ms)
        for stage, spent in timings_ms.items():
            if stage not in self._stages:
                self._stages[stage] = deque(maxlen=WINDOW)
            self._stages[stage].append(spent)

    @property
    def fps(self) -> float:
        """Results a second, once the queues have settled; of a short stream, its results by its whole time."""
        if self.frames >= 2 * _BURST:
            return (self.frames - _BURST) / ((self._last_ns - self._settled_ns) / 1e9)
        return self.frames / self.seconds if self.frames else math.nan

    @property
    def seconds(self) -> float:
        """From the start of the stream to its last result."""
        return max(0, self._last_ns - self._started_ns) / 1e9

    @property
    def age_ms(self) -> Spread:
        """Age of the results when they were ready."""
        return Spread.of(self._ages)

    @property
    def stages_ms(self) -> dict[str, Spread]:
        """Time spent in every stage, in the order in which a frame passes them."""
        names = sorted(self._stages, key=lambda stage: STAGES.index(stage) if stage in STAGES else len(STAGES))
        return {stage: Spread.of(self._stages[stage]) for stage in names}

    def as_json(self) -> dict[str, Any]:
        """Every figure, ready for JSON; what was not measured is null."""
        figures = {
            "schema": 1,
            "frames": self.frames,
            "keyframes": self.keyframes,
            "decoded": self.decoded,
            "dropped": self.dropped,
            "late": self.late,
            "seconds": round(self.seconds, 4),
            "fps": round(self.fps, 3),
            "first_ms": round(self.first_ms, 3),
            "age_ms": self.age_ms.as_json(),
            "stages_ms": {stage: spread.as_json() for stage, spread in self.stages_ms.items()},
        }
        cleaned: dict[str, Any] = _null_for_nan(figures)
        return cleaned

    def write(self, path: Path, **facts: Any) -> None:
        """Write the figures, and any further facts, as JSON; the file appears whole or not at all.

        Raises
        ------
        SinkError
            If the file cannot be written.
        """
        write_whole(path, (json.dumps({**facts, **self.as_json()}, indent=2) + "\n").encode())


def _null_for_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _null_for_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
