"""The one synchronous step does what a stream does, and keeps a task to one user."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opening import open_processor, open_stream, open_task
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.temporal.options import SteadyOptions

CLIP = "sample://?size=96x64&frames=40"


def frames():
    source = open_source(CLIP)
    try:
        return list(source)
    finally:
        source.close()


@pytest.mark.parametrize("steady", ["off", "blend", "keyframe"])
def test_it_gives_what_a_stream_gives(tiny_bundle, steady):
    with open_processor(tiny_bundle, steady=steady, live=False, device="cpu") as processor:
        alone = list(processor.process_all(frames()))
    with open_stream(tiny_bundle, CLIP, steady=steady, device="cpu") as stream:
        together = list(stream)
    assert [one.frame.index for one in alone] == [one.frame.index for one in together] == list(range(40))
    assert [one.keyframe for one in alone] == [one.keyframe for one in together]
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.output.pixels, other.output.pixels)


def test_look_ahead_gives_every_frame_once_also_over_a_new_size(tiny_bundle):
    large = [Frame(np.full((64, 96, 3), 9 * i, np.uint8), i) for i in range(13)]
    small = [Frame(np.full((48, 64, 3), 9 * i, np.uint8), i) for i in range(13, 20)]
    with open_processor(tiny_bundle, steady="keyframe", live=False, device="cpu") as processor:
        assert processor.stage.lookahead > 0
        results = list(processor.process_all([*large, *small]))
    assert [result.frame.index for result in results] == list(range(20))
    assert [result.output.pixels.shape for result in results] == [f.pixels.shape for f in [*large, *small]]


def test_its_parts_are_what_process_calls(tiny_bundle):
    with open_processor(tiny_bundle, steady="keyframe", device="cpu") as processor:
        for frame in frames():
            step = processor.prepare(frame)
            inference = processor.infer(step) if step.runs else None
            assert step.feeds == {}
            (result,) = processor.finish(step, inference)
            assert result.keyframe == (inference is not None)
            assert ("infer" in result.timings_ms) == result.keyframe


def test_reset_forgets_what_is_held_back_and_restarts(tiny_bundle):
    film = frames()
    with open_processor(tiny_bundle, steady="keyframe", live=False, device="cpu") as processor:
        first = [r for frame in film[:5] for r in processor.process(frame)]
        processor.reset()
        again = list(processor.process_all(film[5:]))
    assert len(first) == 1  # the others waited for a keyframe, and were forgotten
    assert [result.frame.index for result in again] == list(range(5, 40))
    assert again[0].keyframe


def test_a_task_used_again_after_a_steady_stream_knows_nothing_of_it(tiny_bundle):
    film = frames()
    task = open_task(tiny_bundle, device="cpu")
    with Processor(task, task.make_stage(SteadyOptions(mode="blend"))) as processor:
        for frame in film:
            processor.process(frame)
    with Processor(task) as processor:
        (used,) = processor.process(film[0])
    with open_processor(tiny_bundle, steady="off", device="cpu") as processor:
        (fresh,) = processor.process(film[0])
    assert np.array_equal(used.output.pixels, fresh.output.pixels)
    task.close()


def test_one_task_has_one_user_at_a_time(tiny_bundle):
    task = open_task(tiny_bundle, device="cpu")
    first = Processor(task)
    with pytest.raises(UsageError, match="in use by another stream or processor"):
        Processor(task)
    first.close()
    first.close()
    Processor(task).close()
    task.close()
    task.close()


def test_a_closed_task_says_so(tiny_bundle):
    processor = open_processor(tiny_bundle, device="cpu")
    processor.close()
    with pytest.raises(UsageError, match="colorize is closed"):
        processor.process(frames()[0])


def test_a_second_of_silence_restarts_a_live_processor(tiny_bundle):
    pixels = np.full((64, 96, 3), 90, np.uint8)
    with open_processor(tiny_bundle, steady="keyframe", device="cpu") as processor:
        processor.process(Frame(pixels, 0, captured_ns=1_000_000_000))
        (soon,) = processor.process(Frame(pixels, 1, captured_ns=1_500_000_000))
        (late,) = processor.process(Frame(pixels, 2, captured_ns=3_000_000_000))
    assert (soon.keyframe, late.keyframe) == (False, True)
