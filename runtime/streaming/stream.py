"""A source, a task and sinks, working at the same time.

Owns `Stream` and its threads::

    decode -> arrivals -> prepare -> composing -> compose -> writing -> write -> results -> the caller
                             |                       ^
                             +-> to_infer -> infer --+ inferred

Every arrow is a `Channel`, every stage a thread, and every stage sees the frames in order. OpenCV and the engines
release the interpreter while they work, so the stages really overlap. Files never drop a frame. Of a live source, a
frame is taken from the mailbox only when there is room to work on it; what waited there is replaced by newer frames,
and counted. Imports no engine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import TracebackType
from typing import Any

from ..errors import SourceError, UsageError
from ..frame import Frame
from ..task import Feeds, Outputs, Placement, StreamResult, Task
from .channel import Channel, Ended, Gate
from .sinks import Sink, StopStream, open_sink
from .sources import Signal, Source, open_source
from .stats import Stats
from .temporal import Fresh, Motion, Steadier

# Files: deep enough that a slow keyframe does not starve the stages behind it.
_FILE_DEPTH = 4
_FILE_UNDER_WAY = 8
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
    result: StreamResult | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """Outputs of the network on one frame, and the milliseconds they took."""

    frame: Frame
    outputs: Outputs
    spent_ms: float


class Stream:
    """Run a task on every frame of a source, and hand each result to the sinks and to the caller.

    A stream is used once: iterate over it, or call `run`. It closes its source and its sinks; the task stays open,
    and belongs to whoever opened it.

    Parameters
    ----------
    source : an open source, or its address
    task : from `steadyframe.runtime.tasks.open_task`
    sinks : open sinks, or their addresses
    steadier : the temporal stage; None runs the network on every frame
    limit : end after so many results
    max_age_ms : live sources only: a frame or a result that is older is thrown away, and counted as late

    Raises
    ------
    SteadyframeError
        Whatever stopped the stream first, in whichever thread, is raised to the caller. After a `SourceError` the
        frames that did arrive are finished and the sinks closed; after any other error the sinks discard what is
        half-written.

    Examples
    --------
    >>> from steadyframe.runtime.tasks import open_task
    >>> with Stream("sample://", open_task("colorize"), ["out.mp4"], limit=90) as stream:
    ...     for result in stream:
    ...         pass
    """

    def __init__(
        self,
        source: Source | str,
        task: Task,
        sinks: Sequence[Sink | str] = (),
        *,
        steadier: Steadier | None = None,
        limit: int | None = None,
        max_age_ms: float | None = None,
    ) -> None:
        if limit is not None and limit < 1:
            raise UsageError("A stream delivers at least one result", expected="limit of 1 or more", found=limit)
        self.source = open_source(source) if isinstance(source, str) else source
        self.task = task
        self.stats = Stats()
        self.sinks: list[Sink] = []
        self._steadier = steadier
        self._limit = limit
        self._max_age_ms = max_age_ms
        self._live = self.source.info.live
        try:
            if max_age_ms is not None and not self._live:
                raise UsageError("Only live sources have a budget of age; files never drop a frame")
            for sink in sinks:
                opened = open_sink(sink, self.source.info, task=task.name) if isinstance(sink, str) else sink
                self.sinks.append(opened)
        except BaseException:
            self._end_sinks(keep=False)
            self.source.close()
            raise
        depth = 1 if self._live else _FILE_DEPTH
        self._arrivals: Channel[_Item] = Channel(depth, newest=self._live)
        self._to_infer: Channel[_Item] = Channel(_FILE_UNDER_WAY)
        self._inferred: Channel[_Run] = Channel(_FILE_UNDER_WAY)
        self._composing: Channel[_Item] = Channel(_FILE_UNDER_WAY)
        self._writing: Channel[_Item] = Channel(depth)
        self._results: Channel[_Item] = Channel(depth)
        self._gate = Gate(_LIVE_UNDER_WAY if self._live else _FILE_UNDER_WAY)
        self._runs = Gate(_FILE_UNDER_WAY)  # of the network: asked for, and not finished
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._source_error: SourceError | None = None
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._managed = False  # used in a `with`
        self._enough = False  # the limit was reached, or the user has quit: what the source says now is of no account

    @property
    def signal(self) -> Signal:
        """Whether the source delivers right now; may be read from any thread."""
        return self.source.signal

    def run(self, on_result: Callable[[StreamResult], None] | None = None) -> Stats:
        """Run to the end; `on_result` is called in this thread, with every result, in order."""
        with self:
            for result in self:
                if on_result is not None:
                    on_result(result)
        return self.stats

    def __iter__(self) -> Iterator[StreamResult]:
        """Start the threads and deliver the results in order; leaving the loop ends the stream cleanly."""
        if self._threads or self._closed:
            raise UsageError("A stream can be used once", todo="Make another Stream")
        self._start()
        keep = left = False
        try:
            yield from self._deliver()
            # What came before a loss of signal is finished; nothing is made of nothing.
            keep = self._error is None and (self._source_error is None or self.stats.frames > 0)
        except StopStream:
            keep = self._enough = True
        except KeyboardInterrupt:
            keep = True
            raise
        except GeneratorExit:
            # The loop was left, by `break` or by an error in its body; inside a `with`, only its end knows by which.
            self._stop()
            left = keep = True
            raise
        finally:
            if not (left and self._managed):
                self.close(keep=keep)
        if self._error is not None:
            raise self._error
        if self._source_error is not None and not self._enough:
            raise self._source_error

    def _deliver(self) -> Iterator[StreamResult]:
        """Take finished items, show and count them."""
        shown = [sink for sink in self.sinks if sink.in_callers_thread]
        while True:
            try:
                item = self._results.get()
            except Ended:
                return
            result = item.result
            assert result is not None  # set by _send for every item that goes on
            for sink in shown:
                sink.write(result)
            self.stats.dropped = self._arrivals.dropped
            self.stats.record(result.timings_ms, age_ms=result.age_ms, keyframe=result.keyframe)
            yield result
            if self._live:
                self._gate.leave()

    def __enter__(self) -> Stream:
        self._managed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(keep=kind is None or not issubclass(kind, Exception))

    def close(self, *, keep: bool = True) -> None:
        """Stop every thread and end the sinks; does nothing the second time.

        Parameters
        ----------
        keep : finish what was written; otherwise what is half-written is removed

        Raises
        ------
        SinkError
            If an output could not be finished.
        """
        if self._closed:
            return
        self._closed = True
        self._stop()
        for thread in self._threads:
            thread.join(_JOIN_S)  # a network read may hang until its own time limit
        if not self._threads:
            self.source.close()
        self.stats.dropped = self._arrivals.dropped
        self._end_sinks(keep=keep)

    # The threads. Each one is started by `_start` under `_guard`.

    def _start(self) -> None:
        stages = (self._decode, self._prepare, self._infer, self._compose, self._write)
        self._threads = [
            threading.Thread(target=self._guard, args=(stage,), name=f"steadyframe {stage.__name__[1:]}", daemon=True)
            for stage in stages
        ]
        self.stats.start()
        for thread in self._threads:
            thread.start()

    def _guard(self, stage: Callable[[], None]) -> None:
        """Run one stage; the first error of all stages stops everything."""
        try:
            stage()
        except Ended:
            return
        except StopStream:
            self._enough = True
            self._stop()
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
            self._stop()

    def _stop(self) -> None:
        """Wake and end every thread; what is under way is dropped."""
        self.source.stop()
        self._gate.shut()
        self._runs.shut()
        channels = (self._arrivals, self._to_infer, self._inferred, self._composing, self._writing, self._results)
        for channel in channels:
            channel.abort()

    def _decode(self) -> None:
        """Read the source to its end, to the limit, or to the loss of its signal."""
        frames = iter(self.source) if self._live else islice(self.source, self._limit)
        try:
            for frame in frames:
                decoded_ms = (time.monotonic_ns() - frame.captured_ns) / 1e6
                self.stats.decoded += 1
                if not self._arrivals.put(_Item(frame, {"decode": decoded_ms})):
                    return
        except SourceError as error:
            self._source_error = error
        finally:
            self._arrivals.finish()
            self.source.close()

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
                previous = item.frame
                if self._steadier is not None:
                    started = time.perf_counter_ns()
                    may_run = not self._live or self._runs.inside == 0
                    item.motion = self._steadier.observe(item.frame, may_run=may_run)
                    item.runs = item.motion.keyframe
                    item.timings["flow"] = _since_ms(started)
                if item.runs or placement is None:
                    started = time.perf_counter_ns()
                    item.feeds, placement = self.task.preprocess(item.frame)
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
        if self.source.info.independent or frame.pixels.shape != previous.pixels.shape:
            return True
        return self._live and frame.captured_ns - previous.captured_ns > _STALE_NS

    def _reset(self) -> None:
        """Wait until nothing else is under way, then forget earlier frames."""
        self._gate.wait_until(1)  # the frame that is about to be prepared
        self._runs.wait_until(0)
        self.task.reset()
        while self._inferred.poll() is not None:  # a run that no frame waited for any more
            pass
        if self._steadier is not None:
            self._steadier.reset()

    def _infer(self) -> None:
        """Run the network on the frames that were chosen for it."""
        while True:
            item = self._to_infer.get()
            started = time.perf_counter_ns()
            outputs = self.task.infer(item.feeds)
            spent_ms = _since_ms(started)
            item.feeds = {}  # memory, long before the last sink is done with the frame
            self._inferred.put(_Run(item.frame, outputs, spent_ms))
            self._runs.leave()

    def _compose(self) -> None:
        """Join outputs and frames into results."""
        try:
            while True:
                item = self._composing.get()
                run = self._run_for(item)
                started = time.perf_counter_ns()
                if run is not None:
                    item.timings["infer"] = run.spent_ms
                if self._steadier is not None and item.motion is not None:
                    fresh = Fresh(run.frame, run.outputs) if run is not None else None
                    outputs = self._steadier.steady(item.motion, fresh)
                    item.timings["steady"] = _since_ms(started)
                    started = time.perf_counter_ns()
                else:
                    assert run is not None  # without a steadier every frame has its run
                    outputs = run.outputs
                assert item.placement is not None  # set by _prepare
                made = self.task.postprocess(outputs, item.placement)
                item.timings["postprocess"] = _since_ms(started)
                keyframe = run is not None and run.frame is item.frame
                self._send(item, made, keyframe=keyframe)
        finally:
            self._writing.finish()

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

    def _send(self, item: _Item, made: Any, *, keyframe: bool) -> None:
        """Hand a result on to the sinks, unless it is too old by now."""
        age_ms = (time.monotonic_ns() - item.frame.captured_ns) / 1e6
        if self._max_age_ms is not None and age_ms > self._max_age_ms:
            self._drop_late()
            return
        item.result = StreamResult(item.frame, made, keyframe=keyframe, age_ms=age_ms, timings_ms=item.timings)
        self._writing.put(item)
        if not self._live:
            self._gate.leave()

    def _write(self) -> None:
        """Hand the results to the sinks, then to the caller."""
        sinks = [sink for sink in self.sinks if not sink.in_callers_thread]
        delivered = 0
        try:
            while delivered != self._limit:
                item = self._writing.get()
                assert item.result is not None  # set by _send
                started = time.perf_counter_ns()
                for sink in sinks:
                    sink.write(item.result)
                if sinks:
                    item.timings["write"] = _since_ms(started)
                self._results.put(item)
                delivered += 1
            self._enough = True
        finally:
            self._results.finish()

    def _drop_late(self) -> None:
        """Count a frame that was too old, and make room for another."""
        with self._lock:
            self.stats.late += 1
        self._gate.leave()

    def _is_late(self, frame: Frame) -> bool:
        """Whether a frame has waited longer than the budget."""
        age_ns = time.monotonic_ns() - frame.captured_ns
        return self._max_age_ms is not None and age_ns > self._max_age_ms * 1e6

    def _end_sinks(self, *, keep: bool) -> None:
        """Close every sink, or discard it; the first failure is raised after all were ended."""
        failed: Exception | None = None
        for sink in self.sinks:
            try:
                if keep and failed is None:
                    sink.close()
                else:
                    sink.discard()
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed


def _since_ms(started_ns: int) -> float:
    """Milliseconds since a reading of `perf_counter_ns`."""
    return (time.perf_counter_ns() - started_ns) / 1e6
