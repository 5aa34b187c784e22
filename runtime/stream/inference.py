"""The thread of a stream that runs the network, or several runs at once.

Owns `InferenceQueue`: steps go in, and outputs come out in the same order.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from ..frame import Frame
from ..processor import Inference, Processor, Step
from .channel import Channel, Gate
from .watch import Watch

_DEPTH = 16  # runs that were submitted and have not ended
_NICER = 3  # niceness of threads that can work ahead


class InferenceQueue:
    """Runs the network on steps, in a thread of its own.

    Parameters
    ----------
    processor : whose task runs
    at_once : runs at the same time; more than one of a `concurrent` task alone
    watch : notes how long a run takes
    on_run : called after every run, in any thread
    on_ready : called when outputs can be taken, in any thread
    """

    def __init__(
        self,
        processor: Processor,
        *,
        at_once: int,
        watch: Watch,
        on_run: Callable[[], None],
        on_ready: Callable[[], None],
    ) -> None:
        self._processor = processor
        self._at_once = at_once
        self._watch = watch
        self._on_run = on_run
        self._on_ready = on_ready
        self._steps: Channel[Step] = Channel(_DEPTH)
        self._runs: Channel[_Run] = Channel(_DEPTH)
        self._under_way = Gate(_DEPTH)

    @property
    def idle(self) -> bool:
        """Whether nothing runs, or waits to."""
        return self._under_way.inside == 0

    @property
    def ready(self) -> bool:
        """Whether the outputs that are next in order can be taken without waiting."""
        run = self._runs.peek()
        return run is not None and run.done

    def submit(self, step: Step) -> None:
        """Have the network run on a step; waits while too many do."""
        self._under_way.enter()
        self._steps.put(step)

    def take(self, step: Step) -> Inference:
        """Wait for the outputs of a step that was submitted; those of earlier ones are left out.

        Raises
        ------
        Exception
            What stopped the run.
        """
        while (run := self._runs.get()).frame is not step.frame:
            pass  # of a frame before a restart; nothing waits for it any more
        return run.wait()

    def newest(self) -> Inference | None:
        """Take the newest outputs that are there; None if there are none."""
        newest = self._runs.poll()
        while newest is not None and (newer := self._runs.poll()) is not None:
            newest = newer
        return None if newest is None else newest.wait()

    def finish(self) -> None:
        """Say that no further step will come."""
        self._steps.finish()

    def abort(self) -> None:
        """Wake every side; what waits is dropped."""
        self._under_way.shut()
        self._steps.abort()
        self._runs.abort()

    def run(self) -> None:
        """Run the network until the queue is finished; the body of the thread. Ends with `Ended`."""
        run = self._run_in_turn if self._at_once == 1 else self._run_concurrently
        run()

    def _run_in_turn(self) -> None:
        while True:
            step = self._steps.get()
            with self._watch.at("infer"):
                inference = self._processor.infer(step)
            self._runs.put(_Run(step.frame, inference))
            del step, inference
            self._end_run()

    def _run_concurrently(self) -> None:
        idle = threading.BoundedSemaphore(self._at_once)

        def run(step: Step) -> Inference:
            try:
                with self._watch.at("infer"):
                    return self._processor.infer(step)
            finally:
                idle.release()

        with ThreadPoolExecutor(self._at_once, "steadyframe run", initializer=step_aside) as pool:
            while True:
                step = self._steps.get()
                with self._watch.at("infer"):
                    self._processor.advance(step)
                idle.acquire()  # none waits in the pool: an end shall not have to wait for it
                running = pool.submit(run, step)
                running.add_done_callback(lambda _: self._end_run())
                self._runs.put(_Run(step.frame, running))
                del step, running

    def _end_run(self) -> None:
        self._on_run()
        self._under_way.leave()
        self._on_ready()


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of the network on a frame, which has ended or is still going on."""

    frame: Frame
    inference: Inference | Future[Inference]

    def wait(self) -> Inference:
        """Wait for its end; raises what stopped it."""
        return self.inference if isinstance(self.inference, Inference) else self.inference.result()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return isinstance(self.inference, Inference) or self.inference.done()


def step_aside() -> None:
    """Let this thread give way to the one that every frame of a file passes: it can work ahead of that one."""
    if sys.platform == "linux":  # the only system on which a thread has a niceness of its own
        with suppress(OSError):  # a sandbox may forbid it, and only speed is lost
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
