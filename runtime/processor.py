"""The one synchronous step: prepare, infer, finish.

Owns `Processor`. The threads of a stream call its three parts; a control loop, a batch job, calibration, parity and
the benches call `process`. There is no other loop over a task in the project.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary, ref

from .errors import UsageError
from .frame import Frame
from .tasks.task import Feeds, Placement, Result, Task
from .temporal.stage import EveryFrame, Fresh, Motion, Outputs, Stage

# A live source that was silent for so long has moved on: what is remembered of it is of no use.
_STALE_NS = 1_000_000_000

# A reference that keeps the processor alive would keep its task alive as well, which is the key.
_in_use: WeakKeyDictionary[Task, ref[Processor]] = WeakKeyDictionary()
_lock = threading.Lock()


@dataclass(slots=True)
class Step:
    """A frame inside a processor.

    Parameters
    ----------
    frame : being worked on
    motion : how it follows on earlier frames
    placement : where the network's input lies in it
    feeds : of the network; empty where it does not run on this frame, and once it has run
    timings_ms : stage -> milliseconds spent so far
    keyframe : whether outputs of this very frame came
    """

    frame: Frame
    motion: Motion
    placement: Placement
    feeds: Feeds = field(default_factory=dict)
    timings_ms: dict[str, float] = field(default_factory=dict)
    keyframe: bool = False

    @property
    def runs(self) -> bool:
        """Whether the network runs on this frame."""
        return self.motion.runs


@dataclass(frozen=True, slots=True)
class Inference:
    """Outputs of the network on one frame, and the milliseconds they took."""

    frame: Frame
    outputs: Outputs
    spent_ms: float


class Processor:
    """A task and its temporal stage, one frame after the other, without threads.

    `process` is all that a control loop needs. A pipeline calls `prepare`, `infer` and `finish` itself, each in a
    thread of its own and each once for every frame, in order (`infer` only for the frames that it `runs` on).

    Parameters
    ----------
    task : from `steadyframe.open_task`; one processor at a time may use it
    stage : the temporal stage; None runs the network on every frame
    live : whether the frames are those of a live source: after a second without one, what was remembered is
        forgotten

    Raises
    ------
    UsageError
        If another processor or stream is using the task.

    Examples
    --------
    >>> import numpy as np
    >>> from steadyframe.runtime.opening import open_processor
    >>> with open_processor("colorize") as processor:
    ...     processor.process(Frame(np.zeros((120, 160, 3), np.uint8)))[0].output.pixels.shape
    (120, 160, 3)
    """

    def __init__(self, task: Task, stage: Stage | None = None, *, live: bool = False) -> None:
        self.task = task
        self.stage: Stage = stage if stage is not None else EveryFrame()
        self.live = live
        self._owned = False
        self._closed = False
        self._previous: Frame | None = None  # of `prepare`
        self._placement: Placement | None = None  # of `prepare`
        self._forget_next = False  # the next frame shall remember nothing
        self._waiting: deque[Step] = deque()  # of `finish`: frames whose outputs are not final
        with _lock:
            if _user_of(task) is not None:
                raise UsageError(
                    f"This task {task.name} is in use by another stream or processor",
                    expected="one stream a task, since a task remembers earlier frames",
                    todo="Close that one first, or open a second task; the sessions may be shared (`build_task`)",
                )
            _in_use[task] = ref(self)

    @classmethod
    def owning(cls, task: Task, stage: Stage | None = None, *, live: bool = False) -> Processor:
        """Make a processor that closes its task."""
        processor = cls(task, stage, live=live)
        processor._owned = True
        return processor

    def process(self, frame: Frame) -> list[Result[Any]]:
        """Take one frame through all three parts.

        Parameters
        ----------
        frame : the next one; a change of size, or a frame that is `independent`, forgets the frames before. An
            `index` that does not go up is replaced by the next number

        Returns
        -------
        list of Result
            The results that are final now, oldest first. Without look-ahead that is always the one of this frame.
        """
        step = self.prepare(frame)
        return self.finish(step, self.infer(step) if step.runs else None)

    def process_all(
        self, frames: Iterable[Frame], *, until: Callable[[Step], bool] | None = None
    ) -> Iterator[Result[Any]]:
        """Give the result of every frame, in order, and flush at the end.

        Parameters
        ----------
        frames : in order
        until : asked about every frame when it is prepared; the frames end before the first one that it says True to
        """
        for frame in frames:
            step = self.prepare(frame)
            if until is not None and until(step):
                break
            yield from self.finish(step, self.infer(step) if step.runs else None)
        yield from self.flush()

    def prepare(self, frame: Frame, *, may_run: bool = True) -> Step:
        """Measure the motion into a frame, decide whether the network runs on it, and preprocess it if so.

        Parameters
        ----------
        frame : the next one
        may_run : False while the network is still busy with an earlier frame of a live source

        Raises
        ------
        UsageError
            If the processor is closed: its task may be another's by now.
        """
        if self._closed:
            raise UsageError(f"This processor of {self.task.name} is closed", todo="Open another one")
        timings: dict[str, float] = {}
        started = time.perf_counter_ns()
        if self._previous is not None and frame.index <= self._previous.index:
            frame = replace(frame, index=self._previous.index + 1)  # frames of a caller who does not number them
        restart = self._restarts(frame) or self._forget_next
        self._forget_next = False
        motion = self.stage.observe(frame, may_run=may_run or restart, restart=restart)
        if not self.stage.every_frame:
            timings["flow"] = _since_ms(started)
        feeds: Feeds = {}
        if motion.runs or self._placement is None:
            started = time.perf_counter_ns()
            feeds, self._placement = self.task.preprocess(frame, motion)
            timings["preprocess"] = _since_ms(started)
        self._previous = frame
        # Between keyframes the outputs are those of the last one, propagated: they lie where it lay.
        return Step(frame, motion, replace(self._placement, frame=frame), feeds, timings)

    def advance(self, step: Step) -> None:
        """Do what of `infer` depends on the frames before, in order; `infer` may then run for several frames at once.

        Of use only for a task whose descriptor says `concurrent`; without it, `infer` does all.
        """
        advance = getattr(self.task, "advance", None)
        if advance is not None:
            started = time.perf_counter_ns()
            advance(step.feeds)
            step.timings_ms["infer"] = _since_ms(started)

    def infer(self, step: Step) -> Inference:
        """Run the network on a frame that was chosen for it."""
        started = time.perf_counter_ns()
        outputs = self.task.infer(step.feeds)
        step.feeds = {}  # memory, long before the last sink is done with the frame
        return Inference(step.frame, outputs, _since_ms(started))

    def finish(self, step: Step, inference: Inference | None) -> list[Result[Any]]:
        """Advance to a frame, blend in the network's outputs, and make the results that are final now.

        Parameters
        ----------
        step : the next frame
        inference : of this frame, or, for live sources, of an earlier one; None if there is nothing new
        """
        return list(self.finish_each(step, inference))

    def finish_each(self, step: Step, inference: Inference | None) -> Iterator[Result[Any]]:
        """Do what `finish` does, and make each result when it is asked for; all must be, before the next step."""
        if step.motion.restart and self._waiting:
            yield from self.flush()
        fresh = None
        if inference is not None:
            fresh = Fresh(inference.frame, inference.outputs)
            step.keyframe = inference.frame is step.frame and step.motion.keyframe
            step.timings_ms["infer"] = step.timings_ms.get("infer", 0.0) + inference.spent_ms
        started = time.perf_counter_ns()
        final = self.stage.update(step.motion, fresh)
        if not self.stage.every_frame:
            step.timings_ms["steady"] = _since_ms(started)
        self._waiting.append(step)
        yield from self._results(final)

    def flush(self) -> list[Result[Any]]:
        """Make the results of the frames that wait for a keyframe which will not come."""
        return list(self._results(self.stage.flush())) if self._waiting else []

    def work_less(self, level: int) -> str:
        """Lower the load: at levels 1 and 2 fewer keyframes, at 3 and 4 a smaller frame for the network too.

        Level 0 is the usual load. May be called from any thread.

        Returns
        -------
        str
            What is done now, in words; empty at level 0, or if nothing can be lowered here.
        """
        done = []
        stretch = getattr(self.stage, "stretch", None)
        if stretch is not None:
            factor = 2 ** min(level, 2)
            stretch(factor)
            if factor > 1:
                done.append(f"{factor} times fewer keyframes")
        shrink = getattr(self.task, "shrink", None)
        if shrink is not None:
            steps = level if stretch is None else max(0, level - 2)
            share = (1.0, 0.75, 0.5)[min(steps, 2)]
            if shrink(share):
                self._forget_next = True
            if share < 1:
                done.append(f"the network's frame at {share:.0%} of its size")
        return ", ".join(done)

    def reset(self) -> None:
        """Forget all frames, those that are still held back included; `flush` first to keep them."""
        self.flush()
        self._previous = None

    def close(self) -> None:
        """Give the task back, and close it if it is owned; does nothing the second time."""
        self._closed = True
        with _lock:
            if _user_of(self.task) is self:
                del _in_use[self.task]
        if self._owned:
            self.task.close()

    def __enter__(self) -> Processor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _restarts(self, frame: Frame) -> bool:
        """Whether what is remembered says nothing about this frame."""
        previous = self._previous
        if previous is None or frame.independent or frame.size_wh != previous.size_wh:
            return True
        return self.live and frame.captured_ns - previous.captured_ns > _STALE_NS

    def _results(self, final: list[Outputs]) -> Iterator[Result[Any]]:
        """Make results of the frames that have waited longest."""
        for outputs in final:
            step = self._waiting.popleft()
            started = time.perf_counter_ns()
            output = self.task.postprocess(outputs, step.placement)
            step.timings_ms["postprocess"] = _since_ms(started)
            age_ms = (time.monotonic_ns() - step.frame.captured_ns) / 1e6
            yield Result(step.frame, output, step.keyframe, age_ms, step.timings_ms, outputs)


def _user_of(task: Task) -> Processor | None:
    """Processor that has a task; None if it was closed, or forgotten."""
    found = _in_use.get(task)
    return None if found is None else found()


def _since_ms(started_ns: int) -> float:
    """Milliseconds since a reading of `perf_counter_ns`."""
    return (time.perf_counter_ns() - started_ns) / 1e6
