"""A source, a processor and sinks, working at the same time.

Owns `Stream`: how a stream is used, how it ends, and what becomes of its outputs. Its threads are those of
`pipeline`. Imports no engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from ..errors import NothingYoungEnough, SteadyframeError, UsageError
from ..io.live.signal import Signal, SignalLog
from ..io.sinks import open_sink
from ..io.sinks.sink import Sink, StopStream
from ..io.sources import open_source
from ..processor import Processor
from ..tasks.task import Result
from .pipeline import Bounds, Pipeline
from .stats import Stats, StatsRecorder
from .watch import Stuck

_PATIENCE_S = 8.0  # for a run of the network that is under way
_INTERRUPTED_S = 0.4  # after Ctrl-C: an end is wanted within a second
_FIRST_RESULT_S = 30.0  # a network may take so long to warm up


class Stream:
    """Run a processor on every frame of a source, and pass each result to the sinks and to the caller.

    A stream is used once: iterate over it, call `run`, or ask for the `latest` result now and then. It closes its
    source, its sinks and its processor, in this order, and only when none of its threads is alive.

    Parameters
    ----------
    source : an open source, or whatever `open_source` takes
    processor : what is done to every frame; it closes its task only if it owns it (`steadyframe.open_stream` does)
    sinks : open sinks, or whatever `open_sink` takes
    limit : end after so many results
    max_age_ms : live sources only: a frame or a result that is older is thrown away, and counted as late
    at_once : files only: runs of the network at the same time, of a task whose descriptor says `concurrent`

    Raises
    ------
    SteadyframeError
        Whatever stopped the stream first, in whichever thread, is raised to the caller. After a `SourceError` the
        frames that did arrive are finished and the sinks closed; after any other error the sinks discard what is
        half-written.
    UsageError
        If the limit is below 1, a file is given a budget of age, or the processor looks ahead on a live source.

    Examples
    --------
    >>> from steadyframe.runtime.opening import open_stream
    >>> with open_stream("colorize", "sample://", ["out.mp4"], limit=90) as stream:
    ...     for result in stream:
    ...         pass
    """

    def __init__(
        self,
        source: object,
        processor: Processor,
        sinks: Sequence[object] = (),
        *,
        limit: int | None = None,
        max_age_ms: float | None = None,
        at_once: int = 1,
    ) -> None:
        self.processor = processor
        self.task = processor.task
        self.sinks: list[Sink] = []
        self._recorder = StatsRecorder()
        self._closed = False
        self._managed = False  # used in a `with`
        try:
            if limit is not None and limit < 1:
                raise UsageError("A stream delivers at least one result", expected="limit of 1 or more", found=limit)
            self.source = open_source(source)
        except BaseException:
            processor.close()
            raise
        try:
            live = self.source.info.live
            if max_age_ms is not None and not live:
                raise UsageError("Only live sources have a budget of age; files never drop a frame")
            if live and processor.stage.lookahead:
                expected = "a stage made with `live=True`"
                raise UsageError("A live stream cannot wait for the frames to come", expected=expected)
            processor.live = live
            for sink in sinks:
                self.sinks.append(open_sink(sink, self.source.info, task=self.task.name))
        except BaseException:
            self._end_sinks(keep=False)
            self.source.close()
            processor.close()
            raise
        self._pipeline = Pipeline(
            self.source,
            processor,
            [sink for sink in self.sinks if not sink.in_callers_thread],
            bounds=Bounds(results=limit, age_ms=max_age_ms),
            stats=self._recorder,
            at_once=1 if live else at_once,
        )

    @property
    def signal(self) -> Signal:
        """State of the source right now; may be read from any thread."""
        return self.source.signal

    @property
    def signal_log(self) -> SignalLog | None:
        """Events of a live source, with causes; None for sources that have none. May be read from any thread."""
        found: SignalLog | None = getattr(self.source, "signal_log", None)
        return found

    @property
    def stats(self) -> Stats:
        """The current figures; the same as `snapshot()`."""
        return self.snapshot()

    def snapshot(self) -> Stats:
        """Return the current figures, immutable; may be called from any thread."""
        dropped = {queue.address: queue.dropped for queue in self._pipeline.sink_queues}
        figures = self._recorder.snapshot(dropped)
        stuck = self._pipeline.watch.stuck()
        figures = replace(figures, stuck="" if stuck is None else stuck.text)
        log = self.signal_log
        if log is None:
            return replace(figures, signal=self.signal.value)
        cause = "" if log.event.cause is None else log.event.cause.name
        return replace(figures, signal=self.signal.value, cause=cause, stalls=log.stalls, reconnects=log.reconnects)

    @property
    def stuck(self) -> Stuck | None:
        """The part that has been at one frame for more than 10 s; None if none has. May be read from any thread."""
        return self._pipeline.watch.stuck()

    @property
    def lowered(self) -> str:
        """How the load is lowered to keep the age within its budget, in words; empty if it is not."""
        return self._recorder.lowered

    def start(self) -> Stream:
        """Run in the background: the results go to the sinks, functions included, and to `latest`.

        `wait`, `latest` and the end of a `with` raise what stopped it.

        Raises
        ------
        UsageError
            If the stream was used already, or has a window, which only the thread that iterates can show.
        """
        windows = [sink.address for sink in self.sinks if sink.in_callers_thread]
        if windows:
            raise UsageError("A window is shown by the thread that iterates", found=windows[0], todo="Use `run`")
        self._start(unattended=True)
        return self

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until a stream that was started has ended; returns whether it has.

        Raises
        ------
        SteadyframeError
            Whatever stopped it; an error of a function among the sinks as it is.
        """
        ended = self._pipeline.wait(timeout_s)
        self._raise_errors()
        return ended

    def run(self, on_result: Callable[[Result[Any]], None] | None = None) -> Stats:
        """Run to the end; `on_result` is called in this thread, with every result, in order."""
        with self:
            for result in self:
                if on_result is not None:
                    on_result(result)
        return self.snapshot()

    def latest(self, max_age_ms: float) -> Result[Any]:
        """Return the newest result, for a control loop that runs at its own rate; the first call starts the stream.

        The first call waits for the first result. A stream that is used so is not iterated over.

        Parameters
        ----------
        max_age_ms : age, now, that the result may have

        Raises
        ------
        NothingYoungEnough
            If the newest result is older, or there is none.
        SteadyframeError
            Whatever stopped the stream.
        """
        if not self._pipeline.started:
            self._start(unattended=True)
        result = self._pipeline.newest(_FIRST_RESULT_S)
        self._raise_errors()
        age_ms = float("inf") if result is None else result.age_now_ms()
        if result is None or age_ms > max_age_ms:
            raise NothingYoungEnough(
                "There is no result that is young enough",
                expected=f"at most {max_age_ms:g} ms",
                found=self._why_old(None if result is None else age_ms),
            )
        return result

    def _why_old(self, age_ms: float | None) -> str:
        """Describe what there is in place of a young result."""
        stuck = self.stuck
        parts = ["no result yet" if age_ms is None else f"{age_ms:.0f} ms", f"signal {self.signal.value}"]
        return ", ".join([*parts, *(() if stuck is None else (stuck.text,))])

    def __iter__(self) -> Iterator[Result[Any]]:
        """Start the threads and deliver the results in order; leaving the loop ends the stream cleanly."""
        pipeline = self._pipeline
        self._start()
        keep = left = interrupted = False
        try:
            yield from self._deliver()
            # What came before a loss of signal is finished; nothing is made of nothing.
            keep = pipeline.error is None and (pipeline.source_error is None or self.snapshot().frames > 0)
        except StopStream:
            keep = pipeline.enough = True
        except KeyboardInterrupt:
            keep = interrupted = True
            raise
        except GeneratorExit:
            # The loop was left, by `break` or by an error in its body; inside a `with`, only its end knows by which.
            pipeline.stop(drain=True)
            left = keep = True
            raise
        finally:
            if interrupted and not self._closed:
                self._closed = True
                self._shut(keep=True, patience_s=_INTERRUPTED_S)  # the program ends: whatever hangs ends with it
            elif not (left and self._managed):
                self.close(keep=keep)
        self._raise_errors()

    async def __aiter__(self) -> AsyncIterator[Result[Any]]:
        """Deliver the results in order without blocking the event loop."""
        results = iter(self)
        done = object()
        try:
            while (result := await asyncio.to_thread(next, results, done)) is not done:
                yield result  # type: ignore[misc]
        finally:
            await asyncio.to_thread(results.close)  # type: ignore[attr-defined]

    def _start(self, *, unattended: bool = False) -> None:
        if self._pipeline.started or self._closed:
            raise UsageError("A stream can be used once", todo="Make another Stream")
        self._pipeline.start(unattended=unattended)

    def _raise_errors(self) -> None:
        """Raise what stopped the pipeline, if anything did."""
        pipeline = self._pipeline
        if pipeline.error is not None:
            raise pipeline.error
        if pipeline.source_error is not None and not pipeline.enough:
            raise pipeline.source_error

    def _deliver(self) -> Iterator[Result[Any]]:
        """Show, count and yield what the pipeline has finished."""
        shown = [sink for sink in self.sinks if sink.in_callers_thread]
        for result in self._pipeline.results():
            if result is None:
                self._idle(shown)
                continue
            age_ms = result.age_now_ms() if self.source.info.live else None  # before a window waits for its screen
            for sink in shown:
                sink.write(result)
            self._recorder.record(result, age_ms=age_ms)
            yield result

    def _idle(self, shown: Sequence[Sink]) -> None:
        """Let windows listen to the user, and show why no result comes."""
        log = self.signal_log
        for sink in shown:
            idle = getattr(sink, "idle", None)
            if idle is not None:
                idle(None if log is None else log.event)

    def __enter__(self) -> Stream:
        self._managed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(keep=kind is None or not issubclass(kind, Exception))

    def close(self, *, keep: bool = True, patience_s: float = _PATIENCE_S) -> None:
        """Stop every thread, then end the sinks and close source and processor; does nothing the second time.

        The sinks are closed as soon as the threads that write have ended, so files are whole even if a session hangs.

        Parameters
        ----------
        keep : finish what was written; otherwise what is half-written is removed
        patience_s : how long a thread that hangs is waited for

        Raises
        ------
        SteadyframeError
            If a thread does not end, and says which one. Nothing that it may still use is closed then.
        SinkError
            If an output could not be finished.
        """
        if self._closed:
            return
        self._closed = True
        hanging = self._shut(keep=keep, patience_s=patience_s)
        if hanging:
            raise SteadyframeError(
                f"The stream was stopped, and {', '.join(hanging)} did not end",
                expected=f"an end within {patience_s:g} s",
                todo="What that thread uses was left open",
            )

    def _shut(self, *, keep: bool, patience_s: float) -> list[str]:
        """Stop, end and close all that no thread uses any more; returns the names of threads that hang."""
        self._pipeline.stop(drain=keep and self._pipeline.error is None)
        in_use = self._pipeline.join_writers(patience_s)
        hanging: list[str] = []
        try:
            if not self._pipeline.started:
                self.source.close()
            self._end_sinks(keep=keep, in_use=in_use)
        finally:
            hanging = self._pipeline.join(patience_s)
            if not hanging:
                self.processor.close()
        return hanging

    def _end_sinks(self, *, keep: bool, in_use: Sequence[Sink] = ()) -> None:
        """Close every sink, or discard it; the first failure is raised when all were ended."""
        failed: Exception | None = None
        for sink in self.sinks:
            if sink in in_use:
                continue
            try:
                if keep:
                    sink.close()
                else:
                    sink.discard()
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed
