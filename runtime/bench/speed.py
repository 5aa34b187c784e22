"""Speed of a mode on a file, and age of its results on a camera.

Owns `Speed` and the paced source. Every run is a whole stream into `null://`, as `steadyframe run` would do it.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..frame import Frame
from ..io.info import Signal, Source, SourceInfo
from ..stream.stats import Stats
from ..stream.stream import Stream
from .subject import Subject


@dataclass(frozen=True, slots=True)
class Speed:
    """Figures of one mode.

    Parameters
    ----------
    fps : frames a second of every round, in the order of the rounds
    stats : of the round of median speed: stages, keyframes, age
    """

    fps: tuple[float, ...]
    stats: Stats

    @property
    def median_fps(self) -> float:
        """Median over the rounds (the lower one of two)."""
        return statistics.median_low(self.fps)

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        figures = self.stats.as_json()
        return {
            "fps": {
                "median": round(self.median_fps, 2),
                "min": round(min(self.fps), 2),
                "max": round(max(self.fps), 2),
                "rounds": len(self.fps),
            },
            "keyframe_share": round(self.stats.keyframes / max(1, self.stats.frames), 4),
            "frames": figures["frames"],
            "age_ms": figures["age_ms"],
            "stages_ms": figures["stages_ms"],
        }


def measure_speed(
    subject: Subject, *, rounds: int = 3, on_round: Callable[[str], None] = lambda mode: None
) -> dict[str, Speed]:
    """Run every mode on the whole input, as fast as it goes.

    Parameters
    ----------
    rounds : the modes take turns, so that a machine that grows slower grows slower for all of them
    on_round : called with a mode after each of its rounds

    Notes
    -----
    A round before the first warms up every library and is not counted. The first result of a run is not part of
    its rate (see `Stats`).
    """
    runs: dict[str, list[Stats]] = {mode: [] for mode in subject.modes}
    for mode in subject.modes:
        _run(subject, mode, limit=min(20, subject.limit))
    for _ in range(rounds):
        for mode, done in runs.items():
            done.append(_run(subject, mode, limit=subject.limit))
            on_round(mode)
    return {mode: _speed(done) for mode, done in runs.items()}


def measure_live(subject: Subject, mode: str) -> Stats:
    """Play the input as a camera that does not wait: the age of the results, and what is dropped."""
    source = PacedSource(subject.source(), fps=subject.fps, count=subject.limit)
    return Stream(source, subject.processor(mode, live=True), ["null://"]).run()


def _run(subject: Subject, mode: str, *, limit: int) -> Stats:
    return subject.stream(mode, limit=limit).run()


def _speed(runs: list[Stats]) -> Speed:
    """Choose the round of median speed."""
    rates = tuple(stats.fps for stats in runs)
    return Speed(rates, runs[rates.index(statistics.median_low(rates))])


class PacedSource:
    """A file that behaves like a camera: frames come at its own rate, and are lost if they are not read in time.

    Parameters
    ----------
    source : what it shows
    fps : frames a second
    count : frames after which it ends
    """

    def __init__(self, source: Source, *, fps: float, count: int) -> None:
        self.info: SourceInfo = replace(source.info, live=True, fps=fps)
        self._source = source
        self._period_ns = round(1e9 / fps)
        self._count = count
        self._stopped = threading.Event()

    @property
    def signal(self) -> Signal:
        """Whether frames are coming."""
        return self._source.signal

    def __iter__(self) -> Iterator[Frame]:
        due_ns = time.monotonic_ns()
        for number, frame in enumerate(self._source):
            due_ns += self._period_ns
            wait_s = (due_ns - time.monotonic_ns()) / 1e9
            if number == self._count or self._stopped.wait(max(0.0, wait_s)):
                return
            # Decoding belongs to the file; a camera's frame is captured when it is due.
            yield replace(frame, captured_ns=time.monotonic_ns())

    def stop(self) -> None:
        """End the wait for the next frame."""
        self._stopped.set()
        self._source.stop()

    def close(self) -> None:
        """Close the file."""
        self._source.close()
