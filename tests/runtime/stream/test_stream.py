"""Source, task and sinks at work together: order, drops, keyframes, figures."""

from __future__ import annotations

import asyncio
import threading
import time

import cv2
import numpy as np
import pytest
from live_and_noting import Camera, Notebook, no_threads_left
from steadyframe.runtime.errors import (
    NothingYoungEnough,
    SignalLost,
    SteadyframeError,
    UsageError,
)
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opening import open_task
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.temporal.stage import Fresh, Motion


def test_a_file_comes_out_whole_and_in_order(negative):
    sink = Notebook()
    stream = Stream("test://?size=32x24&frames=100", Processor(negative()), [sink])
    seen = list(stream)
    expected = [255 - frame.pixels for frame in open_source("test://?size=32x24&frames=100")]
    assert [result.frame.index for result in seen] == list(range(100)) == sink.indices
    assert all(np.array_equal(result.output.pixels, pixels) for result, pixels in zip(seen, expected, strict=True))
    assert sink.ended == ["closed"]
    assert (stream.stats.frames, stream.stats.decoded, stream.stats.dropped) == (100, 100, 0)
    assert no_threads_left()


def test_the_result_keeps_its_own_frame_stamp_and_times(negative):
    for result in Stream("test://?size=32x24&frames=20", Processor(negative(slow_s=0.002)), [Notebook()]):
        assert np.array_equal(result.output.pixels, 255 - result.frame.pixels)
        assert 0 < result.age_ms < 60_000
        assert set(result.timings_ms) == {"decode", "preprocess", "infer", "postprocess"}
        assert result.timings_ms["infer"] >= 2
        assert result.age_ms >= result.timings_ms["infer"]


def test_stages_work_at_the_same_time(negative):
    """The network is already at a later frame while an earlier one is being written."""
    task = negative()
    ahead = []

    class Slow(Notebook):
        def write(self, result):
            for _ in range(200):
                if result.frame.index == 11 or len(task.inferred) > result.frame.index + 1:
                    break
                time.sleep(0.01)
            ahead.append(len(task.inferred) - result.frame.index - 1)

    Stream("test://?size=32x24&frames=12", Processor(task), [Slow()]).run()
    assert all(count > 0 for count in ahead[:-1])
    assert max(ahead) <= 12  # and never further than the queues are long


def test_a_real_bundle_runs(tiny_bundle):
    task = open_task(tiny_bundle)
    results = list(Stream("sample://?size=64x48&frames=12", Processor(task)))
    assert len(results) == 12
    assert all(result.output.pixels.shape == (48, 64, 3) for result in results)
    assert task.device == "cpu"


def test_run_calls_back_in_this_thread_in_order(negative):
    seen, threads = [], set()

    def note(result):
        seen.append(result.frame.index)
        threads.add(threading.current_thread())

    stats = Stream("test://?size=32x24&frames=9", Processor(negative())).run(note)
    assert seen == list(range(9))
    assert threads == {threading.current_thread()}
    assert stats.frames == 9


def test_limit_ends_a_file_and_a_live_source_after_so_many_results(negative):
    for source in ("test://?size=32x24&frames=0", Camera()):
        sink = Notebook()
        stream = Stream(source, Processor(negative(slow_s=0.01)), [sink], limit=7)
        assert len(list(stream)) == 7 == len(sink.indices)
        assert sink.ended == ["closed"]
        assert no_threads_left()


def test_a_live_source_drops_after_decode_and_no_backlog_builds_up(negative):
    camera = Camera(fps=250)
    task = negative(slow_s=0.03)
    stream = Stream(camera, Processor(task), limit=20)
    backlog = []
    for count, result in enumerate(stream, 1):
        backlog.append(len(task.prepared) - count)
        assert result.frame.index == task.prepared[count - 1]  # nothing is dropped once work on it began
    assert (np.diff(task.prepared) > 0).all()
    assert np.diff(task.prepared).max() > 1
    assert max(backlog) <= 1  # besides the frame that was just delivered, one is under way
    assert stream.stats.dropped > 20
    assert stream.stats.decoded >= stream.stats.dropped + 20
    assert camera.closed


def test_a_slow_consumer_of_a_live_source_holds_up_the_intake(negative):
    task = negative()
    for count, _ in enumerate(Stream(Camera(fps=250), Processor(task), limit=10), 1):
        time.sleep(0.03)
        assert len(task.prepared) - count <= 1


def test_results_older_than_the_budget_are_thrown_away_and_counted(negative):
    stream = Stream(Camera(fps=100, frames=40), Processor(negative(slow_s=0.05)), max_age_ms=20)
    assert list(stream) == []
    assert stream.stats.late > 0
    within = Stream(Camera(fps=100, frames=40), Processor(negative()), max_age_ms=2000)
    assert len(list(within)) > 0
    assert within.stats.late == 0


def test_a_budget_of_age_for_a_file_is_refused(negative):
    with pytest.raises(UsageError, match="live"):
        Stream("test://", Processor(negative()), max_age_ms=10)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(negative, limit):
    with pytest.raises(UsageError):
        Stream("test://", Processor(negative()), limit=limit)


class EveryFourth:
    """A stage that runs the network on every fourth frame and holds its output; notes what it was given."""

    lookahead = 0
    every_frame = False

    def __init__(self):
        self.restarts = []
        self.fresh = []
        self._since = self._held = None

    def observe(self, frame, *, may_run=True, restart=False):
        if restart:
            self._since = None
            self.restarts.append(frame.index)
        due = self._since is None or self._since >= 3
        keyframe = may_run and due
        self._since = 0 if keyframe else (self._since or 0) + 1
        return Motion(frame, keyframe, restart, fields=frame.index)

    def update(self, motion, fresh):
        assert motion.fields == motion.frame.index
        if motion.restart:
            self._held = None
        if fresh is not None:
            assert isinstance(fresh, Fresh)
            assert fresh.frame.index <= motion.frame.index
            self.fresh.append((motion.frame.index, fresh.frame.index))
            self._held = fresh.outputs
        return [self._held]

    def flush(self):
        return []


def test_between_keyframes_the_network_does_not_run_and_files_are_deterministic(negative):
    runs = []
    for slow_s in (0.0, 0.01):
        task, stage = negative(slow_s=slow_s), EveryFourth()
        results = list(Stream("test://?size=32x24&frames=22", Processor(task, stage)))
        assert task.inferred == [0, 4, 8, 12, 16, 20]
        assert stage.fresh == [(index, index) for index in task.inferred]
        assert [result.frame.index for result in results if result.keyframe] == task.inferred
        assert all("flow" in result.timings_ms and "steady" in result.timings_ms for result in results)
        assert all(("infer" in result.timings_ms) == result.keyframe for result in results)
        assert results[0].frame.index == 0
        runs.append([result.output.pixels for result in results])
    assert all(np.array_equal(one, other) for one, other in zip(*runs, strict=True))


def test_a_live_stream_flows_on_while_the_network_runs(negative):
    """The network takes ten frames' time; the frames between come out all the same, with what there is."""
    task, stage = negative(slow_s=0.1), EveryFourth()
    stream = Stream(Camera(fps=100), Processor(task, stage, live=True), limit=60)
    results = list(stream)
    assert len(results) == 60
    assert len(task.inferred) < 60 / 3
    assert stage.fresh[0][0] == stage.fresh[0][1]  # the very first result waits for its own
    assert all(now > then for now, then in stage.fresh[1:])  # the later ones do not
    assert len(stage.fresh) >= 3


def test_a_restart_reaches_the_stage_and_waits_for_its_own_outputs(negative):
    task, stage = negative(slow_s=0.02), EveryFourth()
    Stream(Camera(frames=12, small_from=6, fps=50), Processor(task, stage, live=True)).run()
    assert len(stage.restarts) == 2
    assert (stage.restarts[1], stage.restarts[1]) in stage.fresh


def test_independent_images_do_not_wait_for_each_other(negative, tmp_path):
    """Every image restarts the task, and the next one is prepared while the network runs on it."""
    Stream("test://?size=32x24&frames=8", Processor(negative()), [f"{tmp_path}/p_%02d.png"]).run()
    task = negative()
    waited = threading.Event()
    inferring = task.infer

    def infer(feeds):
        index = int(feeds["index"])
        until = time.monotonic() + 5
        while index < 7 and len(task.prepared) <= index + 1 and time.monotonic() < until:
            time.sleep(0.002)
        if index < 7 and len(task.prepared) > index + 1:
            waited.set()
        return inferring(feeds)

    task.infer = infer
    Stream(open_source(str(tmp_path)), Processor(task)).run()
    assert waited.is_set()
    assert task.restarts == list(range(8))


def test_a_slow_sink_does_not_hold_up_another_one_of_a_live_source(negative):
    slow, quick = Notebook(slow_s=0.05), Notebook()
    newest = Notebook(slow_s=0.05)
    newest.wants = "newest"
    stream = Stream(Camera(fps=60, frames=60), Processor(negative()), [slow, quick, newest])
    stream.run()
    assert len(quick.indices) >= 55
    assert len(slow.indices) >= 55  # a second of results fits into its queue
    assert len(newest.indices) < 40
    assert stream.snapshot().sink_dropped["notebook"] >= 0


def test_sinks_of_a_file_get_every_result_also_after_the_loop_was_left(negative):
    slow = Notebook(slow_s=0.02)
    with Stream("test://?frames=0&size=32x24", Processor(negative()), [slow]) as stream:
        for result in stream:
            if result.frame.index == 5:
                break
    assert slow.indices[:6] == [0, 1, 2, 3, 4, 5]
    assert slow.ended == ["closed"]


def test_the_timings_of_a_result_never_change(negative):
    seen = []

    class Keeps(Notebook):
        def write(self, result):
            seen.append((result, dict(result.timings_ms)))

    for result in Stream("test://?size=32x24&frames=9", Processor(negative()), [Keeps()]):
        with pytest.raises(TypeError):
            result.timings_ms["mine"] = 1.0
    assert len(seen) == 9
    assert all(dict(result.timings_ms) == timings for result, timings in seen)


def test_latest_gives_the_newest_result_or_says_how_old_it_is(negative):
    with Stream(Camera(fps=100), Processor(negative())) as stream:
        first = stream.latest(1000)
        time.sleep(0.2)
        later = stream.latest(1000)
        assert later.frame.index > first.frame.index + 5
        with pytest.raises(NothingYoungEnough, match="at most 0 ms"):
            stream.latest(0.0)
        assert stream.snapshot().frames > 5
    assert no_threads_left()


def test_latest_raises_what_stopped_the_stream(negative):
    with Stream(Camera(fps=5, frames=3, error=SignalLost("gone")), Processor(negative())) as stream:
        stream.latest(5000)
        time.sleep(0.8)
        with pytest.raises(SignalLost, match="gone"):
            stream.latest(5000)


def test_an_event_loop_goes_on_while_results_are_awaited(negative):
    async def consume():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        ticking = asyncio.create_task(tick())
        seen = [r.frame.index async for r in Stream("test://?size=32x24&frames=9", Processor(negative(slow_s=0.02)))]
        ticking.cancel()
        return seen, ticks

    seen, ticks = asyncio.run(consume())
    assert seen == list(range(9))
    assert ticks > 9


def test_figures_may_be_read_from_any_thread_at_any_time(negative):
    stream = Stream("test://?size=32x24&frames=400", Processor(negative()), ["null://"])
    failed, done = [], threading.Event()

    def read():
        while not done.is_set():
            try:
                snapshot = stream.snapshot()
                assert snapshot.age_ms.count <= snapshot.frames
                assert all(spread.count for spread in snapshot.stages_ms.values())
            except Exception as error:
                failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    stream.run()
    done.set()
    reader.join()
    assert failed == []


def test_a_thread_that_does_not_end_is_named_and_what_it_uses_stays_open(negative):
    released = threading.Event()

    class Hangs(Camera):
        def __iter__(self):
            yield Frame(np.zeros((8, 8, 3), np.uint8), 0)
            released.wait(20)

    camera, sink, task = Hangs(), Notebook(), negative()
    stream = Stream(camera, Processor(task), [sink])
    results = iter(stream)
    next(results)
    with pytest.raises(SteadyframeError, match="decode did not end"):
        stream.close(patience_s=0.2)
    assert not camera.closed
    assert sink.ended == ["closed"]  # nothing writes it any more, so the file is whole
    released.set()
    until = time.monotonic() + 5
    while not no_threads_left() and time.monotonic() < until:
        time.sleep(0.01)
    assert no_threads_left()


def test_one_task_in_two_streams_is_refused_and_free_again_after_the_first(negative):
    task = negative()
    with Stream("test://?size=32x24&frames=4", Processor(task)) as stream:
        with pytest.raises(UsageError, match="in use"):
            Processor(task)
        assert len(list(stream)) == 4
    assert len(list(Stream("test://?size=32x24&frames=3", Processor(task)))) == 3


def test_opencv_works_in_one_thread_while_streams_run_and_gets_its_own_back(negative):
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with Stream("test://?size=32x24&frames=4", Processor(negative())) as one:
            inside = [cv2.getNumThreads() for _ in one]
            with Stream("test://?size=32x24&frames=4", Processor(negative())) as two:
                next(iter(two))
        assert set(inside) == {1}
        assert cv2.getNumThreads() == 3
        Stream("test://?size=32x24&frames=4", Processor(negative())).close()  # never started: nothing to give back
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
