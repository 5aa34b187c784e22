"""A source, a task and sinks, working at the same time.

Owns `Stream`: how a stream is used, how it ends, and what becomes of its outputs. Its threads are those of
`pipeline`. Imports no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from ..errors import UsageError
from ..io.info import Signal, Source
from ..io.sinks import open_sink
from ..io.sinks.sink import Sink, StopStream
from ..io.sources import open_source
from ..tasks.task import Result, Task
from ..temporal.stage import AheadSteadier, Steadier
from .pipeline import Bounds, Pipeline
from .stats import Stats


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
        steadier: Steadier | AheadSteadier | None = None,
        limit: int | None = None,
        max_age_ms: float | None = None,
    ) -> None:
        if limit is not None and limit < 1:
            raise UsageError("A stream delivers at least one result", expected="limit of 1 or more", found=limit)
        self.source = open_source(source)
        self.task = task
        self.stats = Stats()
        self.sinks: list[Sink] = []
        try:
            if max_age_ms is not None and not self.source.info.live:
                raise UsageError("Only live sources have a budget of age; files never drop a frame")
            if self.source.info.live and isinstance(steadier, AheadSteadier):
                expected = "a steadier that was opened without `ahead`"
                raise UsageError("A live stream cannot wait for the frames to come", expected=expected)
            for sink in sinks:
                self.sinks.append(open_sink(sink, self.source.info, task=task.name))
        except BaseException:
            self._end_sinks(keep=False)
            self.source.close()
            raise
        self._pipeline = Pipeline(
            self.source,
            task,
            [sink for sink in self.sinks if not sink.in_callers_thread],
            steadier=steadier,
            bounds=Bounds(results=limit, age_ms=max_age_ms),
            stats=self.stats,
        )
        self._closed = False
        self._managed = False  # used in a `with`

    @property
    def signal(self) -> Signal:
        """Whether the source delivers right now; may be read from any thread."""
        return self.source.signal

    def run(self, on_result: Callable[[Result], None] | None = None) -> Stats:
        """Run to the end; `on_result` is called in this thread, with every result, in order."""
        with self:
            for result in self:
                if on_result is not None:
                    on_result(result)
        return self.stats

    def __iter__(self) -> Iterator[Result]:
        """Start the threads and deliver the results in order; leaving the loop ends the stream cleanly."""
        pipeline = self._pipeline
        if pipeline.started or self._closed:
            raise UsageError("A stream can be used once", todo="Make another Stream")
        pipeline.start()
        keep = left = False
        try:
            yield from self._deliver()
            # What came before a loss of signal is finished; nothing is made of nothing.
            keep = pipeline.error is None and (pipeline.source_error is None or self.stats.frames > 0)
        except StopStream:
            keep = pipeline.enough = True
        except KeyboardInterrupt:
            keep = True
            raise
        except GeneratorExit:
            # The loop was left, by `break` or by an error in its body; inside a `with`, only its end knows by which.
            pipeline.stop()
            left = keep = True
            raise
        finally:
            if not (left and self._managed):
                self.close(keep=keep)
        if pipeline.error is not None:
            raise pipeline.error
        if pipeline.source_error is not None and not pipeline.enough:
            raise pipeline.source_error

    def _deliver(self) -> Iterator[Result]:
        """Show, count and hand over what the pipeline has finished."""
        shown = [sink for sink in self.sinks if sink.in_callers_thread]
        for result in self._pipeline.results():
            for sink in shown:
                sink.write(result)
            self.stats.record(result.timings_ms, age_ms=result.age_ms, keyframe=result.keyframe)
            yield result

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
        try:
            self._pipeline.stop()
            self._pipeline.join()
            if not self._pipeline.started:
                self.source.close()
        finally:
            self._end_sinks(keep=keep)

    def _end_sinks(self, *, keep: bool) -> None:
        """Close every sink, or discard it; the first failure is raised when all were ended."""
        failed: Exception | None = None
        for sink in self.sinks:
            try:
                if keep:
                    sink.close()
                else:
                    sink.discard()
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed
