"""Several streams on one session."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from steadyframe.runtime.bundle.manifest import TensorSpec
from steadyframe.runtime.engines.shared import SharedSession
from steadyframe.runtime.testing import FakeSession


def session(batch, *, slow_s=0.05):
    specs = [TensorSpec(name, "float32", (batch, 2)) for name in ("x", "y")]
    return FakeSession(lambda feeds: {"y": 2 * feeds["x"]}, (specs[0],), (specs[1],), slow_s=slow_s)


def ask_all(shared, feeds):
    """Run from several threads at once; gives the answers, or errors, in order."""
    answers = [None] * len(feeds)

    def ask(place):
        try:
            answers[place] = shared.run({"x": feeds[place]})["y"]
        except Exception as error:
            answers[place] = error

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(feeds))]
    for thread in threads:
        thread.start()
        time.sleep(0.005)
    for thread in threads:
        thread.join(20)
    return answers


def feeds_of(count, rows=1):
    return [np.full((rows, 2), place, np.float32) for place in range(count)]


def test_what_waits_goes_together_and_everybody_gets_their_own_rows():
    inner = session("n")
    shared = SharedSession(inner, threading.Lock())
    feeds = [np.full((1 + place % 2, 2), place, np.float32) for place in range(7)]
    answers = ask_all(shared, feeds)
    assert all(np.array_equal(answer, 2 * feed) for answer, feed in zip(answers, feeds, strict=True))
    assert inner.runs < 7
    assert shared.batches >= 1


def test_a_graph_without_a_free_axis_runs_for_one_after_another():
    inner = session(1, slow_s=0.01)
    shared = SharedSession(inner, threading.Lock())
    answers = ask_all(shared, feeds_of(5))
    assert [answer[0, 0] for answer in answers] == [0, 2, 4, 6, 8]
    assert (inner.runs, shared.batches) == (5, 0)


def test_an_error_reaches_all_that_ran_together_and_the_next_run_works():
    inner = session("n")

    def fails(feeds):
        raise ValueError("no")

    shared = SharedSession(FakeSession(fails, inner.inputs, inner.outputs, slow_s=0.02), threading.Lock())
    assert all(isinstance(answer, ValueError) for answer in ask_all(shared, feeds_of(4)))
    with pytest.raises(ValueError, match="no"):
        shared.run({"x": feeds_of(1)[0]})
