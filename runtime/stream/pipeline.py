"""The threads of a stream, and what they hand to each other.

Owns `Pipeline`::

    decode -> arrivals -> prepare -> composing -> compose -> writing -> write -> results -> the caller
                             |                       ^
                             +-> to_infer -> infer --+ inferred

Every arrow is a `Channel`, every stage a thread, and every stage sees the frames in order. OpenCV and the engines
release the interpreter while they work, so the stages really overlap. Files never drop a frame. Of a live source, a
frame is taken from the mailbox only when there is room to work on it; what waited there is replaced by newer frames,
and counted. Ends no sink, and decides nothing about errors but which came first: `stream` does.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from ..errors import SourceError
from ..frame import Frame
from ..io.info import Source
from ..io.sinks.sink import Sink, StopStream
from ..opencv_settings import OpenCvThreads
from ..tasks.task import Feeds, Outputs, Placement, Result, Task
from ..temporal.stage import AheadSteadier, Fresh, Motion, Steadier
from .channel import Channel, Ended, Gate
from .stats import Stats

# Files: deep enough that a slow keyframe does not starve the stages behind it.
_FILE_DEPTH = 8
_FILE_UNDER_WAY = 16
# Live: one frame in the network, one before or behind it; more would only make every result older.
_LIVE_UNDER_WAY = 2
# A live source that was silent for so long has moved on: what was remembered of it is of no use.
_STALE_NS = 1_000_000_000
_JOIN_S = 8.0


@dataclass(slots=True)
class _Item:
    """A frame under way."""

    frame: Frame
    timings: dict[str, float]
    feeds: Feeds = field(default_factory=dict)
    placement: Placement | None = None
    motion: Motion | None = None
    anew: bool = False
    runs: bool = True
    keyframe: bool = False
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """Outputs of the network on one frame, and the milliseconds they took."""

    frame: Frame
    outputs: Outputs
    spent_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When a stream ends by itself, and what is too old.

    Parameters
    ----------
    results : end after so many; None for all
    age_ms : a frame or result that is older is thrown away; None for no budget
    """

    results: int | None = None
    age_ms: float | None = None


class Pipeline:
    """Five threads between a source and the caller of a stream.

    Parameters
    ----------
    source, task, steadier : as of the stream
    sinks : those that are written in a thread of the pipeline
    bounds : when to end, and what is too old
    stats : decoded, dropped and late frames are counted here

    Attributes
    ----------
    error : the first exception of any thread
    source_error : why the source ended before its end; the frames before it still come out
    enough : a limit was reached, or a sink has seen enough: what the source says since is of no account
    """

    def __init__(
        self,
        source: Source,
        task: Task,
        sinks: Sequence[Sink],
        *,
        steadier: Steadier | AheadSteadier | None,
        bounds: Bounds,
        stats: Stats,
    ) -> None:
        self.error: BaseException | None = None
        self.source_error: SourceError | None = None
        self.enough = False
        self._source = source
        self._task = task
        self._sinks = sinks
        self._steadier = steadier
        self._bounds = bounds
        self._stats = stats
        self._live = source.info.live
        depth = 1 if self._live else _FILE_DEPTH
        self._arrivals: Channel[_Item] = Channel(depth, newest=self._live)
        self._to_infer: Channel[_Item] = Channel(_FILE_UNDER_WAY)
        self._inferred: Channel[_Run] = Channel(_FILE_UNDER_WAY)
        self._composing: Channel[_Item | None] = Channel(_FILE_UNDER_WAY)  # None: nothing waits for what follows
        self._writing: Channel[_Item] = Channel(depth)
        self._results: Channel[Result] = Channel(depth)
        self._waiting: deque[_Item] = deque()  # frames that the steadier holds back; of the composing thread
        held_back = steadier.held_back if isinstance(steadier, AheadSteadier) else 0
        self._gate = Gate(_LIVE_UNDER_WAY if self._live else _FILE_UNDER_WAY + held_back)
        self._runs = Gate(_FILE_UNDER_WAY)  # of the network: asked for, and not finished
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._joined = False

    @property
    def started(self) -> bool:
        """Whether the threads were ever started."""
        return bool(self._threads)

    def start(self) -> None:
        """Start every thread."""
        stages = (self._decode, self._prepare, self._infer, self._compose, self._write)
        self._threads = [
            threading.Thread(target=self._guard, args=(stage,), name=f"steadyframe {stage.__name__[1:]}", daemon=True)
            for stage in stages
        ]
        OpenCvThreads.enter()
        self._stats.start()
        for thread in self._threads:
            thread.start()

    def results(self) -> Iterator[Result]:
        """Deliver the results in order; asking for the next one lets a live source take in another frame."""
        while True:
            try:
                result = self._results.get()
            except Ended:
                return
            yield result
            if self._live:
                self._gate.leave()

    def stop(self) -> None:
        """Wake and end every thread; what is under way is dropped."""
        self._source.stop()
        self._gate.shut()
        self._runs.shut()
        channels = (self._arrivals, self._to_infer, self._inferred, self._composing, self._writing, self._results)
        for channel in channels:
            channel.abort()

    def join(self) -> None:
        """Wait for the threads, which were stopped; a network read may hang until its own time limit."""
        for thread in self._threads:
            thread.join(_JOIN_S)
        if self.started and not self._joined:
            self._joined = True
            OpenCvThreads.leave()

    def _guard(self, stage: Callable[[], None]) -> None:
        """Run one stage; the first error of all stages stops everything."""
        try:
            stage()
        except Ended:
            return
        except StopStream:
            self.enough = True
            self.stop()
        except BaseException as error:
            with self._lock:
                self.error = self.error or error
            self.stop()

    def _decode(self) -> None:
        """Read the source to its end, to the limit, or to the loss of its signal."""
        frames = iter(self._source) if self._live else islice(self._source, self._bounds.results)
        try:
            for frame in frames:
                decoded_ms = (time.monotonic_ns() - frame.captured_ns) / 1e6
                self._stats.decoded += 1
                if not self._arrivals.put(_Item(frame, {"decode": decoded_ms})):
                    return
                self._stats.dropped = self._arrivals.dropped
        except SourceError as error:
            self.source_error = error
        finally:
            self._arrivals.finish()
            self._source.close()

    def _prepare(self) -> None:
        """Resize for the network, look at the motion, and decide where the network runs."""
        previous: Frame | None = None
        placement: Placement | None = None
        try:
            while True:
                self._gate.enter()
                item = self._arrivals.get()
                if self._is_late(item.frame):
                    self._drop_late()
                    continue
                item.anew = self._starts_anew(previous, item.frame)
                if item.anew:
                    self._reset()
                    placement = None
                previous = item.frame
                if self._steadier is not None:
                    started = time.perf_counter_ns()
                    may_run = not self._live or self._runs.inside == 0
                    item.motion = self._steadier.observe(item.frame, may_run=may_run)
                    item.runs = item.motion.keyframe
                    item.timings["flow"] = _since_ms(started)
                if item.runs or placement is None:
                    started = time.perf_counter_ns()
                    item.feeds, placement = self._task.preprocess(item.frame)
                    item.timings["preprocess"] = _since_ms(started)
                # Between keyframes the outputs are those of the last one, carried on: they lie where it lay.
                item.placement = replace(placement, frame=item.frame)
                if item.runs:
                    self._runs.enter()
                    self._to_infer.put(item)
                self._composing.put(item)
        finally:
            self._to_infer.finish()
            self._composing.finish()

    def _starts_anew(self, previous: Frame | None, frame: Frame) -> bool:
        """Whether what was remembered says nothing about this frame."""
        if previous is None:
            return True
        if self._source.info.independent or frame.size_wh != previous.size_wh:
            return True
        return self._live and frame.captured_ns - previous.captured_ns > _STALE_NS

    def _reset(self) -> None:
        """Wait until nothing else is under way, then forget earlier frames."""
        if isinstance(self._steadier, AheadSteadier) and self._gate.inside > 1:
            self._composing.put(None)
        self._gate.wait_until(1)  # the frame that is about to be prepared
        self._runs.wait_until(0)
        self._task.reset()
        while self._inferred.poll() is not None:  # a run that no frame waited for any more
            pass
        if self._steadier is not None:
            self._steadier.reset()

    def _infer(self) -> None:
        """Run the network on the frames that were chosen for it."""
        while True:
            item = self._to_infer.get()
            started = time.perf_counter_ns()
            outputs = self._task.infer(item.feeds)
            spent_ms = _since_ms(started)
            item.feeds = {}  # memory, long before the last sink is done with the frame
            self._inferred.put(_Run(item.frame, outputs, spent_ms))
            self._runs.leave()

    def _compose(self) -> None:
        """Join outputs and frames into results."""
        try:
            while True:
                item = self._composing.get()
                if item is None:
                    self._deliver_the_rest()
                    continue
                run = self._run_for(item)
                if run is not None:
                    item.keyframe = run.frame is item.frame
                    item.timings["infer"] = run.spent_ms
                started = time.perf_counter_ns()
                known = self._steadied(item, run)
                if self._steadier is not None:
                    item.timings["steady"] = _since_ms(started)
                self._waiting.append(item)
                self._deliver(known)
        except Ended:
            self._deliver_the_rest()
        finally:
            self._writing.finish()

    def _steadied(self, item: _Item, run: _Run | None) -> list[Outputs]:
        """Give the outputs of the frames that are known now, which may be none, or of earlier frames as well."""
        if self._steadier is None or item.motion is None:
            assert run is not None  # without a steadier every frame has its run
            return [run.outputs]
        fresh = Fresh(run.frame, run.outputs) if run is not None else None
        if isinstance(self._steadier, AheadSteadier):
            return self._steadier.take(item.motion, fresh)
        return [self._steadier.steady(item.motion, fresh)]

    def _deliver(self, known: list[Outputs]) -> None:
        """Make results of the frames that have waited longest, and send them on."""
        for outputs in known:
            item = self._waiting.popleft()
            started = time.perf_counter_ns()
            assert item.placement is not None  # set by _prepare
            made = self._task.postprocess(outputs, item.placement)
            item.timings["postprocess"] = _since_ms(started)
            self._send(item, made)

    def _deliver_the_rest(self) -> None:
        """Make results of the frames that wait for a keyframe which will not come."""
        if isinstance(self._steadier, AheadSteadier) and self._waiting:
            self._deliver(self._steadier.flush())

    def _run_for(self, item: _Item) -> _Run | None:
        """Choose the outputs that this frame shall use; for live sources, those that are ready.

        A file waits for the outputs of its own keyframe, so what comes out does not depend on time.
        """
        if self._steadier is None or not self._live:
            return self._inferred.get() if item.runs else None
        if item.anew:
            return self._inferred.get()
        newest = self._inferred.poll()
        while newest is not None and (newer := self._inferred.poll()) is not None:
            newest = newer
        return newest

    def _send(self, item: _Item, made: Any) -> None:
        """Hand a result on to the sinks, unless it is too old by now."""
        age_ms = (time.monotonic_ns() - item.frame.captured_ns) / 1e6
        if self._bounds.age_ms is not None and age_ms > self._bounds.age_ms:
            self._drop_late()
            return
        item.result = Result(item.frame, made, keyframe=item.keyframe, age_ms=age_ms, timings_ms=item.timings)
        self._writing.put(item)
        if not self._live:
            self._gate.leave()

    def _write(self) -> None:
        """Hand the results to the sinks, then to the caller."""
        delivered = 0
        try:
            while delivered != self._bounds.results:
                item = self._writing.get()
                assert item.result is not None  # set by _send
                started = time.perf_counter_ns()
                for sink in self._sinks:
                    sink.write(item.result)
                if self._sinks:
                    item.timings["write"] = _since_ms(started)
                self._results.put(item.result)
                delivered += 1
            self.enough = True
        finally:
            self._results.finish()

    def _drop_late(self) -> None:
        """Count a frame that was too old, and make room for another."""
        with self._lock:
            self._stats.late += 1
        self._gate.leave()

    def _is_late(self, frame: Frame) -> bool:
        """Whether a frame has waited longer than the budget."""
        age_ns = time.monotonic_ns() - frame.captured_ns
        return self._bounds.age_ms is not None and age_ns > self._bounds.age_ms * 1e6


def _since_ms(started_ns: int) -> float:
    """Milliseconds since a reading of `perf_counter_ns`."""
    return (time.perf_counter_ns() - started_ns) / 1e6
