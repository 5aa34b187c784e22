r"""The threads of a stream, and what they hand to each other.

Owns `Pipeline`::

    decode -> arrivals -> prepare -> finishing -> finish -> one queue a sink -> write
                             |                      ^   \
                             +-> to_infer -> infer -+    +-> results -> the caller

Every arrow is a `Channel`, every stage a thread, and every stage sees the frames in order. `prepare`, `infer` and
`finish` are the three parts of a `Processor`. OpenCV and the engines release the interpreter while they work, so the
stages really overlap.

A file is taken for throughput. One thread does both `prepare` and `finish`: each is many short calls, and two threads
would spend as long on waiting for the interpreter in turns. Where a task's runs do not depend on each other, `infer`
does several at once, each on a part of the cores: none waits for the slowest of its own threads. No frame is dropped.

A live source is taken for young results. A frame is taken from the mailbox only when there is room to work on it;
what waited there is replaced by newer frames, and counted.

Ends no sink, and decides nothing about errors but which came first: `stream` does.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..errors import SourceError
from ..frame import Frame
from ..io.info import Source
from ..io.sinks.sink import Sink, StopStream
from ..opencv_settings import one_opencv_thread
from ..processor import Inference, Processor, Step
from ..tasks.task import Result
from .channel import Channel, Ended, Gate
from .inference import InferenceQueue, step_aside
from .load import LoadGovernor
from .sink_queue import SinkQueue
from .stats import StatsRecorder
from .watch import Watch

# Files: deep enough that a slow keyframe does not starve the stages behind it.
_FILE_DEPTH = 8
_FILE_UNDER_WAY = 16
_FILE_BYTES = 24_000_000  # of frames in each of these: 17 of 720 rows, one of 4K
# Live: one frame in the network, one before or behind it; more would only make every result older.
_LIVE_UNDER_WAY = 2
_TICK_S = 0.1  # so often the caller's thread looks after windows while no result comes
_LEVELS = 4  # of load


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When a stream ends by itself, and what is too old.

    Parameters
    ----------
    results : end after so many; None for all
    age_ms : the load is lowered to keep the age below it, and a frame or result that is older is thrown away; None
        for no budget
    """

    results: int | None = None
    age_ms: float | None = None


class Pipeline:
    """The threads between a source and the caller of a stream.

    Parameters
    ----------
    source, processor : as of the stream
    sinks : those that are written in threads of the pipeline
    bounds : when to end, and what is too old
    stats : decoded, dropped and late frames are counted here
    at_once : runs of the network at the same time; more than one of a `concurrent` task and a file alone

    Attributes
    ----------
    error : the first exception of any thread
    source_error : why the source ended before its end; the frames before it still come out
    enough : a limit was reached, or a sink has seen enough: what the source says since does not matter
    """

    def __init__(
        self,
        source: Source,
        processor: Processor,
        sinks: Sequence[Sink],
        *,
        bounds: Bounds,
        stats: StatsRecorder,
        at_once: int = 1,
    ) -> None:
        self.error: BaseException | None = None
        self.source_error: SourceError | None = None
        self.enough = False
        self._source = source
        self._processor = processor
        self._bounds = bounds
        self._stats = stats
        self._live = source.info.live
        depth = 1 if self._live else _FILE_DEPTH
        self._arrivals: Channel[tuple[Frame, float]] = Channel(depth, newest=self._live)
        self._finishing: Channel[Step] = Channel(_FILE_UNDER_WAY)
        self._results: Channel[Result[Any]] = Channel(depth)
        self._newest: Result[Any] | None = None
        self.watch = Watch()
        self._inference = InferenceQueue(
            processor, at_once=at_once, watch=self.watch, on_run=stats.count_run, on_ready=self._arrivals.nudge
        )
        self.sink_queues = [
            SinkQueue(sink, live=self._live, on_written=stats.written, watch=self.watch) for sink in sinks
        ]
        budget_ms = bounds.age_ms
        self._governor = None if budget_ms is None else LoadGovernor(budget_ms, highest=_LEVELS)
        self._gate = Gate(_LIVE_UNDER_WAY if self._live else _FILE_UNDER_WAY + processor.stage.lookahead)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._unattended = False
        self._joined = False
        self._stopped = False

    @property
    def started(self) -> bool:
        """Whether the threads were ever started."""
        return bool(self._threads)

    def start(self, *, unattended: bool = False) -> None:
        """Start every thread.

        Parameters
        ----------
        unattended : no caller iterates over the results; they go only to the sinks and to `newest`
        """
        self._unattended = unattended
        stages: dict[str, Callable[[], None]] = {
            "decode": self._decode,
            "infer": self._inference.run,
        }
        if self._live:
            stages |= {"prepare": self._prepare, "finish": self._finish}
        else:
            stages |= {"prepare and finish": self._prepare_and_finish}
        writers = [(f"write {queue.address}", queue.run) for queue in self.sink_queues]
        self._threads = [
            threading.Thread(target=self._guard, args=(stage,), name=f"steadyframe {name}", daemon=True)
            for name, stage in (*stages.items(), *writers)
        ]
        one_opencv_thread.enter()
        self._stats.start()
        for thread in self._threads:
            thread.start()

    def results(self) -> Iterator[Result[Any] | None]:
        """Deliver the results in order, and None ten times a second while there is none.

        Asking for the next one lets a live source take in another frame.
        """
        while True:
            try:
                result = self._results.get_within(_TICK_S)
            except Ended:
                break
            yield result
            if self._live and result is not None:
                self._gate.leave()
        for queue in self.sink_queues:
            queue.wait()

    def newest(self, timeout_s: float) -> Result[Any] | None:
        """Give the newest result; wait for a first one, until the time is over or the stream has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._results.finished, timeout_s)
            return self._newest

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until every result was made and written; returns whether that is so."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self, *, drain: bool = False) -> None:
        """Wake and end every thread; what is under way is dropped.

        Parameters
        ----------
        drain : let the sinks write what was handed to them
        """
        self._stopped = True
        self._source.stop()
        self._gate.shut()
        self._inference.abort()
        for channel in (self._arrivals, self._finishing, self._results):
            channel.abort()
        for queue in self.sink_queues:
            if drain and self.started:
                queue.finish()
            else:
                queue.abort()
        with self._changed:
            self._changed.notify_all()

    def join_writers(self, patience_s: float) -> list[Sink]:
        """Wait for the threads that write, after the end; what still waits in a queue by then is dropped.

        Returns
        -------
        list of Sink
            Those that are still being written: they cannot be closed.
        """
        writers = self._threads[len(self._threads) - len(self.sink_queues) :]
        for last in (False, True):
            until = time.monotonic() + patience_s
            for thread in writers:
                thread.join(max(0.0, until - time.monotonic()))
            if last or not any(thread.is_alive() for thread in writers):
                break
            for queue in self.sink_queues:
                queue.abort()
        return [queue.sink for queue, thread in zip(self.sink_queues, writers, strict=False) if thread.is_alive()]

    def join(self, patience_s: float) -> list[str]:
        """Wait for the threads, which were stopped; returns the names of those that have not ended."""
        until = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if self.started and not self._joined:
            self._joined = True
            one_opencv_thread.leave()
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _guard(self, stage: Callable[[], None]) -> None:
        """Run one stage; the first error of all stages stops everything."""
        try:
            stage()
        except Ended:
            return
        except StopStream:
            self.enough = True
            self.stop(drain=True)
        except BaseException as error:
            with self._lock:
                self.error = self.error or error
            self.stop()

    def _decode(self) -> None:
        """Read the source to its end, to the limit, or to the loss of its signal."""
        if not self._live:
            step_aside()
        frames = iter(self._source) if self._live else islice(self._source, self._bounds.results)
        try:
            while self._arrivals.wait_for_room():  # a frame of a file is decoded when there is room for it
                frame = next(frames, None)
                if frame is None:
                    break
                self._narrow(frame)
                self._stats.count_decoded()
                if not self._arrivals.put((frame, (time.monotonic_ns() - frame.captured_ns) / 1e6)):
                    return
                self._stats.set_dropped(self._arrivals.dropped + getattr(self._source, "dropped", 0))
                del frame  # not kept while the next one is decoded
        except SourceError as error:
            self.source_error = error
        finally:
            self._arrivals.finish()
            self._source.close()

    def _narrow(self, frame: Frame) -> None:
        """Let as many frames of a file wait as fit into a bound of memory, whatever their size."""
        if self._live or frame.num_bytes * _FILE_UNDER_WAY <= _FILE_BYTES:
            return
        room = max(1, _FILE_BYTES // frame.num_bytes)
        stage = self._processor.stage
        held_back = getattr(stage, "held_back", None)
        lookahead = stage.lookahead if held_back is None else held_back(frame)
        self._gate.narrow(max(2, room - 1 + lookahead))
        depth = max(1, room // 2)
        self._arrivals.narrow(depth)
        self._results.narrow(depth, counts_taken=True)
        for queue in self.sink_queues:
            queue.narrow(depth)

    def _prepare(self) -> None:
        """Look at the motion, decide where the network runs, and resize for it."""
        try:
            while True:
                self._gate.enter()
                frame, decode_ms = self._arrivals.get()
                if self._is_hopeless(frame):
                    self._drop_late()
                    continue
                self._finishing.put(self._prepared(frame, decode_ms, may_run=self._inference.idle))
                del frame
        finally:
            self._inference.finish()
            self._finishing.finish()

    def _prepared(self, frame: Frame, decode_ms: float, *, may_run: bool = True) -> Step:
        """Prepare a frame, and hand it to the network if that was chosen for it."""
        with self.watch.at("prepare"):
            step = self._processor.prepare(frame, may_run=may_run)
        step.timings_ms = {"decode": decode_ms, **step.timings_ms}
        if step.runs:
            self._inference.submit(step)
        return step

    def _prepare_and_finish(self) -> None:
        """Do both for a file: finish a frame when its outputs are there, and prepare further ones until then."""
        waiting: deque[Step] = deque()

        def is_ready() -> bool:
            return bool(waiting) and (not waiting[0].runs or self._inference.ready)

        def steps() -> Iterator[Step]:
            try:
                while True:
                    while is_ready() or (waiting and self._gate.full):
                        yield waiting.popleft()
                    arrived = self._arrivals.get_unless(is_ready)
                    if arrived is not None:
                        self._gate.enter()
                        waiting.append(self._prepared(*arrived))
                    del arrived  # a large frame is not kept while its result is made
            except Ended:
                if not self._stopped:
                    yield from waiting
            finally:
                self._inference.finish()

        self._deliver(steps())

    def _finish(self) -> None:
        """Join outputs and frames into results, and hand them on."""

        def steps() -> Iterator[Step]:
            with suppress(Ended):
                while True:
                    yield self._finishing.get()

        self._deliver(steps())

    def _deliver(self, steps: Iterator[Step]) -> None:
        """Finish steps, and hand their results on, until there are enough."""
        delivered = 0
        try:
            for step in steps:
                for result in self._finished(step):
                    delivered += self._send(result)
                    if delivered == self._bounds.results:
                        self.enough = True
                        return
                    del result
                del step
            for result in self._processor.flush():
                self._send(result)
        finally:
            self._results.finish()
            for queue in self.sink_queues:
                queue.finish()
            with self._changed:
                self._changed.notify_all()
            if self.enough:
                self._source.stop()
                self._gate.shut()

    def _finished(self, step: Step) -> Iterator[Result[Any]]:
        """Make the results that are final with a step, one by one: each may be a large image."""
        results = self._processor.finish_each(step, self._inference_for(step))
        while True:
            with self.watch.at("finish"):
                result = next(results, None)
            if result is None:
                return
            yield result
            del result

    def _inference_for(self, step: Step) -> Inference | None:
        """Choose the outputs that this frame shall use; for live sources, those that are ready.

        A file waits for the outputs of its own keyframe, so what comes out does not depend on time.
        """
        if not self._live or self._processor.stage.every_frame or step.motion.restart:
            return self._inference.take(step) if step.runs else None
        return self._inference.newest()

    def _send(self, result: Result[Any]) -> bool:
        """Hand a result to the sinks and to the caller, unless it is too old by now."""
        if self._is_late(result.frame):
            self._drop_late()
            return False
        react = getattr(self._source, "react", None)
        if react is not None:  # a world that is played waits for what was decided on its last frame
            react(result.output)
        for queue in self.sink_queues:
            queue.put(result)
        with self._changed:
            self._newest = result
            self._changed.notify_all()
        if self._unattended:
            self._stats.record(result, age_ms=result.age_now_ms() if self._live else None)
        else:
            self._results.put(result)
        if self._unattended or not self._live:
            self._gate.leave()
        return True

    def _drop_late(self) -> None:
        """Count a frame that was too old, and make room for another."""
        self._stats.count_late()
        self._gate.leave()

    def _is_hopeless(self, frame: Frame) -> bool:
        """Whether a frame is older than the budget before any work on it."""
        budget_ms = self._bounds.age_ms
        return budget_ms is not None and frame_age_ms(frame) > budget_ms and self._is_late(frame)

    def _is_late(self, frame: Frame) -> bool:
        """Whether a frame, or the result of one, is older than the budget; lowers the load before it is."""
        if self._governor is None or self._bounds.age_ms is None:
            return False
        now_ns = time.monotonic_ns()
        age_ms = frame_age_ms(frame)
        late = age_ms > self._bounds.age_ms
        with self._lock:
            level = self._governor.add(age_ms, now_ns / 1e9)
        if level is not None:
            self._stats.set_load(self._processor.work_less(level))
        return late


def frame_age_ms(frame: Frame) -> float:
    """Age of a frame now, in milliseconds."""
    return (time.monotonic_ns() - frame.captured_ns) / 1e6
