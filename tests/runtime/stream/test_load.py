"""Less work before results are thrown away; and a part that hangs is named."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_processor, open_task
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.load import LoadGovernor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.stream.watch import Watch
from steadyframe.runtime.temporal.options import SteadyOptions
from steadyframe.runtime.testing import ScriptedSource, frames


def levels(governor, ages, fps=30):
    return [level for place, age in enumerate(ages) if (level := governor.add(age, place / fps)) is not None]


def test_high_ages_lower_the_load_step_by_step_and_low_ones_restore_it():
    governor = LoadGovernor(100, highest=3)
    assert levels(governor, [95.0] * 600) == [1, 2, 3]
    governor = LoadGovernor(100, highest=4)
    assert levels(governor, [95.0] * 60 + [30.0] * 900) == [1, 0]
    assert levels(LoadGovernor(100, highest=4), [70.0] * 600) == []
    assert levels(LoadGovernor(100, highest=4), [30.0] * 29 + [200.0] + [30.0] * 300) == []  # one hiccup


def image(index):
    return np.roll(np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8), index, axis=1)


@pytest.mark.parametrize("every", [1, 3])
def test_fewer_keyframes(tiny_bundle, every):
    def runs(level):
        with open_processor(tiny_bundle, precision="fp32", steady=SteadyOptions.of("keyframe", every=every)) as one:
            one.work_less(level)
            return sum(one.process(Frame(image(index), index))[0].keyframe for index in range(24))

    assert runs(0) == 24 // every
    assert runs(1) == -(-24 // (2 * every))
    assert runs(2) == -(-24 // (4 * every))


def test_a_smaller_frame_for_the_network_starts_anew_and_can_be_undone(tiny_bundle):
    with open_processor(tiny_bundle, precision="fp32", steady="keyframe") as one:
        sides = []
        for index, level in enumerate([0, 0, 3, 3, 4, 0]):
            words = one.work_less(level)
            result = one.process(Frame(image(index), index))[0]
            sides.append(result.outputs["crcb"].shape[0] * 2)
            assert result.output.pixels.shape == (96, 128, 3)
        assert words == ""
        assert "size" in one.work_less(3)
    assert sides == [96, 96, 72, 72, 48, 96]


def test_a_live_stream_over_its_budget_works_less_and_says_so(negative):
    class Slows(negative):
        """A task whose preprocessing takes long on keyframes."""

        share = 1.0

        def shrink(self, share):
            changed, self.share = share != self.share, share
            return changed

        def infer(self, feeds):
            time.sleep(0.06 * self.share**2)
            return super().infer(feeds)

    source = ScriptedSource([frames(10_000, size_wh=(32, 24))], fps=60)
    with Stream(source, Processor(Slows()), max_age_ms=70) as stream:
        until = time.monotonic() + 12
        for _ in stream:
            if stream.stats.lowered or time.monotonic() > until:
                break
        assert "of its size" in stream.stats.lowered


def test_a_part_that_hangs_is_named():
    watch, released = Watch(), threading.Event()

    def hang():
        with watch.at("infer"):
            released.wait(5)

    thread = threading.Thread(target=hang, daemon=True)
    thread.start()
    time.sleep(0.1)
    assert watch.stuck() is None
    found = watch.stuck(limit_s=0.05)
    assert found.part == "infer"
    assert "session" in found.text
    released.set()
    thread.join()
    assert watch.stuck(limit_s=0.0) is None


def test_open_task_of_the_fakes_is_a_real_task(tiny_bundle):
    from steadyframe.runtime.testing import SlowSession
    from steadyframe.runtime.testing import open_task as open_wrapped

    task = open_wrapped(tiny_bundle, lambda role, session: SlowSession(session, 3.0))
    usual = open_task(tiny_bundle, precision="fp32")
    with Processor.owning(task) as slow, Processor.owning(usual) as one:
        frame = Frame(image(0))
        assert np.array_equal(slow.process(frame)[0].output.pixels, one.process(frame)[0].output.pixels)
