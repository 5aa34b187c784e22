"""Measurements of a stream.

Owns `StatsRecorder`, which the threads of a stream write to, and `Stats`, an immutable snapshot of it: frames, drops,
rate, and the spread of every stage's time and of the age of the results. Standard library only; `commands` turns it
into a table.
"""

from __future__ import annotations

import json
import math
import threading
import time
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..tasks.task import Result

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
        """Compute nearest-rank percentiles: every figure is one of the samples.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Figures of a stream at one moment.

    The first result includes the warm-up of every library: its time is stored in `first_ms` and is not part of
    the percentiles.

    Parameters
    ----------
    frames : results delivered
    keyframes : results for which the network ran on the very frame
    runs : of the network, those whose result came too late for any frame included
    decoded : frames that left the source
    dropped : frames that a newer one replaced before they were worked on
    late : frames thrown away because they were older than the budget
    sink_dropped : address of a sink -> results that it was too slow for
    signal, cause : state of the source, as the value of a `Signal`, and the name of its `Failure` or nothing
    stalls, reconnects : losses and returns of a live source's signal in the last hour
    lowered : how the load is lowered to keep the age within its budget, in words; empty if it is not
    stuck : the part that has been at one frame for more than 10 s, in words; empty if none has
    first_ms : from the start of the stream to the first result
    seconds : from the start of the stream to its last result
    fps : results a second, once the queues have settled; of a short stream, its results by its whole time
    ages, stage_samples : milliseconds, of the last results; `age_ms` and `stages_ms` sum them up
    """

    frames: int = 0
    keyframes: int = 0
    runs: int = 0
    decoded: int = 0
    dropped: int = 0
    late: int = 0
    sink_dropped: Mapping[str, int] = field(default_factory=dict)
    signal: str = ""
    cause: str = ""
    stalls: int = 0
    reconnects: int = 0
    lowered: str = ""
    stuck: str = ""
    first_ms: float = math.nan
    seconds: float = 0.0
    fps: float = math.nan
    ages: tuple[float, ...] = field(default=(), repr=False)
    stage_samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict, repr=False)

    @property
    def age_ms(self) -> Spread:
        """Age of the results when they were ready."""
        return Spread.of(self.ages)

    @property
    def stages_ms(self) -> dict[str, Spread]:
        """Time spent in every stage, in the order in which a frame passes them."""
        names = sorted(self.stage_samples, key=lambda name: STAGES.index(name) if name in STAGES else len(STAGES))
        return {name: Spread.of(self.stage_samples[name]) for name in names}

    def as_json(self) -> dict[str, Any]:
        """Every figure, ready for JSON; what was not measured is null."""
        figures = {
            "schema": 1,
            "frames": self.frames,
            "keyframes": self.keyframes,
            "runs": self.runs,
            "decoded": self.decoded,
            "dropped": self.dropped,
            "late": self.late,
            "sink_dropped": dict(self.sink_dropped),
            "signal": self.signal,
            "cause": self.cause,
            "stalls": self.stalls,
            "reconnects": self.reconnects,
            "lowered": self.lowered,
            "stuck": self.stuck,
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


class _Window:
    """The last samples of one quantity, in memory that is there from the beginning: no stream grows by them."""

    def __init__(self) -> None:
        self._values = array("d", [0.0]) * WINDOW
        self._count = 0

    def append(self, value: float) -> None:
        """Add a sample in place of the oldest."""
        self._values[self._count % WINDOW] = value
        self._count += 1

    def samples(self) -> tuple[float, ...]:
        """Copy the samples, oldest first."""
        if self._count <= WINDOW:
            return tuple(self._values[: self._count])
        start = self._count % WINDOW
        return (*self._values[start:], *self._values[:start])


class StatsRecorder:
    """Counts and times of one stream; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(("frames", "keyframes", "runs", "decoded", "dropped", "late"), 0)
        self._first_ms = math.nan
        self._lowered = ""
        self._started_ns = time.monotonic_ns()
        self._settled_ns = 0
        self._last_ns = 0
        self._ages = _Window()
        self._stages: dict[str, _Window] = {}

    def start(self) -> None:
        """Set the clock to zero."""
        with self._lock:
            self._started_ns = time.monotonic_ns()

    def record(self, result: Result[Any], *, age_ms: float | None = None) -> None:
        """Count one result that was delivered; its age is that of the moment it was ready, unless one is given."""
        with self._lock:
            now = time.monotonic_ns()
            self._counts["frames"] += 1
            self._counts["keyframes"] += result.keyframe
            self._last_ns = now
            if self._counts["frames"] == _BURST:
                self._settled_ns = now
            if self._counts["frames"] == 1:
                self._first_ms = (now - self._started_ns) / 1e6
                return
            self._ages.append(result.age_ms if age_ms is None else age_ms)
            for stage, spent in result.timings_ms.items():
                self._sample(stage, spent)

    def count_decoded(self) -> None:
        """Count a frame that left the source."""
        with self._lock:
            self._counts["decoded"] += 1

    def written(self, spent_ms: float) -> None:
        """Record the time that one sink took for one result."""
        with self._lock:
            self._sample("write", spent_ms)

    def count_run(self) -> None:
        """Count a run of the network."""
        with self._lock:
            self._counts["runs"] += 1

    def count_late(self) -> None:
        """Count a frame or result that was too old."""
        with self._lock:
            self._counts["late"] += 1

    @property
    def lowered(self) -> str:
        """How the load is lowered, in words; cheaper than a snapshot."""
        return self._lowered

    def set_load(self, lowered: str) -> None:
        """Note how the load was lowered, in words; empty when it is the usual one."""
        with self._lock:
            self._lowered = lowered

    def set_dropped(self, count: int) -> None:
        """Set the number of frames that were replaced by newer ones so far."""
        with self._lock:
            self._counts["dropped"] = count

    def snapshot(self, sink_dropped: Mapping[str, int] | None = None) -> Stats:
        """Return the current figures."""
        with self._lock:
            counts: dict[str, Any] = dict(self._counts)
            ages = self._ages.samples()
            stages = {stage: window.samples() for stage, window in self._stages.items()}
            started_ns, settled_ns, last_ns = self._started_ns, self._settled_ns, self._last_ns
            first_ms, lowered = self._first_ms, self._lowered
        seconds = max(0, last_ns - started_ns) / 1e9
        frames = counts["frames"]
        if frames >= 2 * _BURST:
            fps = (frames - _BURST) / ((last_ns - settled_ns) / 1e9)
        else:
            fps = frames / seconds if frames and seconds else math.nan
        return Stats(
            **counts, sink_dropped=dict(sink_dropped or {}), first_ms=first_ms, seconds=seconds, fps=fps,
            ages=ages, stage_samples=stages, lowered=lowered,
        )  # fmt: skip

    def _sample(self, stage: str, spent_ms: float) -> None:
        """Add a time; the caller holds the lock."""
        if stage not in self._stages:
            self._stages[stage] = _Window()
        self._stages[stage].append(spent_ms)


def _null_for_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _null_for_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
