"""How streams end: errors, Ctrl-C, sinks that end them, losses, what is closed and what is discarded."""

from __future__ import annotations

import threading

import pytest
from live_and_noting import Camera, Notebook, no_threads_left
from steadyframe.runtime.errors import (
    SignalLost,
    SinkError,
    SourceNotFound,
    UsageError,
)
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream


def test_an_error_in_the_task_stops_everything_and_reaches_the_caller(negative):
    sink = Notebook()
    with pytest.raises(ValueError, match="frame 5"):
        Stream("test://?frames=0&size=32x24", Processor(negative(fails_at=5)), [sink]).run()
    assert sink.ended == ["discarded"]
    assert set(sink.indices) <= set(range(5))
    assert no_threads_left()


@pytest.mark.parametrize("in_callers_thread", [False, True])
def test_an_error_in_a_sink_stops_everything_and_discards_every_output(negative, in_callers_thread):
    good, bad = Notebook(), Notebook(fails_at=4, in_callers_thread=in_callers_thread)
    with pytest.raises(SinkError, match="full"):
        Stream("test://?frames=0&size=32x24", Processor(negative()), [good, bad]).run()
    assert good.ended == bad.ended == ["discarded"]
    assert no_threads_left()


def test_an_error_in_the_callback_stops_everything(negative):
    sink = Notebook()

    def fail(result):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        Stream("test://?frames=0&size=32x24", Processor(negative()), [sink]).run(fail)
    assert sink.ended == ["discarded"]
    assert no_threads_left()


def test_an_error_in_the_body_of_a_with_discards(negative):
    sink = Notebook()
    with pytest.raises(RuntimeError), Stream("test://?frames=0&size=32x24", Processor(negative()), [sink]) as stream:
        for _ in stream:
            raise RuntimeError
    assert sink.ended == ["discarded"]


def test_leaving_the_loop_ends_cleanly(negative):
    sink = Notebook()
    with Stream("test://?frames=0&size=32x24", Processor(negative()), [sink]) as stream:
        for result in stream:
            if result.frame.index == 3:
                break
    assert sink.ended == ["closed"]
    assert no_threads_left()


def test_one_output_that_cannot_be_finished_does_not_take_the_others_with_it(negative):
    class Full(Notebook):
        def close(self):
            raise SinkError("disk full")

    before, after = Notebook(), Notebook()
    with pytest.raises(SinkError, match="disk full"):
        Stream("test://?frames=3&size=32x24", Processor(negative()), [before, Full(), after]).run()
    assert before.ended == after.ended == ["closed"]


def test_ctrl_c_closes_the_outputs(negative):
    sink = Notebook()

    def interrupt(result):
        if result.frame.index == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stream("test://?frames=0&size=32x24", Processor(negative()), [sink]).run(interrupt)
    assert sink.ended == ["closed"]
    assert no_threads_left()


def test_a_sink_may_end_the_stream(negative):
    sink, window = Notebook(), Notebook(in_callers_thread=True, stops_at=5)
    stats = Stream("test://?frames=0&size=32x24", Processor(negative()), [sink, window]).run()
    assert stats.frames == 5
    assert window.threads == {threading.current_thread()}
    assert sink.threads.isdisjoint(window.threads)
    assert sink.ended == window.ended == ["closed"]


def test_a_sink_in_its_own_thread_may_end_the_stream_too(negative):
    sink, reader = Notebook(), Notebook(stops_at=5)
    Stream("test://?frames=0&size=32x24", Processor(negative()), [sink, reader]).run()
    assert reader.indices == [0, 1, 2, 3, 4]
    assert sink.ended == reader.ended == ["closed"]
    assert no_threads_left()


def test_after_a_loss_of_signal_the_outputs_are_closed_and_the_loss_is_raised(negative):
    sink = Notebook()
    stream = Stream(Camera(frames=5, error=SignalLost("gone")), Processor(negative()), [sink])
    with pytest.raises(SignalLost, match="gone"):
        stream.run()
    assert sink.ended == ["closed"]
    assert stream.stats.frames == len(sink.indices) > 0


def test_a_source_that_gave_nothing_leaves_nothing(negative):
    sink = Notebook()
    with pytest.raises(SignalLost):
        Stream(Camera(frames=0, error=SignalLost("gone")), Processor(negative()), [sink]).run()
    assert sink.ended == ["discarded"]


def test_what_a_source_says_after_the_limit_is_of_no_account(negative):
    stream = Stream(Camera(frames=5, error=SignalLost("gone"), fps=50), Processor(negative()), limit=3)
    assert len(list(stream)) == 3


def test_images_are_strangers_to_each_other_and_frames_of_a_sequence_are_not(negative, tmp_path):
    Stream("test://?size=32x24&frames=6", Processor(negative()), [f"{tmp_path}/p_%02d.png"]).run()
    alone, together = negative(slow_s=0.003), negative(slow_s=0.003)
    Stream(open_source(str(tmp_path)), Processor(alone)).run()
    Stream(open_source(str(tmp_path), sequence=True), Processor(together)).run()
    assert alone.restarts == [0, 1, 2, 3, 4, 5]
    assert together.restarts == [0]


def test_a_new_size_and_a_long_silence_reset_the_task(negative):
    small = negative()
    Stream(Camera(frames=8, small_from=5, fps=50), Processor(small)).run()
    assert len(small.restarts) == 2
    silent = negative()
    Stream(Camera(frames=8, gap_at=5, fps=50), Processor(silent, live=True)).run()
    assert len(silent.restarts) == 2


def test_a_stream_is_used_once(negative):
    stream = Stream("test://?size=32x24&frames=2", Processor(negative()))
    list(stream)
    with pytest.raises(UsageError, match="once"):
        list(stream)


def test_a_stream_that_was_never_started_closes_what_it_opened(negative):
    camera, sink = Camera(), Notebook()
    with Stream(camera, Processor(negative()), [sink]):
        pass
    assert camera.closed
    assert sink.ended == ["closed"]


def test_an_output_that_cannot_be_opened_closes_the_source_and_the_other_outputs(negative, tmp_path):
    (tmp_path / "file").write_text("")
    camera, sink, task = Camera(), Notebook(), negative()
    with pytest.raises(SinkError):
        Stream(camera, Processor(task), [sink, f"{tmp_path}/file/out.mp4"])
    assert camera.closed
    assert sink.ended == ["discarded"]
    assert task.inferred == []


def test_a_missing_source_is_told_before_anything_else(negative):
    with pytest.raises(SourceNotFound, match=r"nowhere\.mp4"):
        Stream("nowhere.mp4", Processor(negative()))
