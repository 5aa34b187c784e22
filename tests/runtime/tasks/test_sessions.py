"""Who closes the sessions of a task, what a closed one says, and one stream a task."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_sessions
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_processor, open_task
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.registry import build_task
from steadyframe.runtime.tasks.sessions import TaskSessions

FRAME = Frame(np.full((48, 64, 3), 90, np.uint8))


class Closing:
    """A session that counts how often it is closed, and may fail at it."""

    inputs = outputs = ()

    def __init__(self, device: str = "cpu", error: Exception | None = None) -> None:
        self.device, self.error, self.closed = device, error, 0

    def run(self, feeds):
        return dict(feeds)

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


def test_owned_sessions_are_closed_once() -> None:
    one, other = Closing(), Closing()
    sessions = TaskSessions({"a": one, "b": other}, owned=True, name="pose")
    sessions.close()
    sessions.close()
    assert (one.closed, other.closed) == (1, 1)


def test_shared_sessions_stay_open() -> None:
    shared = Closing()
    sessions, beside = (TaskSessions({"a": shared}, name="pose") for _ in range(2))
    sessions.close()
    sessions.close()
    assert shared.closed == 0
    with pytest.raises(UsageError, match="This task pose is closed"):
        sessions.run("a", {})
    assert beside.run("a", {"x": np.ones(1)}) == {"x": np.ones(1)}


def test_every_session_is_closed_even_if_one_fails() -> None:
    bad, good = Closing(error=OSError("busy")), Closing()
    sessions = TaskSessions({"a": bad, "b": good}, owned=True)
    with pytest.raises(OSError, match="busy"):
        sessions.close()
    assert good.closed == 1
    sessions.close()
    assert (bad.closed, good.closed) == (1, 1)


def test_the_sessions_of_a_task_by_role() -> None:
    sessions = TaskSessions({"a": Closing("cuda"), "b": Closing(), "c": Closing()})
    assert list(sessions) == ["a", "b", "c"] and len(sessions) == 3
    assert sessions.device == "cpu, cuda"
    with pytest.raises(KeyError):
        sessions["d"]


def test_a_closed_task_says_so(tiny_bundle: Path) -> None:
    task = open_task(tiny_bundle)
    task.close()
    task.close()
    with Processor(task) as processor, pytest.raises(UsageError, match="task colorize is closed") as raised:
        processor.process(FRAME)
    assert raised.value.exit_code == 2


def test_a_processor_closes_only_a_task_that_it_owns(tiny_bundle: Path) -> None:
    with open_processor(tiny_bundle) as owner:
        owner.process(FRAME)
    with pytest.raises(UsageError, match="processor of colorize is closed"):
        owner.process(FRAME)
    with pytest.raises(UsageError, match="task colorize is closed"):
        owner.task.infer(owner.task.preprocess(FRAME)[0])
    task = open_task(tiny_bundle)
    with Processor(task) as borrower:
        borrower.process(FRAME)
    with Processor(task) as borrower:
        assert borrower.process(FRAME)[0].output.pixels.shape == FRAME.pixels.shape
    task.close()


def test_tasks_on_shared_sessions_outlive_each_other(tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    sessions = open_sessions(bundle, device="cpu", precision="fp32")
    one, other = (build_task(bundle.manifest, sessions) for _ in range(2))
    with Processor.owning(one) as first, Processor(other) as second:
        expected = first.process(FRAME)[0].output.pixels
        first.close()
        np.testing.assert_array_equal(second.process(FRAME)[0].output.pixels, expected)
    for session in sessions.values():
        session.close()


def test_a_task_in_use_is_refused(tiny_bundle: Path) -> None:
    task = open_task(tiny_bundle)
    with Processor(task) as first:
        with pytest.raises(UsageError, match="task colorize is in use") as raised:
            Processor(task)
        assert "open a second task" in str(raised.value)
        with pytest.raises(UsageError, match="in use"):
            Processor.owning(task)
        first.process(FRAME)  # the one that has it goes on, and its task was not closed
        first.close()
        second = Processor(task)
        first.close()  # a second time: it must not give back what is not its own any more
        with pytest.raises(UsageError, match="processor of colorize is closed"):
            first.process(FRAME)
        with pytest.raises(UsageError, match="in use"):
            Processor(task)
        second.close()
    task.close()


def test_a_stream_gives_its_task_back_however_it_ends(negative: Callable[..., object]) -> None:
    task = negative()
    assert Stream("test://?size=32x24&frames=4", Processor(task)).run().frames == 4
    for _ in Stream("test://?size=32x24&frames=4", Processor(task)):
        break
    with pytest.raises(UsageError, match="limit"):
        Stream("test://", Processor(task), limit=0)
    task.fails_at = 2
    with pytest.raises(ValueError, match="frame 2"):
        Stream("test://?size=32x24&frames=4", Processor(task)).run()
    Processor(task).close()


def test_a_processor_that_nobody_holds_gives_its_task_back(negative: Callable[..., object]) -> None:
    task = negative()
    Processor(task)
    gc.collect()
    with Processor(task) as processor:
        assert len(processor.process(FRAME)) == 1
